"""Compound scaling carried out: the file without `scaling` is the same network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nas.models import build, cost
from nas.models.resolving import resolved
from nas.space import Architecture, parse

ROWS = """\
name: scaled
input: {size: 32, channels: 3, classes: 10}
network:
  # the stem
  - {name: stem, op: conv, channels: 16, stride: 2}  # half the size
  - name: body
    op: {bottleneck: {width: 12}}
    channels: 24
    repeat: 2
  - name: mix
    repeat: 1
    branches: [[{op: pointwise, channels: 8}], [{op: conv, channels: 16, repeat: 2}]]
  - {name: inner, repeat: 2, rows: [{op: conv, channels: x0.5}, {op: conv, channels: x1.5}]}
  - {name: wide, op: conv, channels: x1.5} # relative
  - {op: global_pool}
  - {op: linear}
"""
COMPOUND = "scaling: {phi: 2, alpha: 1.2, beta: 1.1, gamma: 1.15}\n"
EXPLICIT = "scaling: {depth: 1.5, width: 1.4, resolution: 40}\n"


def architecture(text: str) -> Architecture:
    loaded = parse(text, path="scaled.yaml")
    assert isinstance(loaded, Architecture)
    return loaded


@pytest.mark.parametrize("scaling", [COMPOUND, EXPLICIT])
@pytest.mark.parametrize("size", [None, 28, (28, 36)])
@pytest.mark.parametrize("where", ["before", "after"])
def test_the_resolved_file_is_the_same_network(scaling: str, size: Any, where: str) -> None:
    head, _, rows = ROWS.partition("network:")
    text = f"{head}{scaling}network:{rows}" if where == "before" else ROWS + scaling
    scaled = architecture(text)
    known = {"classes": 10, "channels": 3}
    plain = resolved(scaled, size, **known)
    assert plain.scaling == {} and "scaling" not in plain.text
    assert cost(plain, **known, size=size) == cost(scaled, **known, size=size)
    states = [build(each, **known, size=size).state_dict() for each in (scaled, plain)]
    assert [(k, v.shape) for k, v in states[0].items()] == [
        (k, v.shape) for k, v in states[1].items()
    ]
    inner = next(row for row in plain.network if row["name"] == "inner")["rows"]
    assert all(isinstance(row.get("channels", 0), int) for row in [*plain.network, *inner])
    assert "# the stem" in plain.text and "# half the size" in plain.text
    assert resolved(plain, size, **known) is plain


def test_rows_behind_an_alias_are_written_out() -> None:
    text = ROWS.replace("channels: 24", "channels: &wide 24").replace(
        "{op: pointwise, channels: 8}", "{op: pointwise, channels: *wide}"
    )
    scaled = architecture(text + EXPLICIT)
    known = {"classes": 10, "channels": 3}
    plain = resolved(scaled, **known)
    assert cost(plain, **known) == cost(scaled, **known)


def test_gamma_resamples_given_images() -> None:
    scaled = architecture(ROWS + COMPOUND)
    price = cost(scaled, classes=10, channels=3, size=28)
    assert price.rows[0].op == "resize" and price.rows[0].shape == (3, 37, 37)
    assert cost(scaled, classes=10, channels=3).rows[0].shape == (24, 21, 21)  # of 42 pixels
    model = build(scaled, classes=10, channels=3, size=28)
    assert model(torch.rand(2, 3, 28, 28)).shape == (2, 10)

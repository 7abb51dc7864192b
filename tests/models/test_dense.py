"""DropConnect drops weights while training."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from nas.models import build, cost
from nas.space import parse

ROWS = [{"op": "flatten"}, {"op": "dropconnect", "channels": 40, "rate": 0.4}, {"op": "linear"}]


def network(rows: list[dict[str, Any]] = ROWS) -> Any:
    return parse(json.dumps({"name": "test", "network": rows}))


def test_dropconnect_is_linear_in_evaluation() -> None:
    layer, x = build(network(), classes=10, channels=3, size=5)[1].eval(), torch.randn(2, 75)
    torch.testing.assert_close(layer(x), layer.linear(x))


def test_dropconnect_drops_weights_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = build(network(), classes=10, channels=3, size=5)[1].train()
    with torch.no_grad():
        layer.linear.weight.fill_(1.0)
        layer.linear.bias.zero_()
    unit = torch.eye(75)  # reads the weights out, one column an image, all of one draw
    drawn = layer(unit)
    values = drawn.unique().tolist()
    assert values == pytest.approx([0.0, 1 / 0.6], abs=1e-5)
    assert (drawn < 0.5).float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert not torch.equal(layer(unit), layer(unit))


def test_dropconnect_without_channels_is_the_classifier() -> None:
    rows: list[dict[str, Any]] = [{"op": "flatten"}, {"op": "dropconnect"}]
    assert cost(network(rows), classes=7, channels=3, size=5).params == 75 * 7 + 7


def test_a_draw_is_paid_once_a_batch() -> None:
    known = {"classes": 10, "channels": 3, "size": 5}
    plain = [ROWS[0], {"op": "linear", "channels": 40}, ROWS[2]]
    for batch in (1, 100):
        more = cost(network(), **known, batch=batch).memory
        more -= cost(network(plain), **known, batch=batch).memory
        assert more == 75 * 40 * (4 + 1)  # float weights, and a mask of bytes

"""`se` of the cells that have no branch to gate: their output is gated."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from nas.models import build, cost
from nas.registry import SIGNATURES
from nas.space import parse

CELLS = (
    "residual", "bottleneck", "highway", "dense_block", "transition", "inception",
    "inception_reduction", "inception_residual", "mbconv", "shuffle_unit", "shuffle_unit_v2",
    "xception_block", "fire", "nasnet_cell", "dag", "nb201_cell", "mlpconv", "separable",
)  # fmt: skip


def network(row: dict[str, Any]) -> Any:
    rows = [{"op": "conv", "channels": 16}, {"name": "cell", **row}]
    return parse(json.dumps({"network": [*rows, {"op": "global_pool"}, {"op": "linear"}]}))


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_takes_a_gate(name: str) -> None:
    assert "se" in SIGNATURES.get(name).settings


@pytest.mark.parametrize(
    "row",
    [
        {"op": "inception", "channels": 32},
        {"op": "dense_block", "layers": 2, "growth": 8},
        {"op": "nb201_cell", "edges": ["nor_conv_3x3"] * 6},
        {"op": "nasnet_cell", "width": 8, "repeat": 2},
    ],
    ids=lambda row: str(row["op"]),
)
def test_the_gate_weighs_what_the_cell_gives(row: dict[str, Any]) -> None:
    of = {"classes": 5, "channels": 3, "size": 16}
    plain, gated = (cost(network({**row, "se": se}), **of) for se in (0, 0.25))
    model = build(network({**row, "se": 0.25}), **of)
    assert gated.params == sum(p.numel() for p in model.parameters()) > plain.params
    gates = [m for m in model.modules() if type(m).__name__ == "SqueezeExcite"]
    assert len(gates) == row.get("repeat", 1)
    squeezed = round(0.25 * gated.rows[1].shape[0])
    assert gates[0].reduce.out_channels == squeezed  # type: ignore[union-attr]
    for gate in gates:
        nn.init.constant_(gate.expand.bias, -100.0)  # type: ignore[union-attr,arg-type]
    seen = []
    model.cell.register_forward_hook(lambda _, __, y: seen.append(y))  # type: ignore[union-attr]
    logits = model.eval()(torch.rand(2, 3, 16, 16))
    assert logits.shape == (2, 5)
    closed = logits - model.linear.linear.bias  # type: ignore[union-attr]
    assert closed.abs().max() < 1e-6  # a closed gate lets nothing through


@pytest.mark.parametrize(
    "row", ["residual, channels: 8", "shuffle_unit_v2, channels: 8", "mbconv, channels: 8"]
)
def test_a_ratio_of_0_is_no_gate(row: str) -> None:
    image = {"classes": 10, "channels": 3, "size": 16}
    text = "name: a\nnetwork:\n  - {op: %s, se: %s}\n  - {op: global_pool}\n  - {op: linear}\n"
    short, long = parse(text % (row, 0)), parse(text % (row, "{ratio: 0, round_to: 8}"))
    assert cost(short, **image) == cost(long, **image)
    names = [[name for name, _ in build(one, **image).named_parameters()] for one in (short, long)]
    assert names[0] == names[1]

"""NASNet-A and AmoebaNet-A against their papers' figures, and NASNet-A's cells as graphs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from nas.models import Cost, build, cost
from nas.space import load, parse

Row = dict[str, Any]
HEAD: list[Row] = [{"op": "global_pool"}, {"op": "linear"}]


def zoo(name: str, size: int | None = None) -> Cost:
    architecture = load(name)
    return cost(architecture, classes=1000, channels=3, size=size)  # type: ignore[arg-type]


def shapes(price: Cost) -> dict[str, tuple[int, int, int]]:
    return {row.name: row.shape for row in price.rows}


def test_nasnet_large_is_6_at_4032() -> None:
    # Zoph et al. 2017, Table 2: 23.8 B multiply-adds; 88.9 M counts the running statistics too
    price = zoo("nasnetalarge")
    assert price.params == 88_753_150
    assert price.macs == pytest.approx(23.8e9, rel=0.005)
    assert shapes(price)["stage3"] == (4032, 11, 11)
    assert [shapes(price)[f"stage{k}"][0] for k in (1, 2, 3)] == [1008, 2016, 4032]
    assert [shapes(price)[f"reduce{k}"][0] for k in (1, 2)] == [1344, 2688]
    assert 88_949_818 - price.params == 196_668  # Keras' count: the running statistics


def test_nasnet_mobile_is_4_at_1056() -> None:
    # Zoph et al. 2017, Table 3: 5.3 M, 564 M; Keras and public weights have 5,289,978 trainable
    price = zoo("nasnet_mobile")
    assert price.params == 5_289_978
    assert round(price.macs / 1e6) == 564
    assert shapes(price)["stage3"] == (1056, 7, 7)


def test_amoebanet_a_has_the_papers_figures() -> None:
    # Real et al. 2018, Table 2: N = 6, F = 190: 86.7 M, 23.1 B
    price = zoo("amoebanet_a")
    assert round(price.params / 1e6, 1) == 86.7
    assert round(price.macs / 1e9, 1) == 23.1


def test_amoebanet_a_448_has_the_papers_figures_as_the_file_says_they_are_counted() -> None:
    # Real et al. 2018, Table 2: N = 6, F = 448: 469 M, 104 B
    price = zoo("amoebanet_a_448")
    with torch.device("meta"):
        model = build(load("amoebanet_a_448"), classes=1000, channels=3)  # type: ignore[arg-type]
    statistics = sum(b.numel() for b in model.buffers() if b.is_floating_point())
    assert round((price.params + statistics) / 1e6) == 469
    assert price.params == pytest.approx(469e6, rel=0.002)
    assert round(price.macs / 1e9) == 104


# ------------------------------------------------------------------------------------- cells
def edge(op: str, source: str | int) -> Row:
    return {"op": op, "from": source}


# Zoph et al. 2017, Figure 4, in the words of a file
NORMAL = [
    [edge("sep_conv_5x5", "input"), edge("sep_conv_3x3", "previous")],
    [edge("sep_conv_5x5", "previous"), edge("sep_conv_3x3", "previous")],
    [edge("avg_pool_3x3", "input"), edge("skip", "previous")],
    [edge("avg_pool_3x3", "previous"), edge("avg_pool_3x3", "previous")],
    [edge("sep_conv_3x3", "input"), edge("skip", "input")],
]
REDUCTION = [
    [edge("sep_conv_5x5", "input"), edge("sep_conv_7x7", "previous")],
    [edge("max_pool_3x3", "input"), edge("sep_conv_7x7", "previous")],
    [edge("avg_pool_3x3", "input"), edge("sep_conv_5x5", "previous")],
    [edge("avg_pool_3x3", 1), edge("skip", 2)],
    [edge("sep_conv_3x3", 1), edge("max_pool_3x3", "input")],
]


def built(cells: list[Row]) -> nn.Sequential:
    rows = [{"name": "stem", "op": "conv", "channels": 6}, *cells, *HEAD]
    architecture = parse(json.dumps({"name": "test", "network": rows}))
    return build(architecture, classes=3, channels=3, size=17)  # type: ignore[arg-type]


def test_a_nasnet_cell_is_that_graph() -> None:
    own = [
        {"name": "a", "op": "nasnet_cell", "width": 4, "repeat": 2},
        {"name": "b", "op": "nasnet_cell", "width": 6, "stride": 2, "repeat": 2},
    ]
    ends = ["previous", 1, 2, 3, 4, 5]
    graphs = [
        {"name": "a", "op": "dag", "width": 4, "repeat": 2, "nodes": NORMAL, "output": ends},
        {"name": "b", "op": "dag", "width": 6, "stride": 2, "nodes": REDUCTION,
         "output": [2, 3, 4, 5]},
        {"name": "c", "op": "dag", "width": 6, "nodes": NORMAL, "output": ends},
    ]  # fmt: skip
    one, other = built(own).eval(), built(graphs).eval()
    values = [*one.state_dict().values()]
    with torch.no_grad():
        for mine, theirs in zip(other.state_dict().values(), values, strict=True):
            mine.copy_(theirs)
        x = torch.randn(2, 3, 17, 17)
        assert torch.equal(one(x), other(x))


def test_a_normal_cell_gives_six_widths_and_a_reduction_cell_four() -> None:
    model = built([{"op": "nasnet_cell", "width": 4, "name": "a"},
                   {"op": "nasnet_cell", "width": 5, "stride": 2, "name": "b"}])  # fmt: skip
    x = torch.randn(2, 3, 17, 17)
    assert model[:2](x).shape == (2, 24, 17, 17)
    assert model[:3](x).shape == (2, 20, 9, 9)


def test_the_skipped_input_changes_what_the_next_cell_reads_and_no_shape() -> None:
    cells: list[Row] = [
        {"op": "nasnet_cell", "width": 4, "name": "a", "repeat": 2},
        {"op": "nasnet_cell", "width": 4, "name": "b", "stride": 2},
        {"op": "nasnet_cell", "width": 4, "name": "c"},
    ]
    skipping = [cells[0], {**cells[1], "skip_input": True}, cells[2]]
    plain, skips = built(cells).eval(), built(skipping).eval()
    # both have the same weights: what lies before the reduction has 24 channels as well
    skips.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 17, 17)
    assert not torch.equal(plain(x), skips(x))
    outputs: dict[str, torch.Tensor] = {}
    for name in ("a.0", "a.1", "b"):
        skips.get_submodule(name).register_forward_hook(
            lambda _, __, y, name=name: outputs.update({name: y})
        )
    ends = skips[:4](x)
    cell = skips.get_submodule("c")
    assert torch.equal(ends, cell(outputs["b"], outputs["a.0"]))
    assert not torch.equal(ends, cell(outputs["b"], outputs["a.1"]))

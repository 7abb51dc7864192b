"""NAS-Bench-201's cell against the benchmark's own figures, and its space of 15,625 cells."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import SpaceError
from nas.models import Cost, build, cost
from nas.models.nb201 import EDGES, OPERATIONS
from nas.space import Space, count, fill, load, parse

NAMES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

# Dong and Yang 2020: number of the cell, its six operations by number of NAMES, parameters, and
# mega-multiply-adds on CIFAR-10, as the benchmark's tables report them (params in MB, FLOPs in M)
TABLE = [
    (0, "421211", 129_306, 15.64737),
    (7, "014133", 559_386, 78.56193),
    (1462, "333333", 1_531_546, 220.11969),
    (1651, "000000", 73_306, 7.78305),
    (1835, "111111", 73_306, 7.78305),
    (4000, "202303", 615_386, 86.42625),
    (4317, "222222", 241_306, 31.37601),
    (6111, "333132", 1_073_466, 153.27297),
    (7581, "444444", 73_306, 7.78305),
    (9930, "333133", 1_288_506, 184.73025),
    (12345, "140214", 101_306, 11.71521),
    (15624, "202022", 185_306, 23.51169),
]


def space() -> Space:
    found = load("nb201")
    assert isinstance(found, Space)
    return found


def decisions(config: str) -> dict[str, Any]:
    return {f"network.cells1.edges.{k}": NAMES[int(c)] for k, c in enumerate(config, 1)}


def priced(config: str) -> Cost:
    return cost(fill(space(), decisions(config)), classes=10, channels=3, size=32)


@pytest.mark.parametrize(("number", "config", "params", "mega_macs"), TABLE)
def test_the_figures_are_the_benchmarks(
    number: int, config: str, params: int, mega_macs: float
) -> None:
    found = priced(config)
    assert found.params == params
    # the benchmark counts the classifier's 10 biases among its multiply-adds
    assert found.macs + 10 == round(mega_macs * 1e6)


def test_the_space_holds_15625_cells() -> None:
    assert count(space()) == 15_625 == 5**6


def test_the_default_is_the_cell_of_3x3_convolutions() -> None:
    default = fill(space(), space().default())
    assert space().default() == decisions("333333")
    found = cost(default, classes=10, channels=3, size=32)
    file = load("nb201_all_conv3x3")
    stated = cost(file, classes=10, channels=3)  # type: ignore[arg-type]
    assert (found.params, found.macs) == (stated.params, stated.macs) == (1_531_546, 220_119_680)


def test_all_stages_have_the_drawn_cell() -> None:
    network = fill(space(), decisions("421211")).network
    cells = [row["edges"] for row in network if row["op"] == "nb201_cell"]
    assert cells == [[NAMES[int(c)] for c in "421211"]] * 3


def test_the_residual_cell_of_the_zoo() -> None:
    found = cost(load("nb201_resnet"), classes=10, channels=3)  # type: ignore[arg-type]
    assert (found.params, found.macs) == (559_386, 78_561_920)  # the benchmark's #11472


def test_names_and_edges_are_the_benchmarks() -> None:
    assert tuple(OPERATIONS) == NAMES
    assert EDGES == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


# -------------------------------------------------------------------------------------- cell
def cell(*edges: str, **settings: Any) -> nn.Module:
    rows = [{"name": "cell", "op": "nb201_cell", "edges": list(edges), **settings},
            {"op": "global_pool"}, {"op": "linear"}]  # fmt: skip
    network = parse(json.dumps({"name": "test", "network": rows}))
    model = build(network, classes=2, channels=4, size=8)  # type: ignore[arg-type]
    return model.get_submodule("cell").eval()


def test_a_node_is_the_sum_over_all_before_it() -> None:
    x = torch.randn(2, 4, 8, 8)
    # node 1 = x, node 2 = x + x, node 3 = x + x + 2 x
    assert torch.allclose(cell(*["skip_connect"] * 6)(x), 4 * x)
    through = cell("skip_connect", "none", "skip_connect", "none", "none", "skip_connect")
    assert torch.equal(through(x), x)
    pooled = cell("avg_pool_3x3", "none", "none", "none", "skip_connect", "none")
    mean = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    assert torch.allclose(pooled(x), mean)


def test_a_convolution_is_relu_convolution_norm() -> None:
    made = cell("nor_conv_3x3", "none", "none", "none", "skip_connect", "none")
    kinds = [type(m) for m in made.nodes[0][0]]  # type: ignore[index]
    assert kinds == [nn.ReLU, nn.Conv2d, nn.BatchNorm2d]
    assert torch.equal(made(-torch.rand(1, 4, 8, 8)), torch.zeros(1, 4, 8, 8))


def test_a_cell_of_none_gives_zeros_and_trains() -> None:
    made = cell(*["none"] * 6)
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    y = made(x)
    assert y.shape == x.shape and not y.any()
    y.sum().backward()
    assert x.grad is not None and not x.grad.any()


def test_channels_and_stride_are_changed_by_the_operations_on_the_input() -> None:
    for name in NAMES:
        made = cell(*[name] * 6, channels=6, stride=2)
        assert made(torch.randn(2, 4, 7, 8)).shape == (2, 6, 4, 4)


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ("[none, none]", "network.cell.edges holds 2; it must be a list of 6"),
        ("[none, none, none, none, none, conv_3x3]", "did you mean 'nor_conv_3x3'?"),
        ("none", "network.cell.edges is 'none', which must be a list of 6"),
        ("[none, none, none, none, none, !choice [none, skip]]", "has the option 'skip'"),
    ],
)
def test_six_edges_of_five_operations(edges: str, words: str) -> None:
    row = f"{{name: cell, op: nb201_cell, edges: {edges}}}"
    with pytest.raises(SpaceError) as fault:
        parse(f"name: test\nnetwork:\n  - {row}\n  - op: linear\n", path="cells.yaml")
    assert str(fault.value).startswith("cells.yaml:3: ")
    assert words in str(fault.value)

"""Cells given as graphs, and cells that look back: as they are priced, so they are built."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import ShapeError, SpaceError
from nas.models import Cost, build, cost
from nas.models.cell_operations import CONVOLUTIONS, OPERATIONS, FactorizedReduction, make_operation
from nas.models.composites import Chain
from nas.models.measured import measured_cost
from nas.models.operators import OPERATORS
from nas.models.tally import Tally
from nas.models.walk import walk
from nas.space import Space, count, draw, fill, load, match, parse

Row = dict[str, Any]
HEAD: list[Row] = [{"op": "global_pool"}, {"op": "linear"}]


def edge(op: str, source: str | int) -> Row:
    return {"op": op, "from": source}


BOTH = [[edge("sep_conv_3x3", "input"), edge("conv_1x1", "previous")]]
NASNETS = [
    [edge("sep_conv_5x5", "input"), edge("sep_conv_3x3", "previous")],
    [edge("max_pool_3x3", "previous"), edge("skip", 1)],
]


def dag(nodes: Any = BOTH, width: int = 4, **more: Any) -> Row:
    return {"op": "dag", "nodes": nodes, "width": width, **more}


def conv(channels: int, **more: Any) -> Row:
    return {"op": "conv", "channels": channels, **more}


def network(rows: list[Row], **sections: Any) -> Any:
    return parse(json.dumps({"name": "test", "network": [*rows, *HEAD], **sections}))


def priced(rows: list[Row], size: int = 16) -> Cost:
    return cost(network(rows), classes=5, channels=3, size=size)


def built(rows: list[Row], size: int = 16) -> nn.Sequential:
    return build(network(rows), classes=5, channels=3, size=size)


# ------------------------------------------------------------------------------ looking back
class Back(nn.Module):
    """Writes down what it is given."""

    looks_back = True

    def __init__(self, *, skip_input: bool = False) -> None:
        super().__init__()
        self.skip_input = skip_input
        self.given: tuple[float, float] | None = None

    def forward(self, x: Tensor, previous: Tensor) -> Tensor:
        self.given = (float(x), float(previous))
        return x + 1


class Plus(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def given(*modules: nn.Module) -> list[tuple[float, float] | None]:
    Chain(*modules)(torch.tensor(0.0))
    found = [each for module in modules for each in module.modules() if isinstance(each, Back)]
    return [each.given for each in found]


def test_a_module_that_looks_back_gets_the_output_before_its_input() -> None:
    assert given(Plus(), Plus(), Back(), Plus(), Back()) == [(2, 1), (4, 3)]


def test_the_image_is_no_output_so_the_first_two_get_their_input_twice() -> None:
    assert given(Back(), Back(), Back()) == [(0, 0), (1, 1), (2, 1)]


def test_a_chain_within_a_chain_counts_as_its_modules() -> None:
    assert given(Plus(), Chain(Plus(), Back()), Chain(Back()), Back()) == [(2, 1), (3, 2), (4, 3)]


def test_behind_a_cell_that_skips_its_input_the_next_looks_past_it() -> None:
    # 6 @ 4032: cell 6 takes the reduction's output and that of cell 4 (see nasnetalarge)
    cells = [Plus(), Plus(), Back(skip_input=True), Back(), Back()]
    assert given(*cells) == [(2, 1), (3, 1), (4, 3)]


STACKS: list[list[Row]] = [
    [conv(8), dag()],
    [conv(8), conv(12), dag()],
    [conv(8), dag(NASNETS, repeat=4)],
    [conv(8), dag(repeat=2), dag(stride=2, width=8), dag(width=8, repeat=3)],
    [conv(8), dag(stride=2, repeat=3), dag(width=6, stride=2, skip_input=True), dag(repeat=2)],
    [conv(8), conv(8, stride=2), dag(), {"op": "dropout"}, dag(), {"op": "max_pool"}, dag()],
    [conv(8), {"rows": [dag(), dag(stride=2), conv(6)], "repeat": 2}, dag()],
    [conv(8), conv(6), {"branches": [[dag(repeat=2)], [conv(9), conv(5), dag()]]}, dag(), dag()],
    [conv(8), {"branches": [[{"branches": [[dag()], [conv(5)]]}, dag()], [conv(2)]]}, dag()],
    [conv(8), {"op": "residual", "channels": 8, "order": "pre", "repeat": 2}, dag(), dag()],
    [conv(8), {"op": "nasnet_cell", "width": 4, "repeat": 3}],
    [conv(8), dag(padding="same_tf", stride=2), dag(padding="same_tf", stride=2)],
]


@pytest.mark.parametrize("rows", STACKS)
@pytest.mark.parametrize("size", [16, 19])
def test_stacks_are_priced_as_they_are_built(rows: list[Row], size: int) -> None:
    price, model = priced(rows, size), built(rows, size).eval()
    convolved = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, y: convolved.append(y.numel()))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert model(torch.randn(1, 3, size, size)).shape == (1, 5)
    assert price.params == sum(p.numel() for p in model.parameters())
    assert 2 * price.macs == counter.get_total_flops()
    assert price.activations == sum(convolved)


def test_an_image_that_scaling_resizes_is_no_output_either() -> None:
    rows: list[Row] = [conv(8), dag(name="one"), dag(name="two")]
    scaled = network(rows, scaling={"phi": 1})
    price = cost(scaled, classes=5, channels=3, size=16)
    model = build(scaled, classes=5, channels=3, size=16)
    assert [row.name for row in price.rows][:2] == ["resize", "conv"]
    assert price.params == sum(p.numel() for p in model.parameters())
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 5)
    assert "previous" not in model.get_submodule("one.starts")._modules
    assert "previous" in model.get_submodule("two.starts")._modules


class LongWay(Tally):
    """Any other Tally is taken through every layer, so that it can write them down."""


@pytest.mark.parametrize("rows", STACKS)
def test_the_remembered_prices_are_those_of_the_layers(rows: list[Row]) -> None:
    short, long = Tally(3, 16, 16), LongWay(3, 16, 16)
    for tally in (short, long):
        walk(network(rows), 5, tally)
    assert short.sums() == long.sums()
    assert short.state() == long.state()
    assert short.largest == long.largest


def test_so_are_those_of_the_spaces_and_of_the_benchmarks_cells() -> None:
    rng = random.Random(0)
    for name in ("nasnet_cells", "nb201"):
        for _ in range(30):
            architecture = fill(space(name), draw(space(name), rng))
            short, long = Tally(3, 32, 32), LongWay(3, 32, 32)
            for tally in (short, long):
                walk(architecture, 10, tally)
            assert short.sums() == long.sums()
            assert short.largest == long.largest


@pytest.mark.parametrize("nodes", [BOTH, NASNETS, [[edge("sep_conv_7x7", "previous")]]])
def test_repeated_cells_cost_what_the_same_rows_written_out_do(nodes: Any) -> None:
    # the last one sees further at every second cell only: nothing to multiply there
    repeated = priced([conv(8), dag(nodes, repeat=7)])
    written = priced([conv(8), *(dag(nodes, name=f"cell{k}") for k in range(7))])
    for total in ("params", "macs", "activations", "memory"):
        assert getattr(repeated, total) == getattr(written, total)
    assert repeated.rows[1].receptive_field == written.rows[7].receptive_field
    assert repeated.rows[1].shape == written.rows[7].shape


@pytest.mark.parametrize(
    "rows",
    [
        [conv(8), conv(8), dag(NASNETS), dag(NASNETS)],
        [conv(8), dag([[edge("sep_conv_7x7", "previous")]], repeat=3)],
        [conv(8), dag(NASNETS, stride=2), dag(NASNETS)],
        [conv(8), dag(BOTH, repeat=2), dag(BOTH, stride=2), dag(BOTH, repeat=2)],
    ],
)
def test_receptive_field_is_what_the_gradient_reaches(rows: list[Row]) -> None:
    side, many = 81, len(rows)
    torch.manual_seed(0)
    model = built(rows, side)[:many].eval()
    for p in model.parameters():
        p.data.abs_().add_(0.01)
    x = torch.rand(16, 3, side, side).mul_(0.1).requires_grad_()
    y = model(x)
    y[:, :, y.shape[2] // 2, y.shape[3] // 2].sum().backward()
    assert x.grad is not None
    reached = (x.grad.abs().sum((0, 1)) > 0).any(0).nonzero()
    view = priced(rows, side).rows[many - 1].receptive_field[1]
    assert int(reached[-1] - reached[0]) + 1 == view < side


def test_a_previous_output_of_another_size_is_refused_with_what_would_fit() -> None:
    with pytest.raises(ShapeError) as fault:
        priced([conv(8), conv(8, padding="valid"), dag(name="cell")])
    assert "row 'cell' (dag): takes the output before its input too, which is 16x16" in str(fault)
    assert "14x14" in str(fault)
    assert "keep the size or halve it" in str(fault)


@pytest.mark.parametrize("previous", [None, (6, 12, 12), (6, 24, 24)])
def test_a_cell_without_a_cost_is_measured_with_the_output_before(previous: Any) -> None:
    operator = OPERATORS.get("dag")
    settings = {**operator.defaults, "nodes": BOTH, "width": 4}
    counted, measured = Tally(8, 12, 12), Tally(8, 12, 12)
    for tally in (counted, measured):
        tally.previous = previous and (*previous, False, False, 1, 1, 1, 1)
    operator.cost(counted, **settings)
    del settings["se"]  # a gate behind it, which is not the module's own
    context = tuple(name for name in operator.context if name != "out_channels")
    measured_cost(operator.module, context)(measured, **settings)
    for name in ("channels", "height", "width", "params", "buffers", "macs", "activations"):
        assert getattr(measured, name) == getattr(counted, name), name


# -------------------------------------------------------------------------------- operations
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["same", "same_tf"])
def test_every_operation_gives_the_shape_asked_for(name: str, stride: int, padding: str) -> None:
    for in_channels, channels, side in ((8, 8, 7), (8, 12, 6), (6, 2, 9)):
        made = make_operation(name, in_channels, channels, stride, padding=padding)
        x = torch.randn(2, in_channels, side, side)
        before = x.clone()
        assert made(x).shape == (2, channels, -(-side // stride), -(-side // stride))
        assert torch.equal(x, before)


def test_parameters_of_the_operations_by_hand() -> None:
    c = 16

    def params(name: str) -> int:
        return sum(p.numel() for p in make_operation(name, c, c).parameters())

    assert [params(name) for name in ("none", "skip", "avg_pool_3x3", "max_pool_7x7")] == [0] * 4
    assert params("conv_1x1") == c * c + 2 * c
    assert params("conv_3x3") == params("dil_conv_3x3") == 9 * c * c + 2 * c
    for kernel in (3, 5, 7):  # depthwise and pointwise with their norm, twice
        assert params(f"sep_conv_{kernel}x{kernel}") == 2 * (kernel**2 * c + c * c + 2 * c)
    narrow = c // 4  # 1x1, 1x7, 7x1, 1x1, each with its norm
    inner = c * narrow + 2 * 7 * narrow * narrow + narrow * c
    assert params("conv_1x7_7x1") == inner + 3 * 2 * narrow + 2 * c


def test_padding_is_no_part_of_a_mean() -> None:
    ones = torch.ones(1, 2, 5, 5)
    assert torch.equal(make_operation("avg_pool_3x3", 2, 2)(ones), ones)


def test_a_factorized_reduction_looks_at_both_pixels_of_a_pair() -> None:
    made = FactorizedReduction(1, 2, 2, "none", "none").eval()
    for layer in (made.conv1, made.conv2):
        layer.weight.data.fill_(1)
        assert layer.bias is not None
        layer.bias.data.zero_()
    x = torch.arange(25.0).reshape(1, 1, 5, 5)
    even, odd = made(x)[0]
    assert torch.equal(even, x[0, 0, ::2, ::2])
    shifted = F.pad(x[0, 0, 1:, 1:], (0, 1, 0, 1))  # zeros behind the last row and column
    assert torch.equal(odd, shifted[::2, ::2])


# ------------------------------------------------------------------------------------ graphs
def cell(nodes: Any, in_channels: int = 4, **settings: Any) -> nn.Module:
    rows = [conv(in_channels), conv(in_channels), dag(nodes, name="cell", **settings)]
    return built(rows).get_submodule("cell").eval()


def test_a_node_adds_up_its_edges_and_loose_ends_are_concatenated() -> None:
    nodes = [
        [edge("skip", "input"), edge("skip", "previous")],
        [edge("skip", 1), edge("skip", 1)],
        [edge("skip", "previous"), edge("none", 1)],
    ]
    made = cell(nodes)
    x, previous = torch.randn(2, 4, 6, 6), torch.randn(2, 4, 6, 6)
    a, b = made.starts["input"](x), made.starts["previous"](previous)  # type: ignore[index]
    y = made(x, previous)
    assert torch.allclose(y, torch.cat([2 * (a + b), b], 1), atol=1e-6)


def test_output_all_and_a_list_of_ends() -> None:
    nodes = [[edge("skip", "input")], [edge("skip", 1), edge("skip", "previous")]]
    x, previous = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    for output, wanted in (
        ("loose", ["ab"]), ("all", ["a", "ab"]), (["previous", 2, "input"], ["b", "ab", "a"]),
    ):  # fmt: skip
        made = cell(nodes, output=output)
        a, b = made.starts["input"](x), made.starts["previous"](previous)  # type: ignore[index]
        named = {"a": a, "b": b, "ab": a + b}
        expected = torch.cat([named[name] for name in wanted], 1)
        assert torch.allclose(made(x, previous), expected, atol=1e-6)


def test_concatenating_nodes_multiply_their_channels() -> None:
    nodes = [[edge("skip", "input"), edge("skip", "previous")], [edge("conv_1x1", 1)] * 3]
    rows = [conv(8), conv(8), dag(nodes, combine="concat")]
    assert priced(rows).rows[2].shape == (12, 16, 16)
    assert built(rows)[:3](torch.randn(2, 3, 16, 16)).shape == (2, 12, 16, 16)


def test_an_input_that_nothing_takes_has_no_weights() -> None:
    only = cell([[edge("conv_3x3", "input"), edge("none", "previous")]])
    assert list(only.starts) == ["input"]  # type: ignore[call-overload]
    assert list(cell([[edge("skip", "previous")]]).starts) == ["previous"]  # type: ignore[call-overload]


def test_edges_of_none_alone_give_zeros_and_train() -> None:
    nodes = [[edge("none", "input"), edge("none", "previous")], [edge("skip", "input")]]
    model = built([conv(4), conv(4), dag(nodes, name="cell", stride=2), dag()]).train()
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    made = model.get_submodule("cell")
    assert made(torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8))[:, :4].abs().sum() == 0


# ------------------------------------------------------------------------------------ faults
def text(nodes: str, more: str = "") -> str:
    return f"""name: test
network:
  - {{op: conv, channels: 8}}
  - name: cell
    op: dag
    width: 8
    nodes:
      - [{{op: skip, from: input}}]
      {nodes}
    {more}
  - {{op: global_pool}}
  - {{op: linear}}
"""


@pytest.mark.parametrize(
    ("nodes", "line", "words"),
    [
        ("- [{op: skip, from: 2}]", 9, "nodes.2.1.from is 2, which makes a cycle: node 2 takes"),
        ("- [{op: skip, from: 3}]\n      - [{op: skip, from: 1}]", 9, "makes a cycle"),
        ("- [{op: skip, from: 4}]", 9, "is no node of this cell: node 2 takes input, previous or"),
        ("- [{op: skip, from: inptu}]", 9, "did you mean 'input'?"),
        ("- [{op: skip, from: 0}]", 9, "is no node of this cell"),
        ("-\n        - {op: skip, from: 1}\n        - {op: sep_conv_3, from: 1}", 11,
         "cell.nodes.2.2.op is 'sep_conv_3', which must be one of none, skip"),
        ("- [{op: sep_conv_3, from: 1}]", 9, "did you mean 'sep_conv_3x3'?"),
        ("- []", 9, "cell.nodes.2 holds 0; it must be a list of 1 to 20"),
        ("- {op: skip, from: 1}", 9, "cell.nodes.2 must be a list of 1 to 20"),
        ("- [[skip, 1]]", 9, "cell.nodes.2.1 must be a mapping of op, from"),
        ("- [{op: skip}]", 9, "cell.nodes.2.1 lacks the key 'from'"),
        ("- [{op: skip, from: 1, stride: 2}]", 9, "has the unknown key 'stride'"),
        ("- [{op: !choice [skip, skp], from: 1}]", 9, "has the option 'skp', which must be one of"),
        ("- [{op: skip, from: !choice [input, 2]}]", 9, "has the option 2, which makes a cycle"),
        ("- [{op: skip, from: !int [1, 2]}]", 9, "has the end 2, which makes a cycle"),
        ("- [{op: !choice [skip, none]}]", 9, "lacks the key 'from'"),
    ],
)  # fmt: skip
def test_a_graph_that_cannot_be_is_refused_at_load(nodes: str, line: int, words: str) -> None:
    with pytest.raises(SpaceError) as fault:
        parse(text(nodes), path="cells.yaml")
    assert str(fault.value).startswith(f"cells.yaml:{line}: network.cell.nodes.2")
    assert words in str(fault.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("output: [3]", "output names node 3, and there are 2: input, previous, 1, 2"),
        ("output: [2, 2, 1]", "output names node 2 twice"),
        ("output: [2]", "node 1 dangles: no node takes it, and output does not name it"),
    ],
)
def test_ends_that_do_not_fit_name_the_row(more: str, words: str) -> None:
    found = parse(text("- [{op: skip, from: previous}]", more), path="cells.yaml")
    with pytest.raises(ShapeError) as fault:
        cost(found, classes=5, channels=3, size=8)  # type: ignore[arg-type]
    assert str(fault.value).startswith("cells.yaml:4: row 'cell' (dag): ")
    assert words in str(fault.value)


def test_a_width_that_no_reduction_can_halve_is_refused() -> None:
    with pytest.raises(ShapeError, match="width 1 cannot be halved"):
        priced([conv(8), conv(8, stride=2), dag(width=1)])


# ------------------------------------------------------------------------------------ spaces
def space(name: str) -> Space:
    found = load(name)
    assert isinstance(found, Space)
    return found


def test_draws_of_nasnet_cells_are_read_back_and_filled_text_is_the_network() -> None:
    found, rng = space("nasnet_cells"), random.Random(0)
    for _ in range(20):
        decisions = draw(found, rng)
        architecture = fill(found, decisions)
        assert match(found, architecture) == decisions
        assert parse(architecture.text) == architecture


def test_the_normal_cells_of_nasnet_cells_are_one_cell() -> None:
    found = space("nasnet_cells")
    rows = {row["name"]: row for row in fill(found, draw(found, random.Random(1))).network[:6]}
    assert rows["normal1"]["nodes"] == rows["normal2"]["nodes"] == rows["normal3"]["nodes"]
    assert rows["reduce1"]["nodes"] == rows["reduce2"]["nodes"] != rows["normal1"]["nodes"]
    assert rows["normal1"]["repeat"] == rows["normal3"]["repeat"]


def test_nasnet_cells_counts_its_networks() -> None:
    # a cell: 13 operations an edge, and 2, 3, 4, 5, 6 places to come from, each for two edges
    cells = 13**10 * (2 * 3 * 4 * 5 * 6) ** 2
    assert count(space("nasnet_cells")) == cells**2 * 4 * 6  # widths, repetitions


def test_every_operation_of_the_space_is_one_of_nasnets_thirteen() -> None:
    found = space("nasnet_cells")
    operations = {option for h in found.holes if h.name.endswith(".op") for option in h.options}
    assert operations == set(OPERATIONS) - {"none"}
    assert len(operations) == 13
    assert set(CONVOLUTIONS) < operations

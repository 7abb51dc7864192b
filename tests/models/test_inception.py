"""Inception modules against the papers' figures, and what they do with numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import ShapeError, SpaceError
from nas.models import Cost, build, cost, record
from nas.models.inception import Inception
from nas.space import Architecture, fill, load, parse

HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]
# Szegedy et al. 2014, Table 1: output, #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
TABLE_1: dict[str, tuple[tuple[int, int, int], list[int]]] = {
    "inception3a": ((256, 28, 28), [64, 96, 128, 16, 32, 32]),
    "inception3b": ((480, 28, 28), [128, 128, 192, 32, 96, 64]),
    "inception4a": ((512, 14, 14), [192, 96, 208, 16, 48, 64]),
    "inception4b": ((512, 14, 14), [160, 112, 224, 24, 64, 64]),
    "inception4c": ((512, 14, 14), [128, 128, 256, 24, 64, 64]),
    "inception4d": ((528, 14, 14), [112, 144, 288, 32, 64, 64]),
    "inception4e": ((832, 14, 14), [256, 160, 320, 32, 128, 128]),
    "inception5a": ((832, 7, 7), [256, 160, 320, 32, 128, 128]),
    "inception5b": ((1024, 7, 7), [384, 192, 384, 48, 128, 128]),
}


def network(*rows: dict[str, Any]) -> Any:
    return parse(json.dumps({"name": "test", "network": [*rows, *HEAD]}))


def price(row: dict[str, Any], size: int = 28, channels: int = 256) -> Any:
    return cost(network(row), classes=10, channels=channels, size=size).rows[0]


def module(row: dict[str, Any], channels: int, size: int = 9) -> Any:
    torch.manual_seed(0)
    return build(network(row), classes=10, channels=channels, size=size)[0].eval()


def widths_of(row: dict[str, Any], channels: int) -> list[int]:
    convs = [m for m in module(row, channels).modules() if isinstance(m, nn.Conv2d)]
    return [conv.out_channels for conv in convs]


def conv_weights(*rows: dict[str, Any], channels: int) -> int:
    bare = {"op": "conv", "norm": "none", "bias": False}
    found = cost(network(*({**bare, **row} for row in rows)), classes=10, channels=channels, size=9)
    return sum(row.params for row in found.rows[: len(rows)])


# ------------------------------------------------------------------- the documents' arithmetic
def test_operations_of_the_naive_module() -> None:
    # on 28x28x256: 1x1 128, 3x3 192, 5x5 96, and the pool passes 256 on; printed as 854 M
    row = {"op": "inception", "form": "naive", "channels": 672, "widths": [128, 192, 96]}
    found = price(row)
    assert found.macs == 854_196_224
    assert found.shape == (672, 28, 28)


def test_operations_of_the_module_with_reductions() -> None:
    # 64 channels before the 3x3 and the 5x5 convolution and behind the pool. The document prints
    # 358 M: it lists the line "3x3 conv, 192" twice (86,704,128 operations)
    row = {"op": "inception", "channels": 480, "widths": [128, 64, 192, 64, 96, 64]}
    found = price(row)
    assert found.macs == 271_351_808
    assert found.macs + 28 * 28 * 192 * 9 * 64 == 358_055_936
    assert found.shape == (480, 28, 28)


def test_two_3x3_weigh_18_k2_against_25_k2_and_see_as_much() -> None:
    two = [{"channels": 64, "kernel": 3}, {"name": "b", "channels": 64, "kernel": 3}]
    one = {"channels": 64, "kernel": 5}
    assert conv_weights(*two, channels=64) == 18 * 64**2
    assert conv_weights(one, channels=64) == 25 * 64**2


def test_factorised_kernels_save_the_printed_shares() -> None:
    # Szegedy et al. 2015, section 3: alpha = 2, the widths between grow by its square root
    n, between, out = 1000, 1414, 2000
    plain5, plain3 = (conv_weights({"channels": out, "kernel": k}, channels=n) for k in (5, 3))
    double = conv_weights(
        {"channels": between, "kernel": 3}, {"name": "b", "channels": out, "kernel": 3}, channels=n
    )
    uneven = conv_weights(
        {"channels": between, "kernel": [1, 3]},
        {"name": "b", "channels": out, "kernel": [3, 1]},
        channels=n,
    )
    assert double / plain5 - 1 == pytest.approx(-0.24, abs=0.005)
    assert uneven / plain3 - 1 == pytest.approx(-0.293, abs=0.0005)  # printed 30 %


# -------------------------------------------------------------------------------- the networks
def shipped(name: str, size: int) -> tuple[Architecture, Cost]:
    loaded = load(name)
    assert isinstance(loaded, Architecture)
    return loaded, cost(loaded, classes=1000, channels=3, size=size)


def test_googlenet_has_the_papers_modules() -> None:
    loaded, found = shipped("googlenet", 224)
    rows = {row["name"]: row for row in loaded.network if row["op"] == "inception"}
    shapes = {row.name: row.shape for row in found.rows}
    assert {name: (shapes[name], row["widths"]) for name, row in rows.items()} == TABLE_1
    assert found.params == 6_624_904


@pytest.mark.parametrize(
    ("name", "size", "depth"), [("googlenet", 224, 22), ("googlenet_2014", 224, 22),
                                ("googlenet_aux", 224, 22), ("inception_v3", 299, 48)],
)  # fmt: skip
def test_depth_in_layers_with_weights(name: str, size: int, depth: int) -> None:
    # Szegedy et al. 2014, section 5: 22 layers "when counting only layers with parameters"
    assert record(load(name), classes=1000, channels=3, size=size).weight_layers == depth


def test_modules_with_5x5_convolutions_weigh_what_the_paper_says() -> None:
    # Table 1 counts in units of 1024: 159 K and 380 K for 3a and 3b, without norms
    for name, before, printed in (("inception3a", 192, 159), ("inception3b", 256, 380)):
        shape, widths = TABLE_1[name]
        row = {"op": "inception", "channels": shape[0], "widths": widths, "norm": "none"}
        assert price(row, channels=before).params / 1024 == pytest.approx(printed, abs=1)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        # Szegedy et al. 2015, Table 1; 2016, Figure 9 and the filters of its modules
        ("inception_v3", {"mixed5d": (288, 35, 35), "mixed6e": (768, 17, 17),
                          "mixed7c": (2048, 8, 8)}),
        ("inception_v4", {"mixed5a": (384, 35, 35), "inception_a": (384, 35, 35),
                          "inception_b": (1024, 17, 17), "inception_c": (1536, 8, 8)}),
        ("inception_resnet_v2", {"block35": (320, 35, 35), "block17": (1088, 17, 17),
                                 "block8": (2080, 8, 8), "conv7b": (1536, 8, 8)}),
    ],
)  # fmt: skip
def test_grids_are_35_17_and_8(name: str, shapes: dict[str, tuple[int, int, int]]) -> None:
    found = {row.name: row.shape for row in shipped(name, 299)[1].rows}
    assert {key: found[key] for key in shapes} == shapes


# -------------------------------------------------------------------------------------- widths
def test_widths_are_shares_where_they_do_not_come_to_the_channels() -> None:
    row = {"op": "inception", "widths": [64, 96, 128, 16, 32, 32]}
    assert widths_of({**row, "channels": 256}, 192) == row["widths"]
    assert widths_of({**row, "channels": 512}, 192) == [128, 192, 256, 32, 64, 64]
    assert widths_of({"op": "inception", "channels": 128}, 192) == [32, 48, 64, 8, 16, 16]


@pytest.mark.parametrize("form", ["reduced", "double", "factorised", "expanded", "expanded_v4"])
@pytest.mark.parametrize("channels", [7, 30, 100, 333])
def test_every_form_ends_with_the_channels_asked_for(form: str, channels: int) -> None:
    found = module({"op": "inception", "form": form, "channels": channels}, 8)
    assert found(torch.rand(1, 8, 9, 9)).shape == (1, channels, 9, 9)


def test_a_repeated_module_keeps_its_width() -> None:
    row = {"op": "inception", "channels": 64, "repeat": 3}
    found = build(network(row), classes=10, channels=32, size=9)[0]
    assert found(torch.rand(2, 32, 9, 9)).shape == (2, 64, 9, 9)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"channels": 256, "widths": [64, 96, 128]}, "widths has 3 numbers"),
        ({"channels": 256, "kernel": 4}, "take an odd one"),
        ({"channels": 3}, "fewer than the 4 that end its branches"),
        ({"form": "naive", "channels": 16}, "take more than 16, such as x2"),
        ({"op": "inception_reduction", "channels": 16}, "take more than 16, such as x2"),
        ({"op": "inception_residual", "widths": [4]}, "widths has 1 numbers"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(row: dict[str, Any], said: str) -> None:
    with pytest.raises(ShapeError, match=said) as caught:
        price({"name": "cell", "op": "inception", **row}, channels=16)
    assert "'cell'" in str(caught.value)


@pytest.mark.parametrize("widths", ["[0, 1, 1, 1, 1, 1]", "[a]", "wide", "[1.5]"])
def test_widths_are_whole_numbers(widths: str) -> None:
    text = f"name: t\nnetwork:\n  - {{op: inception, channels: 8, widths: {widths}}}\n"
    with pytest.raises(SpaceError, match=r"widths.* must be a list of whole numbers of at least 1"):
        parse(text)


def test_a_width_may_be_a_hole() -> None:
    text = """
name: t
network:
  - {name: a, op: inception, channels: x2, widths: [4, 6, !choice [8, 16], 1, 2, 2]}
  - name: b
    op: inception
    channels: x2
    widths: !choice {module_3a: [64, 96, 128, 16, 32, 32], module_4a: [192, 96, 208, 16, 48, 64]}
  - {op: global_pool}
  - {op: linear}
"""
    space: Any = parse(text)
    assert [hole.name for hole in space.holes] == ["network.a.widths.3", "network.b.widths"]


# -------------------------------------------------------------------------------------- values
def test_the_concatenation_is_in_the_order_of_the_branches() -> None:
    cell = module({"op": "inception", "form": "naive", "channels": 12, "widths": [2, 3, 4]}, 3)
    x = torch.rand(2, 3, 9, 9)
    y = cell(x)
    assert torch.equal(y[:, :2], cell.branches[0](x))
    assert torch.equal(y[:, -3:], nn.functional.max_pool2d(x, 3, 1, 1))


def test_an_expanded_branch_forks_at_its_end() -> None:
    cell = module({"op": "inception", "form": "expanded", "channels": 64, "kernel": 5}, 3)
    kernels = [m.kernel_size for m in cell.branches[2].modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(1, 1), (5, 5), (1, 5), (5, 1)]
    inner = cell.branches[1][0](torch.rand(1, 3, 9, 9))
    both = torch.cat([conv(inner) for conv in cell.branches[1][1]], 1)
    assert torch.equal(cell.branches[1][1](inner), both)


@pytest.mark.parametrize(("padding", "side"), [("valid", 4), ("same", 5)])
@pytest.mark.parametrize("form", ["double", "factorised"])
def test_a_reduction_halves_and_passes_the_input_on(form: str, padding: str, side: int) -> None:
    row = {"op": "inception_reduction", "form": form, "channels": 20, "padding": padding}
    cell, x = module(row, 6), torch.rand(2, 6, 9, 9)
    y = cell(x)
    assert y.shape == (2, 20, side, side)
    padded = {"valid": 0, "same": 1}[padding]
    assert torch.equal(y[:, -6:], nn.functional.max_pool2d(x, 3, 2, padded))


def test_a_residual_block_adds_its_scaled_branches() -> None:
    row = {"op": "inception_residual", "scale": 0.25, "form": "factorised"}
    cell, x = module(row, 8), torch.randn(2, 8, 9, 9)
    inner = torch.cat([branch(x) for branch in cell.branches], 1)
    whole = x + 0.25 * cell.up(inner)
    assert torch.allclose(cell(x), whole.relu())
    assert (whole < 0).any()
    linear = module({**row, "end_act": False}, 8)
    assert torch.allclose(linear(x), whole)


def test_a_residual_block_projects_its_shortcut_to_other_channels() -> None:
    cell = module({"op": "inception_residual", "channels": 16}, 8)
    assert cell(torch.randn(1, 8, 9, 9)).shape == (1, 16, 9, 9)


def test_inner_widths_left_out_keep_the_published_proportions() -> None:
    # Szegedy et al. 2016, Figure 16: 32, 32, 32, 32, 48, 64 and back, at 320 channels
    row = {"op": "inception_residual"}
    assert widths_of(row, 320) == [32, 32, 32, 32, 48, 64, 320]
    assert widths_of(row, 160) == [16, 16, 16, 16, 24, 32, 160]


def test_the_default_of_inception_cells_is_googlenet_at_a_quarter_of_its_width() -> None:
    space: Any = load("inception_cells")
    architecture = fill(space, space.default())
    found = cost(architecture, classes=10, channels=3, size=32)
    shapes = {row.name: row.shape for row in found.rows}
    stages = [shapes[f"stage{n}"] for n in (3, 4, 5)]
    assert stages == [(64, 32, 32), (128, 16, 16), (256, 8, 8)]
    model = build(architecture, classes=10, channels=3, size=32)
    modules = [m for m in model.modules() if isinstance(m, Inception)]
    assert len(modules) == 2 + 5 + 2  # 3a-3b, 4a-4e, 5a-5b
    convs = [m for m in modules[-1].modules() if isinstance(m, nn.Conv2d)]
    assert [4 * conv.out_channels for conv in convs] == [4 * c for c in TABLE_1["inception3a"][1]]


def test_googlenet_as_published() -> None:
    # the figure of Caffe's release: 5x5 convolutions and biases, no norms
    assert shipped("googlenet_2014", 224)[1].params == 6_998_552

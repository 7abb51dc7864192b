"""What `build` makes of rows: names, defaults, added rows, initial weights."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from nas.models import build, cost
from nas.space import parse

HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]
KNOWN = {"classes": 10, "channels": 3, "size": 16}


def network(*rows: dict[str, Any], **sections: Any) -> Any:
    return parse(json.dumps({"name": "test", "network": list(rows), **sections}))


def children(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_children()]


def test_children_bear_the_rows_names_and_repetitions_their_numbers() -> None:
    model = build(
        network(
            {"name": "stem", "op": "conv", "channels": 8},
            {"name": "stage1", "op": "residual", "channels": "x2", "stride": 2, "repeat": 2},
            {"name": "stage2", "op": "residual", "channels": "x1", "repeat": 1},
            *HEAD,
        ),
        **KNOWN,
    )
    assert type(model) is nn.Sequential
    assert children(model) == ["stem", "stage1", "stage2", "global_pool", "linear"]
    names = set(model.state_dict())
    assert {"stem.conv.weight", "stem.norm.bias", "linear.linear.weight"} <= names
    assert {"stage1.0.shortcut.conv.weight", "stage1.1.conv2.norm.weight"} <= names
    assert "stage2.0.conv1.conv.weight" in names
    assert "stage1.1.shortcut.conv.weight" not in names


def test_unnamed_rows_take_their_operators_name_numbered_where_needed() -> None:
    rows = [{"op": "conv", "channels": 8}, {"op": "max_pool"}, {"op": "conv", "channels": 8}, *HEAD]
    named = ["conv_1", "max_pool", "conv_2", "global_pool", "linear"]
    assert children(build(network(*rows), **KNOWN)) == named
    assert [row.name for row in cost(network(*rows), **KNOWN).rows] == named


def test_the_stride_stands_on_the_first_repetition_and_channels_are_evaluated_once() -> None:
    row = {"name": "stage", "op": "conv", "channels": "x2", "stride": 2, "repeat": 3}
    first = {"op": "conv", "channels": 16}
    model = build(network(first, row, *HEAD), classes=10, channels=16, size=16)
    stage = model.get_submodule("stage")
    convs = [module for module in stage.modules() if isinstance(module, nn.Conv2d)]
    assert [c.stride[0] for c in convs] == [2, 1, 1]
    assert [(c.in_channels, c.out_channels) for c in convs] == [(16, 32), (32, 32), (32, 32)]


def test_file_defaults_hold_where_a_row_is_silent() -> None:
    norm = {"kind": "batch", "eps": 1e-3, "momentum": 0.01}
    model = build(
        network(
            {"name": "a", "op": "conv", "channels": 8},
            {"name": "b", "op": "conv", "channels": 8, "act": "relu", "norm": "none"},
            *HEAD,
            defaults={"norm": norm, "act": "silu"},
        ),
        **KNOWN,
    )
    a, b = model.get_submodule("a"), model.get_submodule("b")
    assert isinstance(a.act, nn.SiLU)
    assert isinstance(a.norm, nn.BatchNorm2d)
    assert (a.norm.eps, a.norm.momentum) == (1e-3, 0.01)
    assert isinstance(b.act, nn.ReLU)
    assert b.conv.bias is not None  # there is no norm to bring one
    assert a.conv.bias is None


def test_the_recipes_dropout_stands_before_the_classifier() -> None:
    rows = [{"op": "conv", "channels": 8}, *HEAD]
    model = build(network(*rows, recipe={"dropout": 0.3}), **KNOWN)
    assert children(model)[-2:] == ["dropout", "linear"]
    assert model.get_submodule("dropout.dropout").p == 0.3
    assert "dropout" not in children(build(network(*rows, recipe={"dropout": 0}), **KNOWN))


def test_a_network_may_end_in_a_convolution() -> None:
    # All-CNN (Springenberg et al. 2014) ends so
    rows = [{"op": "conv", "channels": 10, "kernel": 1, "norm": "none"}, {"op": "global_pool"}]
    model = build(network(*rows), **KNOWN)
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def test_the_size_may_come_from_the_file_and_another_fits_after_global_pooling() -> None:
    rows = [{"name": "stem", "op": "stem", "channels": 8}, *HEAD]
    architecture = network(*rows, input={"size": 128, "channels": 3, "classes": 10})
    model = build(architecture, classes=10, channels=3)
    assert model.get_submodule("stem").conv.conv.kernel_size == (7, 7)
    assert model(torch.randn(2, 3, 97, 65)).shape == (2, 10)
    small = build(architecture, classes=10, channels=3, size=32)
    assert small.get_submodule("stem").conv.conv.kernel_size == (3, 3)


def test_convolutions_start_he_normal_and_groups_count() -> None:
    torch.manual_seed(0)
    row = {"name": "c", "op": "conv", "channels": 256, "groups": 4}
    model = build(network(row, *HEAD), classes=10, channels=64, size=8)
    weight = model.get_submodule("c").conv.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 256 / 4)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("order", ["post", "pre"])
@pytest.mark.parametrize("op", ["residual", "bottleneck"])
def test_zero_init_starts_a_unit_as_the_identity(op: str, order: str) -> None:
    row = {"name": "u", "op": op, "channels": 8, "order": order, "zero_init": True}
    model = build(network({"name": "c", "op": "conv", "channels": 8}, row, *HEAD), **KNOWN).eval()
    x = model.get_submodule("c")(torch.randn(2, 3, 16, 16))  # not negative: relu changes nothing
    assert torch.equal(model.get_submodule("u")(x), x)


def test_tensorflows_same_padding_puts_the_odd_pixel_at_the_end() -> None:
    row = {"name": "c", "op": "conv", "channels": 1, "stride": 2, "padding": "same_tf",
           "norm": "none", "act": "none"}  # fmt: skip
    model = build(network(row, *HEAD), classes=10, channels=1, size=4)
    conv = model.get_submodule("c").conv
    nn.init.ones_(conv.weight)
    # 4 pixels, stride 2, kernel 3: one pixel of padding, at the bottom and on the right
    found = model.get_submodule("c")(torch.arange(16.0).view(1, 1, 4, 4))
    assert found.flatten().tolist() == [45.0, 39.0, 66.0, 50.0]


# ----------------------------------------------------------------------------- pre-activation
def pre(name: str, channels: Any = "x1", **more: Any) -> dict[str, Any]:
    return {"name": name, "op": "residual", "channels": channels, "order": "pre", **more}


def test_a_stack_of_pre_activation_units_is_closed_by_a_norm_and_an_activation() -> None:
    rows = [
        {"name": "stem", "op": "conv", "channels": 8},
        pre("a", repeat=2),
        pre("b", "x2"),
        *HEAD,
    ]
    model = build(network(*rows), **KNOWN)
    assert children(model) == ["stem", "a", "b", "b_end", "global_pool", "linear"]
    assert [row.name for row in cost(network(*rows), **KNOWN).rows] == children(model)


def test_pre_activation_is_the_papers_network() -> None:
    # He et al. 2016, appendix: one activation right after conv1, before the first unit splits;
    # every further unit opens with its own; an extra one after the last sum
    rows = [{"name": "stem", "op": "conv", "channels": 8}, pre("a", repeat=2), pre("b", 16), *HEAD]
    model = build(network(*rows), **KNOWN).eval()
    get = model.get_submodule
    x = torch.randn(2, 3, 16, 16)

    def norm_act(name: str, y: torch.Tensor) -> torch.Tensor:
        return torch.relu(get(name)(y))

    y = norm_act("stem.norm", get("stem.conv")(x))
    for name, opening in (("a.0", False), ("a.1", True), ("b", True)):
        start = norm_act(f"{name}.opening.norm", y) if opening else y
        inner = norm_act(f"{name}.conv1.norm", get(f"{name}.conv1.conv")(start))
        side = get("b.shortcut.conv")(start) if name == "b" else y
        y = side + get(f"{name}.conv2.conv")(inner)
    y = norm_act("b_end.norm", y)
    torch.testing.assert_close(model(x), get("linear.linear")(y.mean((2, 3))))


def test_each_stack_is_closed_where_orders_mix() -> None:
    post = {"name": "c", "op": "residual", "channels": "x1"}
    rows = [pre("a", 8), pre("b"), post, pre("d"), {"op": "dropout"}, *HEAD]
    model = build(network(*rows), **KNOWN)
    assert children(model)[:6] == ["a", "b", "b_end", "c", "d", "d_end"]
    # the image itself has not been through an activation; c's output has
    assert isinstance(model.get_submodule("a.opening.norm"), nn.BatchNorm2d)
    assert isinstance(model.get_submodule("d.opening"), nn.Identity)


def test_the_added_rows_name_gives_way_to_a_stated_one() -> None:
    rows = [pre("a", 8), {"name": "a_end", "op": "conv", "channels": 8}, *HEAD]
    assert children(build(network(*rows), **KNOWN))[:3] == ["a", "a_end_2", "a_end"]


def test_rows_within_rows_build_and_price() -> None:
    text = """
network:
  - {name: stem, op: conv, channels: 8}
  - name: stage
    repeat: 3
    rows:
      - {name: wide, op: conv, channels: x2, stride: 2}
      - name: mix
        branches:
          - [{op: pointwise, channels: 8}]
          - [{op: pointwise, channels: 4}, {op: conv, channels: 8}]
      - {op: max_pool, kernel: 2}
  - {op: global_pool}
  - {op: linear}
"""
    architecture = parse(text)
    model = build(architecture, classes=10, channels=3, size=32)
    price = cost(architecture, classes=10, channels=3, size=32)
    assert price.params == sum(p.numel() for p in model.parameters())
    # the convolution's stride and its x2 hold for the first repetition, the pool's for each
    assert [row.shape for row in price.rows][:2] == [(8, 32, 32), (16, 2, 2)]
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert "stage.2.mix.branches.1.conv.conv.weight" in model.state_dict()

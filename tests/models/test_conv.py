"""Convolutions: connection tables, separable and transposed ones, Network in Network's layer."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import torch
from torch import nn

from nas.errors import ShapeError
from nas.models import Cost, build, cost
from nas.models.connections import LENET5, ConnectedConv2d
from nas.space import parse

HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]
BARE = {"norm": "none", "act": "none"}


def network(*rows: dict[str, Any]) -> Any:
    return parse(json.dumps({"name": "test", "network": [*rows, *HEAD]}))


def price(*rows: dict[str, Any], channels: int, size: int) -> Cost:
    return cost(network(*rows), classes=10, channels=channels, size=size)


def made(row: dict[str, Any], *, channels: int, size: int) -> nn.Module:
    return cast(nn.Module, build(network(row), classes=10, channels=channels, size=size)[0])


def conv3(connections: Any = "lenet5", **more: Any) -> dict[str, Any]:
    return {"op": "conv", "channels": 16, "kernel": 5, "padding": "valid", **BARE,
            "connections": connections, **more}  # fmt: skip


# ---------------------------------------------------------------------------- connection tables
def test_lenets_table_gives_the_paper_s_parameters_and_connections() -> None:
    row = price(conv3(), channels=6, size=14).rows[0]
    assert row.params == 1_516
    assert row.macs + 16 * 100 == 151_600  # the paper counts the biases as connections
    assert row.shape == (16, 10, 10)


def test_lenets_table_is_the_paper_s() -> None:
    # Table I: every map of S2 feeds ten of C3; the last map takes all six
    assert [sum(k in taken for taken in LENET5) for k in range(6)] == [10] * 6
    assert [len(taken) for taken in LENET5] == [3] * 6 + [4] * 9 + [6]
    assert len(set(LENET5)) == 16


def test_a_connected_convolution_is_a_full_one_with_the_other_kernels_zero() -> None:
    torch.manual_seed(0)
    sparse = cast(ConnectedConv2d, made(conv3(), channels=6, size=14).conv)
    full = nn.Conv2d(6, 16, 5)
    with torch.no_grad():
        full.weight.zero_()
        full.bias.normal_()
        sparse.bias.copy_(full.bias)
        kernel = iter(sparse.weight[:, 0])
        for output, taken in enumerate(LENET5):
            for one in taken:
                full.weight[output, one] = next(kernel)
    x = torch.randn(2, 6, 14, 14)
    torch.testing.assert_close(sparse(x), full(x))


@pytest.mark.parametrize(
    ("connections", "text"),
    [
        ([[0]], "connections has 1 lists, but the row has 16 output channels"),
        ([[0, 6]] * 16, "has [0, 6] for output map 0: give different input maps, from 0 to 5"),
        ([[0]] * 15 + [[]], "has [] for output map 15"),
        ([[1, 1]] * 16, "has [1, 1] for output map 0"),
        ([["a"]] * 16, "has ['a'] for output map 0"),
        ([3] * 16, "has 3 for output map 0"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(connections: Any, text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        price(conv3(connections), channels=6, size=14)
    assert text in str(caught.value)


@pytest.mark.parametrize("more", [{"groups": 2}, {"padding": "same_tf"}])
def test_a_table_excludes_groups_and_padding_of_two_kinds(more: dict[str, Any]) -> None:
    with pytest.raises(ShapeError, match="go with connections"):
        price(conv3(**more), channels=6, size=14)


# ----------------------------------------------------------------------- compound convolutions
@pytest.mark.parametrize(("channels", "kernel"), [(32, 3), (64, 5), (256, 3)])
def test_a_separable_convolution_costs_1_over_channels_plus_1_over_kernel_squared(
    channels: int, kernel: int
) -> None:
    row = {"channels": channels, "kernel": kernel}
    apart = price({"op": "separable", **row}, channels=48, size=20).rows[0].macs
    plain = price({"op": "conv", **row}, channels=48, size=20).rows[0].macs
    assert apart / plain == pytest.approx(1 / channels + 1 / kernel**2, rel=1e-12)


@pytest.mark.parametrize(
    ("between", "order"),
    [
        ("norm_act", ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU"]),
        ("norm", ["Conv2d", "BatchNorm2d", "Conv2d", "BatchNorm2d", "ReLU"]),
        ("none", ["Conv2d", "Conv2d", "BatchNorm2d", "ReLU"]),
    ],
)
def test_what_stands_between_the_two_of_a_separable_convolution(
    between: str, order: list[str]
) -> None:
    row = {"op": "separable", "channels": 8, "between": between}
    kinds = [type(m).__name__ for m in made(row, channels=4, size=8).modules()]
    assert [kind for kind in kinds if kind in ("Conv2d", "BatchNorm2d", "ReLU")] == order


def test_without_norms_one_bias_is_enough_where_nothing_stands_between() -> None:
    row = {"op": "separable", "channels": 8, "norm": "none"}
    weights = 4 * 9 + 4 * 8
    with_act, without = (
        price({**row, "between": between}, channels=4, size=8).rows[0].params
        for between in ("norm_act", "none")
    )
    assert (with_act, without) == (weights + 4 + 8, weights + 8)


def test_network_in_networks_layer_has_the_widths_it_states() -> None:
    # the first layer for CIFAR-10: 5x5 to 192, then 160, then 96 maps
    row = {"op": "mlpconv", "channels": 96, "width": [192, 160], "kernel": 5, "norm": "none"}
    found = price(row, channels=3, size=32).rows[0]
    assert found.params == (75 * 192 + 192) + (192 * 160 + 160) + (160 * 96 + 96)
    assert found.receptive_field == (5, 5)
    same, one = (
        price({**row, "width": width}, channels=3, size=32).params for width in ([40, 40], 40)
    )
    assert same == one


def test_compound_scaling_widens_each_of_two_inner_widths() -> None:
    row = {"op": "mlpconv", "channels": 16, "width": [32, 24], "norm": "none"}
    text = {"name": "test", "scaling": {"width": 2}, "network": [row, *HEAD]}
    wide = build(parse(json.dumps(text)), classes=10, channels=3, size=8)[0]
    layers = [m for m in wide.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in layers] == [64, 48, 32]


# ------------------------------------------------------------------------ transposed convolution
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_transposed_convolution_multiplies_the_size_by_its_stride(
    kernel: int, stride: int
) -> None:
    row = {"op": "transposed_conv", "channels": 6, "kernel": kernel, "stride": stride}
    if stride == 1 and kernel % 2 == 0:
        with pytest.raises(ShapeError, match="take an odd one"):
            price(row, channels=4, size=7)
        return
    x = torch.randn(1, 4, 7, 7)
    assert made(row, channels=4, size=7)(x).shape == (1, 6, 7 * stride, 7 * stride)
    assert price(row, channels=4, size=7).rows[0].shape == (6, 7 * stride, 7 * stride)


def test_a_transposed_convolution_is_the_gradient_of_a_convolution() -> None:
    row = {"op": "transposed_conv", "channels": 3, "kernel": 4, "padding": 1, **BARE}
    up = cast(nn.ConvTranspose2d, made({**row, "bias": False}, channels=5, size=6).conv)
    image = torch.randn(1, 3, 12, 12, requires_grad=True)
    down = torch.conv2d(image, up.weight, stride=2, padding=1)  # (1, 5, 6, 6)
    seed = torch.randn_like(down)
    down.backward(seed)
    torch.testing.assert_close(up(seed), image.grad)


def test_padding_that_cuts_everything_away_is_refused() -> None:
    row = {"op": "transposed_conv", "channels": 3, "kernel": 3, "stride": 1, "padding": 2}
    with pytest.raises(ShapeError, match="cuts away all"):
        price(row, channels=3, size=2)
    assert price(row, channels=3, size=3).rows[0].shape == (3, 1, 1)

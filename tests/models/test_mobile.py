"""The cells of MobileNet, ShuffleNet, Xception and SqueezeNet, and their papers' figures."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.errors import ShapeError
from nas.models import build, cost
from nas.models.shuffle import shuffled
from nas.space import Architecture, Space, draw, fill, load, parse

from . import test_pricing
from .test_pricing import HEAD, conv, network


def cell(op: str, inputs: int = 8, size: int = 12, /, **settings: Any) -> Any:
    """One cell as a module, for images of that many channels and pixels."""
    rows = [{"name": "cell", "op": op, **settings}, *HEAD]
    return build(network(rows), classes=5, channels=inputs, size=size).get_submodule("cell")


def params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def zoo(name: str, **constants: object) -> Architecture:
    loaded = load(name, constants=constants)
    assert isinstance(loaded, Architecture)
    return loaded


# ------------------------------------------------------------------------------------ mbconv
def test_mbconv_is_three_convolutions_around_the_inner_width() -> None:
    # 1x1 up, 3x3 depthwise, 1x1 down, each with scale and shift of its norm
    wide = (16 * 96 + 192) + (9 * 96 + 192) + (96 * 24 + 48)
    assert params(cell("mbconv", 16, channels=24)) == wide
    assert params(cell("mbconv", 16, channels=24, width=96, expansion=2)) == wide
    # at expansion 1 nothing is expanded
    assert params(cell("mbconv", 16, channels=24, expansion=1)) == (9 * 16 + 32) + (16 * 24 + 48)
    assert params(cell("mbconv", 16, channels=24, width=16)) == (9 * 16 + 32) + (16 * 24 + 48)


def test_mbconv_ends_linear() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 8, 12, 12)
    assert cell("mbconv", channels=16)(x).min() < -0.5
    assert cell("mbconv", channels=8)(x).min() < -0.5


@pytest.mark.parametrize(
    ("settings", "adds"),
    [({"channels": 8}, True), ({"channels": 8, "stride": 2}, False), ({"channels": 16}, False)],
)
def test_mbconv_adds_its_input_where_channels_and_size_stay(
    settings: dict[str, Any], adds: bool
) -> None:
    module = cell("mbconv", **settings).eval()
    nn.init.zeros_(module.project.norm.weight)
    x = torch.randn(2, 8, 12, 12)
    assert module(x).abs().max() == (x.abs().max() if adds else 0)


def test_mbconv_squeezes_a_share_of_what_it_gates_or_of_its_input() -> None:
    gated = cell("mbconv", 16, channels=24, se=0.25)
    assert tuple(gated.se.reduce.weight.shape) == (24, 96, 1, 1)
    of_input = cell("mbconv", 16, channels=24, se={"ratio": 0.25, "of": "input"})
    assert tuple(of_input.se.reduce.weight.shape) == (4, 96, 1, 1)
    # MobileNetV3: a quarter of 72 is 18, which 16 would leave a tenth short of
    rounded = cell("mbconv", 16, channels=24, width=72, se={"ratio": 0.25, "round_to": 8})
    assert tuple(rounded.se.reduce.weight.shape) == (24, 72, 1, 1)


def test_mbconv_drops_its_branch_image_by_image_in_training_alone() -> None:
    module = cell("mbconv", channels=8, drop_path=0.5)  # the one unit: its rate is the whole
    x = torch.randn(64, 8, 12, 12)
    torch.manual_seed(0)
    untouched = (module.train()(x) == x).flatten(1).all(1)
    assert 15 < untouched.sum() < 49
    assert not (module.eval()(x) == x).flatten(1).all(1).any()
    wider = cell("mbconv", channels=16, drop_path=1.0)  # no shortcut: nothing would be left
    assert wider.train()(x).abs().max() > 0


# ---------------------------------------------------------------------------------- shuffling
def test_shuffling_deals_the_channels_out() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffled(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert shuffled(x, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert torch.equal(shuffled(shuffled(x, 2), 3), x)


def test_shuffle_units_mix_what_their_groups_would_keep_apart() -> None:
    module = cell("shuffle_unit", channels=16, groups=2, stride=2).eval()
    for p in module.parameters():
        p.data.abs_().add_(0.1)
    x = torch.rand(2, 8, 12, 12, requires_grad=True)
    module(x)[:, 8].sum().backward()  # the branch's first output channel
    assert x.grad is not None
    assert (x.grad.sum((0, 2, 3)) > 0).all()


def test_shuffle_units_concatenate_where_they_widen_and_add_where_they_do_not() -> None:
    x = torch.rand(2, 8, 12, 12)
    wider = cell("shuffle_unit", channels=24, stride=2).eval()(x)
    assert wider.shape == (2, 24, 6, 6)
    # the shortcut, averaged, comes first; what it holds is positive, so that ReLU leaves it
    assert torch.allclose(wider[:, :8], nn.functional.avg_pool2d(x, 3, 2, 1))
    same = cell("shuffle_unit", channels=8)
    nn.init.zeros_(same.expand.norm.weight)
    assert torch.equal(same.eval()(x), x)


def test_parameters_of_a_shuffle_unit() -> None:
    # bottleneck 240 / 4 = 60, its grouped convolutions a third of the plain ones
    found = params(cell("shuffle_unit", 240, channels=240, groups=3))
    assert found == (240 * 60 // 3 + 120) + (9 * 60 + 120) + (60 * 240 // 3 + 480)
    first = cell("shuffle_unit", 24, channels=240, groups=3, first_groups=1, stride=2)
    assert params(first) == (24 * 60 + 120) + (9 * 60 + 120) + (60 * 216 // 3 + 432)


def test_shuffle_unit_v2_passes_one_half_and_deals_both_out() -> None:
    x = torch.rand(2, 8, 12, 12)
    y = cell("shuffle_unit_v2", channels=8).eval()(x)
    assert torch.equal(y[:, ::2], x[:, :4])
    assert params(cell("shuffle_unit_v2", channels=8)) == 2 * (16 + 8) + (36 + 8)
    halved = cell("shuffle_unit_v2", channels=24, stride=2)
    assert halved(x).shape == (2, 24, 6, 6)
    other, branch = (72 + 16) + (96 + 24), (96 + 24) + (108 + 24) + (144 + 24)
    assert params(halved) == other + branch


@pytest.mark.parametrize(
    ("groups", "channels", "millions"),
    # Zhang et al. 2017, Table 1: the convolutions alone, without the classifier
    [(1, 144, 143), (2, 200, 140), (3, 240, 137), (4, 272, 133), (8, 384, 137)],
)
def test_multiply_adds_of_shufflenet_by_its_groups(
    groups: int, channels: int, millions: int
) -> None:
    unit = {"op": "shuffle_unit", "groups": groups}
    rows = [
        conv(24, stride=2),
        {"op": "max_pool", "kernel": 3, "stride": 2, "padding": "same"},
        {"name": "first", "channels": channels, "stride": 2, "first_groups": 1, **unit},
        {"name": "stage2", "channels": channels, "repeat": 3, **unit},
        {"name": "stage3", "channels": 2 * channels, "stride": 2, "repeat": 8, **unit},
        {"name": "stage4", "channels": 4 * channels, "stride": 2, "repeat": 4, **unit},
        *HEAD,
    ]
    found = cost(network(rows), classes=1000, channels=3, size=224)
    assert round((found.macs - found.rows[-1].macs) / 1e6) == millions
    if groups == 3:
        assert found.macs == cost(zoo("shufflenet_v1_g3"), classes=1000, channels=3).macs


# --------------------------------------------------------------------------- xception and fire
def test_an_xception_block_has_separable_convolutions_and_a_projection() -> None:
    module = cell("xception_block", 8, channels=16, stride=2)
    first, second = 9 * 8 + 8 * 16 + 32, 9 * 16 + 16 * 16 + 32
    assert params(module) == first + second + (8 * 16 + 32)
    assert module(torch.randn(2, 8, 12, 12)).shape == (2, 16, 6, 6)
    late = cell("xception_block", 8, channels=16, stride=2, grow_first=False)
    assert params(late) == (9 * 8 + 8 * 8 + 16) + first + (8 * 16 + 32)
    middle = cell("xception_block", 8, channels=8, layers=3)
    assert params(middle) == 3 * (9 * 8 + 8 * 8 + 16)


def test_an_xception_block_opens_with_an_activation_or_not() -> None:
    x = -torch.rand(2, 8, 12, 12)  # of which ReLU leaves nothing
    opens = cell("xception_block", channels=8, layers=1).eval()
    assert torch.equal(opens(x), x)
    assert not torch.equal(cell("xception_block", channels=8, start_with_relu=False).eval()(x), x)


def test_parameters_of_squeezenets_second_fire_module() -> None:
    # Iandola et al. 2016, Table 1
    assert params(cell("fire", 96, channels=128, norm="none")) == 11_920
    assert params(cell("fire", 96, channels=128, width=16, norm="none")) == 11_920


def test_a_fire_module_concatenates_its_1x1_and_its_3x3() -> None:
    module = cell("fire", channels=16, share=0.25)
    assert [c.conv.weight.shape[0] for c in (module.expand1, module.expand3)] == [12, 4]
    x = torch.rand(2, 8, 12, 12)
    y = module.eval()(x)
    assert torch.equal(y[:, :12], module.expand1(module.squeeze(x)))


# ------------------------------------------------------------------------------------- faults
@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"op": "mbconv", "channels": 8, "kernel": 4}, "kernel 4 would change the size"),
        ({"op": "shuffle_unit", "channels": 4, "groups": 1}, "channels 4 are fewer than its"),
        ({"op": "shuffle_unit", "channels": 16, "groups": 3}, "groups 3 must divide its 8 input"),
        (
            {"op": "shuffle_unit", "channels": 16, "groups": 3, "first_groups": 1},
            "groups 3 must divide the 4 channels that it shuffles",
        ),
        ({"op": "shuffle_unit_v2", "channels": 9}, "channels 9 must be even"),
        ({"op": "xception_block", "channels": 8, "kernel": 2}, "kernel 2 would change the size"),
        ({"op": "fire", "channels": 3}, "3 channels with ratio 0.125 and share 0.5 make 0"),
    ],
)
def test_faults_name_the_row_and_its_numbers(row: dict[str, Any], said: str) -> None:
    with pytest.raises(ShapeError, match=said) as caught:
        cost(network([{"name": "cell", **row}, *HEAD]), classes=5, channels=8, size=12)
    assert "row 'cell'" in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        {"op": "mbconv", "channels": 16, "repeat": 3, "se": 0.25},
        {"op": "mbconv", "channels": 24, "stride": 2, "act": "silu", "norm": "none"},
        {"op": "shuffle_unit", "channels": 16, "repeat": 3, "groups": 2},
        {"op": "shuffle_unit", "channels": 32, "stride": 2, "act": "silu"},
        {"op": "shuffle_unit_v2", "channels": 16, "repeat": 3},
        {"op": "shuffle_unit_v2", "channels": 32, "stride": 2, "se": 0.25},
        {"op": "xception_block", "channels": 32, "stride": 2},
        {"op": "xception_block", "channels": 16, "layers": 3, "repeat": 2, "se": 0.25},
        {"op": "fire", "channels": 32, "repeat": 2},
        {"op": "fire", "channels": 32, "norm": "none", "act": "silu"},
        {"op": "shuffle_unit_v2", "channels": 16, "repeat": 3, "act": "silu"},
    ],
)
def test_memory_is_what_torch_keeps(row: dict[str, Any]) -> None:
    # another convolution, for what a cell ends with is kept where something needs it
    rows = [conv(16), {"name": "cell", **row}, {"name": "last", **conv(8, 1)}, *HEAD]
    test_pricing.test_memory_is_what_torch_keeps_for_the_backward_pass(rows)


# --------------------------------------------------------------------------- whole networks
def shares(model: nn.Module, size: int) -> dict[str, tuple[int, int]]:
    """Weights and multiply-adds of each kind of layer of a built network, without biases."""
    found: dict[str, tuple[int, int]] = {}

    def count(module: nn.Module, _: Any, y: Tensor) -> None:
        kind = "linear"
        if isinstance(module, nn.Conv2d):
            side = module.kernel_size[0]
            kind = "depthwise" if module.groups > 1 else f"{side}x{side}"
        weights = module.weight
        assert isinstance(weights, Tensor)
        pixels = y.shape[2] * y.shape[3] if y.dim() == 4 else 1
        before = found.get(kind, (0, 0))
        found[kind] = before[0] + weights.numel(), before[1] + weights.numel() * pixels

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return found


def test_table_2_of_mobilenet() -> None:
    # Howard et al. 2017, Tables 1, 2 and 8
    known = {"classes": 1000, "channels": 3, "size": 224}
    price = cost(zoo("mobilenet_v1"), **known)
    assert round(price.params / 1e6, 1) == 4.2
    assert round(price.macs / 1e6) == 569
    with torch.device("meta"):
        found = shares(build(zoo("mobilenet_v1"), **known), 224)
    weights, macs = (sum(pair[k] for pair in found.values()) for k in (0, 1))
    percent = {
        kind: (round(100 * pair[1] / macs, 2), round(100 * pair[0] / weights, 2))
        for kind, pair in found.items()
    }
    assert percent == {
        "1x1": (94.86, 74.59),
        "depthwise": (3.06, 1.06),
        "3x3": (1.91, 0.02),  # printed as 1.19
        "linear": (0.18, 24.33),
    }


@pytest.mark.parametrize(
    ("name", "millions"),
    # Sandler et al. 2018, Table 4; Chollet 2016, Table 3; Tan et al. 2018, Table 1 (A1)
    [("mobilenet_v2", (3.5, 301)), ("xception", (22.9, 8357)), ("semnasnet_100", (3.9, 312))],
)
def test_figures_of_the_papers(name: str, millions: tuple[float, int]) -> None:
    found = cost(zoo(name), classes=1000, channels=3)
    assert (round(found.params / 1e6, 1), round(found.macs / 1e6)) == millions


# ------------------------------------------------------------------------------ EfficientNet
B = {  # (width, depth, resolution) as published, and the parameters that come of them
    0: (1.0, 1.0, 224, 5_288_548), 1: (1.0, 1.1, 240, 7_794_184), 2: (1.1, 1.2, 260, 9_109_994),
    3: (1.2, 1.4, 300, 12_233_232), 4: (1.4, 1.8, 380, 19_341_616),
    5: (1.6, 2.2, 456, 30_389_784), 6: (1.8, 2.6, 528, 43_040_704), 7: (2.0, 3.1, 600, 66_347_960),
}  # fmt: skip


@pytest.mark.parametrize("number", B)
def test_the_published_factors_make_each_efficientnet_of_b0(number: int) -> None:
    width, depth, resolution, expected = B[number]
    scaling = {"width": width, "depth": depth, "resolution": resolution}
    made = zoo("efficientnet_b0", **{f"scaling.{key}": value for key, value in scaling.items()})
    found = cost(made, classes=1000, channels=3)
    assert found.params == expected
    assert found.rows[0].shape[1] == -(-resolution // 2)  # the stem halves the image
    shipped = zoo(f"efficientnet_b{number}")
    if number:
        assert shipped.scaling == scaling
        assert shipped.network == zoo("efficientnet_b0").network
    assert cost(shipped, classes=1000, channels=3).macs == found.macs


@pytest.mark.parametrize(("phi", "number"), [(1, 2), (2, 3)])
def test_phi_makes_the_published_networks_of_b0(phi: int, number: int) -> None:
    paper = {"phi": phi, "alpha": 1.2, "beta": 1.1, "gamma": 1.15}
    made = zoo("efficientnet_b0", **{f"scaling.{key}": value for key, value in paper.items()})
    assert cost(made, classes=1000, channels=3).params == B[number][3]


def test_b5_to_b7_have_tensorflows_norm() -> None:
    for number in B:
        with torch.device("meta"):
            model = build(zoo(f"efficientnet_b{number}"), classes=10, channels=3, size=64)
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        expected = (1e-3, 0.01) if number >= 5 else (1e-5, 0.1)
        assert {(m.eps, m.momentum) for m in norms} == {expected}


def test_drop_path_grows_towards_the_end_of_efficientnet() -> None:
    model = build(zoo("efficientnet_b0"), classes=10, channels=3, size=64)
    rates = [m.rate for m in model.modules() if hasattr(m, "rate") and hasattr(m, "training")]
    assert rates == sorted(rates)
    assert max(rates) <= 0.2
    assert len(rates) == 9  # of 16 units those with a shortcut


# ------------------------------------------------------------------------------------- spaces
def test_one_draw_in_six_of_efficientnet_keeps_its_growth() -> None:
    space, rng = load("efficientnet"), random.Random(0)
    assert isinstance(space, Space)
    kept = 0
    for _ in range(500):
        drawn = fill(space, draw(space, rng))
        alpha, beta, gamma = (drawn.scaling[key] for key in ("alpha", "beta", "gamma"))
        fits = abs(alpha * beta**2 * gamma**2 - 2) <= 0.1
        kept += fits
        if not fits:
            with pytest.raises(ShapeError, match="of growth 2: "):
                cost(drawn, classes=10, channels=3, size=32)
    assert kept > 500 / 6


@pytest.mark.parametrize(
    ("name", "documented"),
    [
        ("depthwise_cells", "mobilenet_v1"),
        ("mobile_macro", "semnasnet_100"),
        ("efficientnet", "efficientnet_b2"),
    ],
)
def test_defaults_of_the_spaces_are_documented_networks(name: str, documented: str) -> None:
    # the layers of the network, its strides in other places
    space = load(name)
    assert isinstance(space, Space)
    found = cost(fill(space, space.default()), classes=10, channels=3, size=32)
    original = cost(zoo(documented), classes=10, channels=3)
    assert found.params == original.params


# ----------------------------------------------------------------------------------- scaling
def scaled(**scaling: Any) -> Any:
    rows = [conv(8, stride=2), *HEAD]
    text = {"name": "t", "input": {"size": 32}, "network": rows, "scaling": scaling}
    return parse(json.dumps(text, indent=1), path="t.yaml")


def test_scaling_under_one_pixel_is_an_error() -> None:
    with pytest.raises(
        ShapeError, match=r"t\.yaml:\d+: scaling: gamma 0\.1 \*\* phi 2 .*32 pixels"
    ):
        cost(scaled(phi=2, gamma=0.1), classes=10, channels=3)
    assert cost(scaled(phi=1, gamma=0.1), classes=10, channels=3).rows[0].shape[1] == 2


def test_growth_bounds_the_product_of_the_coefficients() -> None:
    paper = {"phi": 1, "alpha": 1.2, "beta": 1.1, "gamma": 1.15, "growth": 2}
    known = {"classes": 10, "channels": 3, "size": 32}
    assert cost(scaled(**paper), **known).params > 0
    for gamma, said in ((1.0, "is 1.452, .* raise"), (1.3, "is 2.454, .* lower")):
        with pytest.raises(ShapeError, match=said):
            cost(scaled(**{**paper, "gamma": gamma}), **known)
        with pytest.raises(ShapeError, match=said):
            build(scaled(**{**paper, "gamma": gamma}), **known)

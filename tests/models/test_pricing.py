"""Arithmetic against figures that others published, and against what torch keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from nas.models import Cost, build, cost
from nas.models.pricing import optimizer_values
from nas.registry import RECIPE
from nas.space import parse

HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]


def network(rows: list[dict[str, Any]], **sections: Any) -> Any:
    return parse(json.dumps({"name": "test", "network": rows, **sections}))


def price(rows: list[dict[str, Any]], size: Any, channels: int = 3, classes: int = 1000) -> Cost:
    return cost(network(rows), classes=classes, channels=channels, size=size)


def conv(channels: int, kernel: Any = 3, **more: Any) -> dict[str, Any]:
    return {"op": "conv", "channels": channels, "kernel": kernel, **more}


# ------------------------------------------------------------------------------ single layers
def test_multiplications_of_a_5x5_convolution_and_of_its_reduced_form() -> None:
    # Szegedy et al. 2014, the inception module's arithmetic
    plain = price([conv(32, 5), *HEAD], 28, 192).rows[0]
    assert plain.macs == 120_422_400
    rows = price([conv(16, 1), conv(32, 5), *HEAD], 28, 192).rows
    assert rows[0].macs + rows[1].macs == 12_443_648


def test_multiplications_of_a_depthwise_separable_convolution() -> None:
    valid = {"padding": "valid", "norm": "none", "bias": False}
    assert price([conv(5, 3, **valid), *HEAD], 6).rows[0].macs == 2160
    rows = price([{"op": "depthwise", **valid}, {"op": "pointwise", "channels": 5}, *HEAD], 6).rows
    assert rows[0].macs + rows[1].macs == 672
    assert rows[1].shape == (5, 4, 4)


def test_three_3x3_convolutions_see_what_one_7x7_sees_for_27_against_49_weights() -> None:
    bare = {"norm": "none", "bias": False}
    stacked, single = (
        price([{**conv(64, kernel, **bare), "repeat": repeat}, *HEAD], 32, 64).rows[0]
        for kernel, repeat in ((3, 3), (7, 1))
    )
    assert stacked.receptive_field == single.receptive_field == (7, 7)
    assert (stacked.params, single.params) == (27 * 64**2, 49 * 64**2)


def test_activations_of_three_convolutions_at_224_pixels() -> None:
    rows = [conv(64) for _ in range(3)]
    assert price([*rows, *HEAD], 224).activations == 9_633_792


def test_receptive_fields_and_jumps_line_by_line() -> None:
    # two 3x3, a halving, two 3x3, a halving, two 3x3 ... of a CIFAR-100 network
    rows = [conv(32), conv(32), conv(32, stride=2), conv(128), conv(128), conv(128, stride=2)]
    found = [(r.receptive_field[0], r.jump[0]) for r in price([*rows, *HEAD], 32).rows[:6]]
    assert found == [(3, 1), (5, 1), (7, 2), (11, 2), (15, 2), (19, 4)]


def test_uneven_kernels_and_strides_are_counted_by_side() -> None:
    row = price([conv(8, [1, 7], stride=[1, 2]), *HEAD], (20, 30)).rows[0]
    assert (row.shape, row.receptive_field, row.jump) == ((8, 20, 15), (1, 7), (1, 2))


@pytest.mark.parametrize(
    ("settings", "side"),
    [({"kernel": 1, "padding": 1}, 14), ({"kernel": 3, "padding": 0}, 10), ({"kernel": 4}, 11),
     ({"kernel": 5, "padding": "valid", "dilation": 2}, 4), ({"kernel": 2, "stride": 5}, 3),
     ({"kernel": 4, "stride": 5, "padding": "same_tf"}, 3), ({"kernel": [1, 3]}, 12),
     ({"op": "max_pool", "kernel": 3, "stride": 2, "ceil": True}, 6),
     ({"op": "max_pool", "kernel": 2, "stride": 5, "padding": 1, "ceil": True}, 3),
     ({"op": "avg_pool", "kernel": 3, "stride": 2, "padding": "same"}, 6)],
)  # fmt: skip
def test_sizes_are_torchs(settings: dict[str, Any], side: int) -> None:
    row = {"op": "conv", "channels": 4, **settings}
    if row["op"] != "conv":
        del row["channels"]
    found = price([row, *HEAD], 12, 4).rows[0]
    module = build(network([row, *HEAD]), classes=10, channels=4, size=12)[0]
    assert found.shape == tuple(module(torch.randn(2, 4, 12, 12)).shape[1:]) == (4, side, side)


# --------------------------------------------------------------------------- whole networks
def vgg(*plan: int | str) -> list[dict[str, Any]]:
    rows = [
        {"op": "max_pool"} if width == "M" else conv(width, norm="none")  # type: ignore[arg-type]
        for width in plan
    ]
    dense = [{"op": "linear", "channels": 4096}, {"op": "activation"}]
    return [*rows, {"op": "flatten"}, *dense, *dense, {"op": "linear"}]


def resnet(op: str, repeats: list[int], widths: list[int], **more: Any) -> list[dict[str, Any]]:
    stages = [
        {"name": f"stage{n}", "op": op, "channels": c, "repeat": r, "stride": 1 + (n > 1), **more}
        for n, (r, c) in enumerate(zip(repeats, widths, strict=True), start=1)
    ]
    stem = {"op": "stem", "kind": "imagenet", "channels": 64}
    return [stem, *stages, *HEAD]


BASIC, WIDE = [64, 128, 256, 512], [256, 512, 1024, 2048]


def wider(repeats: list[int], **more: Any) -> list[dict[str, Any]]:
    rows = resnet("bottleneck", repeats, WIDE, **more)
    for row, width in zip(rows[1:5], (128, 256, 512, 1024), strict=True):
        row["width"] = width
    return rows


M = "M"
PUBLISHED = {
    # name: (rows, parameters, multiply-adds, convolutions' outputs) at 224 pixels, 1000 classes,
    # as torchvision 0.24 and timm 1.0 build them
    "vgg16": (
        vgg(64, 64, M, 128, 128, M, 256, 256, 256, M, 512, 512, 512, M, 512, 512, 512, M),
        (138_357_544, 15_470_264_320, 13_547_520),
    ),
    "resnet18": (resnet("residual", [2, 2, 2, 2], BASIC), (11_689_512, 1_814_073_344, 2_483_712)),
    "resnet34": (resnet("residual", [3, 4, 6, 3], BASIC), (21_797_672, 3_663_761_408, 3_738_112)),
    "seresnet18": (
        resnet("residual", [2, 2, 2, 2], BASIC, se={"ratio": 0.0625, "round_to": 8}),
        (11_779_624, 1_814_161_408, 2_485_760),
    ),
    "resnet50": (
        resnet("bottleneck", [3, 4, 6, 3], WIDE),
        (25_557_032, 4_089_184_256, 11_113_984),
    ),
    "resnet101": (
        resnet("bottleneck", [3, 4, 23, 3], WIDE),
        (44_549_160, 7_801_405_440, 16_231_936),
    ),
    "resnext50_32x4d": (
        wider([3, 4, 6, 3], groups=32),
        (25_028_904, 4_230_479_872, 14_400_512),
    ),
    "wide_resnet50_2": (wider([3, 4, 6, 3]), (68_883_240, 11_398_021_120, 14_400_512)),
    "seresnet50": (
        resnet("bottleneck", [3, 4, 6, 3], WIDE, se=0.0625),
        (28_088_024, 4_091_699_200, 11_130_032),
    ),
    # the 1,000 outputs of timm's head, a convolution, are not among ours
    "resnetv2_50": (
        resnet("bottleneck", [3, 4, 6, 3], WIDE, order="pre"),
        (25_549_352, 4_089_184_256, 11_113_984),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_to_the_last_digit(name: str) -> None:
    rows, expected = PUBLISHED[name]
    found = price(rows, 224)
    assert (found.params, found.macs, found.activations) == expected


def test_resnet20_for_small_images() -> None:
    # He et al. 2015, Table 6: 0.27 M with padded shortcuts (269,722); projected ones add 2,752
    stages = [{"op": "residual", "channels": c, "repeat": 3, "stride": s}
              for c, s in ((16, 1), (32, 2), (64, 2))]  # fmt: skip
    found = price([conv(16), *stages, *HEAD], 32, classes=10)
    assert found.params == 269_722 + 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


# ------------------------------------------------------------------------------------ memory
@pytest.mark.parametrize(
    "rows",
    [
        [conv(16, act="silu"), {"op": "max_pool"}, conv(32), *HEAD],
        [conv(16), {"op": "residual", "channels": 32, "stride": 2, "repeat": 2}, *HEAD],
        [conv(16), {"op": "bottleneck", "channels": 32, "repeat": 3, "se": 0.25}, *HEAD],
        [conv(16), {"op": "residual", "channels": 32, "repeat": 3, "order": "pre"}, *HEAD],
        [
            conv(16),
            *(
                {"name": order, "op": "residual", "channels": 16, "repeat": 3, "order": order}
                for order in ("bn_after_add", "relu_before_add", "relu_only_pre")
            ),
            *HEAD,
        ],
        [
            conv(16),
            {"op": "bottleneck", "channels": 32, "repeat": 3, "drop_path": 0.5, "shortcut": "pad"},
            {"op": "residual", "channels": 32, "repeat": 3, "dropout": 0.5},
            *HEAD,
        ],
        [conv(16), {"op": "highway", "repeat": 3}, {"op": "maxout"}, conv(16), *HEAD],
        [conv(16, norm="none", act="tanh"), {"op": "avg_pool"}, conv(16, act="sigmoid"), *HEAD],
        [conv(16, norm="none"), {"op": "lrn"}, conv(16, norm="lrn"), *HEAD],
        [
            conv(6, 5, norm="none", act="scaled_tanh"),
            {"op": "subsample"},
            conv(16, 5, norm="none", act="tanh", connections="lenet5"),
            {"op": "adaptive_pool", "size": 4, "kind": "max"},
            {"op": "flatten"},
            {"op": "rbf"},
        ],
        [
            {"op": "separable", "channels": 16, "between": "none"},
            {"op": "fractional_max_pool"},
            {"op": "mlpconv", "channels": 16},
            {"op": "max_pool", "kernel": 2, "stride": 1, "padding": "same"},
            {"op": "transposed_conv", "channels": 8},
            *HEAD,
        ],
        [
            conv(16),
            {"op": "inception", "channels": 32, "repeat": 2},
            {"op": "aux_head"},
            conv(8, 1),
            *HEAD,
        ],
        [conv(16), {"op": "inception", "channels": 32, "form": "expanded"}, conv(8, 1), *HEAD],
        [
            conv(16),
            {"op": "inception_reduction", "channels": 32},
            {"op": "inception_residual", "repeat": 2},
            *HEAD,
        ],
        [
            conv(16),
            {"name": "a", "op": "dense_block", "layers": 5, "growth": 8},
            {"op": "transition"},
            {"name": "b", "op": "dense_block", "layers": 1, "growth": 8, "bottleneck": 0},
            {"op": "norm_act"},
            *HEAD,
        ],
        [
            conv(16),
            {"op": "dropout"},
            {"op": "depthwise", "norm": "none", "act": "silu"},
            {"op": "norm_act"},
            conv(8, 1, order="pre"),
            {"op": "flatten"},
            {"op": "linear"},
        ],
    ],
)
def test_memory_is_what_torch_keeps_for_the_backward_pass(rows: list[dict[str, Any]]) -> None:
    architecture, batch, side = network(rows), 4, 24
    known = {"classes": 10, "channels": 3, "size": side}
    model = build(architecture, **known)
    found = cost(architecture, **known, batch=batch)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x = torch.randn(batch, 3, side, side)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(x).sum()
    measured = sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in own)
    assert loss.requires_grad
    predicted = batch * (sum(row.memory for row in found.rows) + 4 * 3 * side * side)
    assert predicted == pytest.approx(measured, rel=0.1)


def test_memory_grows_with_the_batch_and_with_the_optimizer() -> None:
    rows = [conv(16), *HEAD]
    known = {"classes": 10, "channels": 3, "size": 8}
    sgd, plain, adamw = (
        cost(network(rows, recipe=recipe), **known)
        for recipe in ({}, {"momentum": 0}, {"optimizer": "adamw"})
    )
    assert sgd.memory - plain.memory == adamw.memory - sgd.memory == 4 * sgd.params
    one, two, three = (cost(network(rows), **known, batch=n).memory for n in (1, 2, 3))
    assert three - two == two - one > 0


def test_the_optimizer_assumed_for_a_silent_recipe_is_the_recipes_default() -> None:
    stated = {key: RECIPE.get(key).default for key in ("optimizer", "momentum")}
    assert optimizer_values({}) == optimizer_values(stated)


def test_rows_add_up_to_the_totals() -> None:
    found = price(PUBLISHED["seresnet50"][0], 224)
    for total in ("params", "macs", "activations"):
        assert getattr(found, total) == sum(getattr(row, total) for row in found.rows)

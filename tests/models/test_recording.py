"""A network layer by layer: the lectures' tables, shares, depth; and that it prices as `cost`."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from typing import Any

import pytest

from nas.models import Record, build, cost, record
from nas.models.operators import OPERATORS
from nas.space import Space, draw, fill, load, parse

from .test_pricing import BASIC, HEAD, PUBLISHED, WIDE, conv, network, resnet, wider

IMAGENET = {"classes": 1000, "channels": 3, "size": 224}
SMALL = {"classes": 10, "channels": 3, "size": 32}


def recorded(rows: list[dict[str, Any]], **of: Any) -> Record:
    return record(network(rows), **{**IMAGENET, **of})


# ------------------------------------------------------------------------------ beside `cost`
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_price_is_that_of_cost_and_the_layers_add_up_to_it(name: str) -> None:
    loaded = network(PUBLISHED[name][0])
    found = record(loaded, **IMAGENET, batch=32)
    assert found.price == cost(loaded, **IMAGENET, batch=32)
    for total in ("params", "macs", "activations"):
        assert getattr(found.price, total) == sum(getattr(layer, total) for layer in found.layers)


@pytest.mark.parametrize("seed", range(10))
def test_random_networks_price_the_same(seed: int) -> None:
    space = load("resnet_cells")
    assert isinstance(space, Space)
    loaded = fill(space, draw(space, random.Random(seed)))
    found = record(loaded, **SMALL)
    assert found.price == cost(loaded, **SMALL)
    assert found.price.params == sum(layer.params for layer in found.layers)
    names = [layer.name for layer in found.layers]
    assert len(set(names)) == len(names)
    memory = cost(loaded, **SMALL, batch=7).memory
    assert memory == 7 * found.by_image + found.by_weight


# -------------------------------------------------------------------------- the lectures' table
VGG16_WEIGHTS = [
    1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824, 1_179_648, 2_359_296, 2_359_296,
    2_359_296, 2_359_296, 2_359_296, 102_760_448, 16_777_216, 4_096_000,
]  # fmt: skip


def test_vgg16_line_by_line() -> None:
    found = recorded(PUBLISHED["vgg16"][0])
    assert [layer.weights for layer in found.layers if layer.weights] == VGG16_WEIGHTS
    assert found.weight_layers == 16
    shapes = [layer.shape for layer in found.layers if layer.kind in ("pool2x2", "linear")]
    assert shapes == [
        (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7),
        (4096, 1, 1), (4096, 1, 1), (1000, 1, 1),
    ]  # fmt: skip
    # the printed lines (the image, convolutions, pools, linear layers): about 15 M values
    lines = [layer for layer in found.layers if layer.kind in ("conv3x3", "pool2x2", "linear")]
    assert 3 * 224 * 224 + sum(math.prod(line.shape) for line in lines) == 15_237_608
    assert max(found.layers, key=lambda layer: layer.params).name == "linear_1"


def test_what_a_row_puts_out_counts_every_repetition() -> None:
    found = recorded([{**conv(64), "repeat": 3}, *HEAD])
    assert found.outputs == (3 * 64 * 224 * 224, 64, 1000)


# --------------------------------------------------------------------- depth in weight layers
@pytest.mark.parametrize(
    ("rows", "depth"),
    [
        (resnet("bottleneck", [3, 4, 6, 3], WIDE), 50),
        (resnet("bottleneck", [3, 4, 23, 3], WIDE), 101),
        (resnet("bottleneck", [3, 4, 6, 3], WIDE, order="pre", se=0.0625), 50),
        (resnet("residual", [3, 4, 6, 3], BASIC), 34),
        (wider([3, 4, 6, 3], groups=32), 50),
        ([{"op": "depthwise"}, {"op": "pointwise", "channels": 8}, *HEAD], 3),
    ],
)
def test_depth_leaves_out_projections_and_gates(rows: list[dict[str, Any]], depth: int) -> None:
    assert recorded(rows).weight_layers == depth


@pytest.mark.parametrize("how", ["concat", "add"])
def test_depth_follows_the_longest_branch(how: str) -> None:
    # an inception module: 1x1, 1x1 -> 3x3, 1x1 -> 3x3 -> 3x3, pool -> 1x1 (Szegedy et al. 2014)
    module = [
        [conv(8, 1)],
        [conv(8, 1), conv(8), conv(8)],
        [conv(8, 1), conv(8)],
        [{"op": "max_pool", "kernel": 3, "stride": 1, "padding": "same"}, conv(8, 1)],
    ]
    rows = [conv(8), {"name": "mix", "branches": module, "join": how, "repeat": 2}, *HEAD]
    found = recorded(rows)
    assert found.weight_layers == 1 + 2 * 3 + 1
    assert found.price == cost(network(rows), **IMAGENET)


# ------------------------------------------------------------------------------------- shares
def mobilenet() -> list[dict[str, Any]]:
    """MobileNet v1 (Howard et al. 2017, Table 1): channels and stride of each separable pair."""
    pairs = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5,
             (1024, 2), (1024, 1)]  # fmt: skip
    rows = [conv(32, stride=2)]
    for channels, stride in pairs:
        rows += [{"op": "depthwise", "stride": stride}, {"op": "pointwise", "channels": channels}]
    return [*rows, *HEAD]


def test_share_of_each_kind_of_layer_is_mobilenets_table_2() -> None:
    found = recorded(mobilenet())
    percent = {
        kind: tuple(round(100 * of[key], 2) for key in ("macs", "params"))
        for kind, of in found.share().items()
    }
    assert list(percent) == ["conv1x1", "dw3x3", "conv3x3", "linear"]  # most macs first
    # printed 94.86, 3.06, 1.19 (digits swapped), 0.18 and 74.59, 1.06, 0.02, 24.33
    for kind, macs, params in (("conv1x1", 94.86, 74.59), ("dw3x3", 3.06, 1.06),
                               ("conv3x3", 1.91, 0.02), ("linear", 0.18, 24.33)):  # fmt: skip
        assert percent[kind] == pytest.approx((macs, params), abs=0.015)
    assert found.weight_layers == 28  # "counting depthwise and pointwise as separate layers"
    assert found.price.macs == pytest.approx(569e6, rel=1e-3)


def test_shares_add_up_and_leave_biases_and_norms_out() -> None:
    share = recorded([conv(8, [1, 7]), conv(8, norm="none"), *HEAD], classes=10).share()
    assert set(share) == {"conv1x7", "conv3x3", "linear"}
    for key in ("params", "macs"):
        assert sum(of[key] for of in share.values()) == pytest.approx(1)
    assert share["linear"]["params"] == 80 / (3 * 8 * 7 + 8 * 8 * 9 + 80)


# ------------------------------------------------------------------------------------- layers
def test_names_of_layers() -> None:
    rows = [
        {"name": "stem", "op": "stem", "kind": "imagenet", "channels": 16},
        {"name": "unit", "op": "residual", "channels": 32, "repeat": 2, "se": 0.25},
        {"name": "mix", "branches": [[conv(8, 1, norm="none")], [conv(8), conv(8)]]},
        {"name": "body", "rows": [conv(8, norm="none"), {"op": "max_pool"}], "repeat": 2},
        *HEAD,
    ]
    names = [layer.name for layer in recorded(rows).layers]
    assert names == [
        "stem.conv7x7", "stem.norm", "stem.pool3x3",
        "unit.0.conv3x3", "unit.0.norm", "unit.0.conv3x3_2", "unit.0.norm_2",
        "unit.0.gate", "unit.0.gate_2", "unit.0.shortcut",
        "unit.1.conv3x3", "unit.1.norm", "unit.1.conv3x3_2", "unit.1.norm_2",
        "unit.1.gate", "unit.1.gate_2",
        "mix.branches.0.conv", "mix.branches.1.conv_1", "mix.branches.1.conv_1.norm",
        "mix.branches.1.conv_2", "mix.branches.1.conv_2.norm",
        "body.0.conv", "body.0.max_pool", "body.1.conv", "body.1.max_pool",
        "global_pool", "linear",
    ]  # fmt: skip


def test_every_weight_of_the_built_network_is_a_layers() -> None:
    rows = resnet("bottleneck", [1, 2], WIDE[:2], se=0.25)
    model = build(network(rows), **SMALL)
    built = sorted(p.numel() for p in model.parameters() if p.dim() > 1)
    found = recorded(rows, **SMALL)
    assert sorted(layer.weights for layer in found.layers if layer.weights) == built


def priced_as(monkeypatch: Any, own: Any) -> Record:
    """The row in the middle costs what `own` does to the tally."""
    plain = OPERATORS.get("activation")
    monkeypatch.setitem(OPERATORS._items, "activation", dataclasses.replace(plain, cost=own))
    return recorded([conv(6), {"name": "odd", "op": "activation"}, *HEAD])


def test_an_operator_that_counts_by_itself_is_a_layer_of_its_own(monkeypatch: Any) -> None:
    def own(tally: Any, act: str) -> None:
        tally.params += 12
        tally.macs += 34

    found = priced_as(monkeypatch, own)
    layer = next(layer for layer in found.layers if layer.kind == "activation")
    assert (layer.name, layer.params, layer.macs, layer.weights) == ("odd", 12, 34, 12)
    assert found.weight_layers == 3


def test_what_an_operator_corrects_is_its_layers(monkeypatch: Any) -> None:
    # LeNet-5's C3: 60 kernels on copies of its maps, summed to 16 maps with a bias each
    def own(tally: Any, act: str) -> None:
        tally.channels = 60
        tally.conv(60, 5, 1, 60)
        tally.activations += (16 - 60) * tally.height * tally.width
        tally.channels = 16
        tally.params += 16

    found = priced_as(monkeypatch, own)
    layer = next(layer for layer in found.layers if layer.name == "odd")
    assert (layer.kind, layer.shape, layer.params) == ("conv5x5", (16, 224, 224), 1516)
    assert (layer.weights, layer.activations) == (1500, 16 * 224 * 224)
    assert "dw5x5" not in found.share()


def test_relative_channels_follow_into_the_recording() -> None:
    text = json.dumps(
        {"network": [conv(16), {**conv(16), "channels": "x2", "name": "b", "repeat": 2}, *HEAD]}
    )
    loaded = parse(text)
    assert record(loaded, **SMALL).price == cost(loaded, **SMALL)

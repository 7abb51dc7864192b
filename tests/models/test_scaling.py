"""Compound scaling and relative channels, rule by rule."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from nas.errors import ShapeError
from nas.models import build, cost
from nas.models.scaling import (
    factors,
    relative_channels,
    scale_channels,
    scale_repeat,
)
from nas.space import load, parse

ROWS: list[dict[str, Any]] = [
    {"name": "stem", "op": "conv", "channels": 32, "stride": 2},
    {"name": "a", "op": "residual", "channels": 24, "repeat": 2},
    {"name": "b", "op": "bottleneck", "channels": "x2", "width": 16, "stride": 2},
    {"op": "global_pool"},
    {"op": "linear"},
]


def network(**scaling: Any) -> Any:
    text = {"name": "t", "input": {"size": 64, "channels": 3, "classes": 10}, "network": ROWS}
    return parse(json.dumps({**text, "scaling": scaling} if scaling else text))


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    # EfficientNet-B2 (1.1), -B3 (1.2), -B7 (2.0): widths as published
    [(32, 1.1, 32), (16, 1.1, 16), (24, 1.1, 24), (40, 1.1, 48), (112, 1.1, 120), (320, 1.1, 352),
     (32, 1.2, 40), (24, 1.2, 32), (1280, 1.2, 1536), (192, 2.0, 384), (3, 1.0, 3), (8, 0.1, 8)],
)  # fmt: skip
def test_channels_are_rounded_as_efficientnet_rounds(
    channels: int, width: float, expected: int
) -> None:
    assert scale_channels(channels, width) == expected


def test_channels_never_lose_more_than_a_tenth() -> None:
    for channels in range(8, 400):
        for percent in range(50, 300, 7):
            found = scale_channels(channels, percent / 100)
            assert found % 8 == 0
            assert found >= min(0.9 * channels * percent / 100, 8)


def test_groups_divide_what_is_scaled() -> None:
    assert scale_channels(128, 1.1, 32) == 128
    assert scale_channels(240, 1.5, 3) == 360
    for channels in range(32, 400, 32):
        for percent in range(50, 300, 7):
            found = scale_channels(channels, percent / 100, 24)
            assert found % 24 == 0
            assert found >= 0.9 * channels * percent / 100


@pytest.mark.parametrize("name", ["resnext50_32x4d", "resnext101_32x8d", "shufflenet_v1_g3"])
@pytest.mark.parametrize("width", [0.6, 1.1, 1.21, 1.5])
def test_networks_with_groups_are_scaled(name: str, width: float) -> None:
    whole, scaled = load(name), load(name, constants={"scaling.width": width})
    prices = [cost(each, classes=1000, channels=3) for each in (whole, scaled)]
    assert prices[1].macs == pytest.approx(prices[0].macs * width**2, rel=0.35)
    named = {row["name"]: row for row in scaled.network if "groups" in row}
    assert named


def test_rows_before_grouped_ones_are_rounded_to_their_groups() -> None:
    rows = [
        {"name": "a", "op": "conv", "channels": 12},
        {"op": "max_pool"},
        {"rows": [{"op": "conv", "channels": 24, "groups": 3}], "repeat": 2},
        {"op": "residual", "channels": 20, "groups": 5},
        {"op": "global_pool"},
        {"op": "linear"},
    ]
    file = parse(json.dumps({"network": rows, "scaling": {"width": 1.5}}))
    found = {row.name: row.shape[0] for row in cost(file, classes=10, channels=3, size=32).rows}
    assert (found["a"], found["rows"], found["residual"]) == (18, 45, 30)


def test_repeats_are_rounded_up() -> None:
    assert [scale_repeat(n, 1.2) for n in (1, 2, 3, 4, 5)] == [2, 3, 4, 5, 6]
    assert scale_repeat(10, 1.1) == 11  # 11.000000000000002 in floating point


def test_relative_channels_are_rounded_from_16_up() -> None:
    found = [relative_channels(f"x{k}", 16) for k in ("1", "2", "1.5", "0.5", "1.3", "0.01")]
    assert found == [16, 32, 24, 8, 24, 1]
    assert relative_channels("x3", 1) == 3


def test_phi_and_explicit_factors_say_the_same() -> None:
    by_phi = factors({"phi": 2, "alpha": 1.2, "beta": 1.1, "gamma": 1.15}, 224)
    assert (by_phi.depth, by_phi.width) == pytest.approx((1.44, 1.21))
    assert by_phi.resolution == round(224 * 1.15**2)
    assert factors({"phi": 2}, 224) == by_phi
    explicit = factors({"depth": 1.2, "width": 1.1, "resolution": 260}, 224)
    assert (explicit.depth, explicit.width, explicit.resolution) == (1.2, 1.1, 260)


def test_a_scaled_file_builds_what_its_resolved_integers_build() -> None:
    rows = [dict(row) for row in ROWS]
    rows[0]["channels"], rows[1]["channels"], rows[2]["width"] = 48, 40, 24
    rows[1]["repeat"] = 3
    resolved = parse(json.dumps({"name": "t", "network": rows}))
    scaled = network(depth=1.2, width=1.5, resolution=96)
    known = {"classes": 10, "channels": 3}
    assert [row.shape for row in cost(scaled, **known).rows] == [
        row.shape for row in cost(resolved, **known, size=96).rows
    ]
    states = build(scaled, **known).state_dict(), build(resolved, **known, size=96).state_dict()
    shapes = [{key: value.shape for key, value in state.items()} for state in states]
    assert shapes[0] == shapes[1]


def test_resolution_is_the_side_that_the_file_assumes_and_real_data_override_it() -> None:
    known = {"classes": 10, "channels": 3}
    sides = [
        cost(network(**scaling), **known).rows[0].shape[1]
        for scaling in ({}, {"phi": 1, "alpha": 1.0, "beta": 1.0, "gamma": 1.5})
    ]
    assert sides == [32, math.ceil(96 / 2)]
    assert cost(network(resolution=96), **known, size=40).rows[0].shape[1] == 20


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        (
            "{phi: 1e6, alpha: 1.2, beta: 1, gamma: 1.15}",
            r"^big\.yaml:2: scaling: .* is over 1000 times: lower phi",
        ),
        ("{depth: 1e9}", r"^big\.yaml:1: row 'conv' .* repetitions of 2; at most 1000"),
    ],
)
def test_scaling_out_of_proportion_is_refused_at_once(scaling: str, words: str) -> None:
    rows = "[{op: conv, channels: 8, repeat: 2}, {op: global_pool}, {op: linear}]"
    architecture = parse(f"network: {rows}\nscaling: {scaling}\n", path="big.yaml")
    with pytest.raises(ShapeError, match=words):
        cost(architecture, classes=10, channels=3, size=32)


@pytest.mark.parametrize("name", ["all_cnn_c", "nin", "resnetv2_50", "squeezenet1_0"])
def test_a_convolution_that_classifies_fits_any_number_of_classes(name: str) -> None:
    found = cost(load(name), classes=7, channels=3)
    assert found.rows[-1].shape in ((7,), (7, 1, 1))


@pytest.mark.parametrize("name", ["all_cnn_c", "nin", "resnetv2_50", "squeezenet1_0"])
def test_a_last_convolution_that_is_the_classifier_keeps_its_channels(name: str) -> None:
    whole, half = load(name), load(name, constants={"scaling.width": 0.5})
    classes = whole.input["classes"]
    prices = [cost(each, classes=classes, channels=3) for each in (whole, half)]
    assert prices[1].params < 0.5 * prices[0].params


def layers_of(rows: str, depth: float) -> int:
    """How many 3x3 convolutions there are: of 16 channels each, of 4 pixels."""
    architecture = parse(f"network: [{rows}, {{op: global_pool}}, {{op: linear}}]\n")
    scaled = replace(architecture, values={**architecture.values, "scaling": {"depth": depth}})
    made = build(scaled, classes=10, channels=16, size=16)
    return sum(isinstance(module, nn.Conv2d) for module in made.modules())


C = "{op: conv, channels: 16}"
REPEATED = "{op: conv, channels: 16, repeat: 2}"
NESTED = {
    "rows": (f"{{repeat: 2, rows: [{REPEATED}]}}", 4, 8),
    "three levels": (f"{{repeat: 2, rows: [{{repeat: 2, rows: [{REPEATED}]}}]}}", 8, 16),
    "stages with a pool": (f"{{repeat: 2, rows: [{REPEATED}, {{op: max_pool}}]}}", 4, 8),
    "rows without a repeat of their own": (f"{{repeat: 2, rows: [{C}, {C}]}}", 4, 8),
    "a cell": (f"{{repeat: 2, branches: [[{REPEATED}], [{C}]]}}", 6, 12),
    "a cell in rows": (f"{{repeat: 2, rows: [{{repeat: 1, branches: [[{C}], [{C}]]}}]}}", 4, 8),
    "not repeated rows": (f"{{rows: [{REPEATED}, {C}]}}", 3, 5),
    "dense blocks": ("{repeat: 2, rows: [{op: dense_block, layers: 2, growth: 4}]}", 8, 16),
    "a repeated dense block": ("{op: dense_block, layers: 2, growth: 4, repeat: 2}", 8, 16),
}


@pytest.mark.parametrize("name", NESTED)
def test_depth_multiplies_one_level_of_nested_repeats(name: str) -> None:
    rows, plain, twice = NESTED[name]
    assert (layers_of(rows, 1), layers_of(rows, 2)) == (plain, twice)


def test_too_many_repetitions_name_their_row() -> None:
    text = (
        "network:\n"
        "  - {name: stem, op: conv, channels: 8}\n"
        "  - name: stage\n"
        "    rows:\n"
        "      - {name: inner, op: conv, channels: 8, repeat: 600}\n"
        "  - {op: global_pool}\n"
        "  - {op: linear}\n"
        "scaling: {depth: 2}\n"
    )
    with pytest.raises(
        ShapeError,
        match=r"^deep\.yaml:5: row 'inner' \(conv\): depth 2 makes 1200 .*\(scaling: {depth: 2}\)",
    ):
        cost(parse(text, path="deep.yaml"), classes=10, channels=3, size=32)

"""The figures that the lecture notes and the papers print, against what `cost` says.

Sections: arithmetic of single layers, then the documented networks, one block each. Where a
document's figure does not follow from its own table, the test keeps the arithmetic and says so.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from nas.models import Cost, cost
from nas.space import Architecture, load, parse

HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]
BARE = {"norm": "none", "act": "none", "bias": False}


def price(*rows: dict[str, Any], channels: int, size: int) -> Cost:
    architecture = parse(json.dumps({"name": "test", "network": [*rows, *HEAD]}))
    return cost(architecture, classes=10, channels=channels, size=size)


def conv(channels: int, kernel: Any, **more: Any) -> dict[str, Any]:
    return {"op": "conv", "channels": channels, "kernel": kernel, **BARE, **more}


def weights(*rows: dict[str, Any], channels: int) -> int:
    return sum(row.params for row in price(*rows, channels=channels, size=16).rows[: len(rows)])


def zoo(name: str, **changed: dict[str, Any]) -> Cost:
    """A file of the zoo at the size it states; `changed`: keys of its rows, by name."""
    file = load(name)
    assert isinstance(file, Architecture)
    if changed:
        network = [{**row, **changed.get(row.get("name", ""), {})} for row in file.network]
        sections = {"input": dict(file.input), "defaults": dict(file.defaults)}
        file = parse(json.dumps({"name": "changed", "network": network, **sections}))
    return cost(file, classes=file.input["classes"], channels=file.input["channels"])


def lines(found: Cost, *drop: str) -> list[Any]:
    return [row for row in found.rows if row.op not in drop]


# ------------------------------------------------------------------------- single layers' macs
def test_a_5x5_convolution_and_its_reduced_form() -> None:
    plain = price(conv(32, 5), channels=192, size=28)
    assert plain.rows[0].macs == 120_422_400
    reduced = price(conv(16, 1), conv(32, 5), channels=192, size=28)
    assert reduced.rows[0].macs + reduced.rows[1].macs == 12_443_648


def test_a_convolution_of_6x6x3_to_4x4x5_and_its_separable_form() -> None:
    valid = {"channels": 5, "padding": "valid", **BARE}
    plain = price({"op": "conv", "kernel": 3, **valid}, channels=3, size=6)
    apart = price({"op": "separable", **valid}, channels=3, size=6)
    assert plain.rows[0].shape == apart.rows[0].shape == (5, 4, 4)
    assert (plain.rows[0].macs, apart.rows[0].macs) == (2160, 672)


@pytest.mark.parametrize("channels", [64, 128])
def test_separable_against_plain_is_1_over_channels_plus_1_over_kernel_squared(
    channels: int,
) -> None:
    row = {"channels": channels, "kernel": 3}
    apart = price({"op": "separable", **row}, channels=32, size=16).rows[0].macs
    plain = price({"op": "conv", **row}, channels=32, size=16).rows[0].macs
    assert apart / plain == pytest.approx(1 / channels + 1 / 9, rel=1e-12)


# ------------------------------------------------------------------------- weights of small kernels
@pytest.mark.parametrize("c", [1, 16, 50])
def test_three_3x3_see_what_a_7x7_sees_for_27_against_49_c_squared(c: int) -> None:
    assert weights(*[conv(c, 3)] * 3, channels=c) == 27 * c**2
    assert weights(conv(c, 7), channels=c) == 49 * c**2
    stacked = price(*[conv(c, 3)] * 3, channels=c, size=16).rows[2]
    single = price(conv(c, 7), channels=c, size=16).rows[0]
    assert stacked.receptive_field == single.receptive_field == (7, 7)


@pytest.mark.parametrize("k", [1, 16, 50])
def test_two_3x3_against_one_5x5_are_18_against_25_k_squared(k: int) -> None:
    assert weights(*[conv(k, 3)] * 2, channels=k) == 18 * k**2
    assert weights(conv(k, 5), channels=k) == 25 * k**2


def test_factorised_kernels_save_24_and_29_percent() -> None:
    # Szegedy et al. 2015 from n to 2n channels, with sqrt(2) n between: n = 169, sqrt(2) n = 239
    n, between = 169, 239
    stacked = weights(conv(between, 3), conv(2 * n, 3), channels=n)
    saved = 1 - stacked / weights(conv(2 * n, 5), channels=n)
    assert saved == pytest.approx(0.24, abs=0.005)
    assert saved == pytest.approx(1 - 9 * (2**0.5 + 2 * 2**0.5) / 50, abs=1e-4)
    asymmetric = weights(conv(between, [1, 3]), conv(2 * n, [3, 1]), channels=n)
    saved = 1 - asymmetric / weights(conv(2 * n, 3), channels=n)
    assert saved == pytest.approx(0.293, abs=0.0005)  # printed as 30 %


def test_three_convolutions_at_224_pixels_hold_10_million_activations() -> None:
    found = price(*[conv(64, 3)] * 3, channels=3, size=224)
    assert found.activations == 9_633_792
    assert 2 * 4 * found.activations / 1e6 == pytest.approx(77.07, abs=0.005)  # with gradients
    assert 2 * 4 * found.activations / 2**20 == 73.5  # printed as 72 MB


# ---------------------------------------------------------------------------------------- LeNet-5
def test_lenet5_layer_by_layer() -> None:
    found = zoo("lenet5")
    assert found.params == 60_000
    assert [(row.name, row.params) for row in found.rows] == [
        ("c1", 156), ("s2", 12), ("c3", 1_516), ("s4", 32), ("c5", 48_120), ("f6", 10_164),
        ("squash", 0), ("output", 0),
    ]  # fmt: skip
    assert [row.shape for row in found.rows[:5]] == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1),
    ]  # fmt: skip
    # the paper's connections count a bias as one: 122,304, 151,600, 48,120, 10,164
    biases = (6 * 28 * 28, 16 * 10 * 10, 120, 84)
    layers = [row for row in found.rows if row.name in ("c1", "c3", "c5", "f6")]
    assert [row.macs + bias for row, bias in zip(layers, biases, strict=True)] == [
        122_304, 151_600, 48_120, 10_164,
    ]  # fmt: skip


def test_lenet5_in_its_present_form() -> None:
    found = zoo("lenet5_modern")
    assert found.params == 61_706
    assert [row.params for row in found.rows if row.params] == [156, 2_416, 48_120, 10_164, 850]


# ---------------------------------------------------------------------------------------- AlexNet
def test_alexnets_shapes_and_parameters() -> None:
    found = zoo("alexnet_2012")
    shapes = [row.shape for row in lines(found, "lrn", "flatten", "activation", "dropout")]
    assert shapes == [
        (96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13), (384, 13, 13), (384, 13, 13),
        (256, 13, 13), (256, 6, 6), (4096, 1, 1), (4096, 1, 1), (1000, 1, 1),
    ]  # fmt: skip
    assert found.params == 62_378_344
    towers = zoo("alexnet_2012", conv2={"groups": 2}, conv4={"groups": 2}, conv5={"groups": 2})
    assert towers.params == 60_965_224
    assert zoo("alexnet").params == 61_100_840


# ------------------------------------------------------------------------------------------ ZFNet
def test_zfnets_shapes_and_both_counts() -> None:
    found = zoo("zfnet")
    shapes = [row.shape for row in lines(found, "lrn", "flatten", "activation", "dropout")]
    assert shapes == [
        (96, 110, 110), (96, 55, 55), (256, 26, 26), (256, 13, 13), (512, 13, 13), (1024, 13, 13),
        (512, 13, 13), (512, 6, 6), (4096, 1, 1), (4096, 1, 1), (1000, 1, 1),
    ]  # fmt: skip
    assert found.params == 107_627_624
    narrow = {"conv3": {"channels": 384}, "conv4": {"channels": 384}, "conv5": {"channels": 256}}
    assert zoo("zfnet", **narrow).params == 62_357_608


# -------------------------------------------------------------------------------------------- VGG
VGG16 = [
    # (side, channels, weights) of every line of lecture notes 001's table
    (224, 64, 1_728), (224, 64, 36_864), (112, 64, 0),
    (112, 128, 73_728), (112, 128, 147_456), (56, 128, 0),
    (56, 256, 294_912), (56, 256, 589_824), (56, 256, 589_824), (28, 256, 0),
    (28, 512, 1_179_648), (28, 512, 2_359_296), (28, 512, 2_359_296), (14, 512, 0),
    (14, 512, 2_359_296), (14, 512, 2_359_296), (14, 512, 2_359_296), (7, 512, 0),
    (1, 4096, 102_760_448), (1, 4096, 16_777_216), (1, 1000, 4_096_000),
]  # fmt: skip


def test_vgg16_line_by_line() -> None:
    found = zoo("vgg16")
    table = lines(found, "adaptive_pool", "flatten", "activation", "dropout")
    assert len(table) == len(VGG16)
    for row, (side, channels, count) in zip(table, VGG16, strict=True):
        assert row.shape == (channels, side, side)
        assert row.params == (count + channels if count else 0)  # the table leaves biases out
    assert found.params == 138_357_544


def test_vgg16s_volumes_sum_to_15_million() -> None:
    # input, convolutions, pools and fully connected layers; the table's total of 24M counts more
    volumes = [side * side * channels for side, channels, _ in VGG16]
    table = lines(zoo("vgg16"), "adaptive_pool", "flatten", "activation", "dropout")
    assert volumes == [row.shape[0] * row.shape[1] * row.shape[2] for row in table]
    assert 224 * 224 * 3 + sum(volumes) == 15_237_608


# --------------------------------------------------------------------- networks for small images
def test_all_convolutional_net() -> None:
    found = zoo("all_cnn_c")
    assert found.params == 1_369_738  # the paper: 1.3 M
    assert found.rows[-3].shape == (10, 6, 6)


def test_network_in_network() -> None:
    found = zoo("nin")
    # the authors' definition: nine layers' weights and biases
    assert [row.params for row in found.rows if row.params] == [
        14_592 + 30_880 + 15_456, 460_992 + 37_056 + 37_056, 331_968 + 37_056 + 1_930,
    ]  # fmt: skip
    assert [row.shape[1] for row in found.rows if row.op in ("mlpconv", "max_pool")] == [
        32, 16, 16, 8, 8,
    ]  # fmt: skip


def test_the_cifar_100_network_of_the_lecture() -> None:
    # receptive fields printed as 5, 9, 15, 15, 23, 31; parameters as "about 2M"
    found = zoo("cifar100_convnet")
    table = found.rows[:6]
    assert [row.receptive_field[0] for row in table] == [5, 9, 11, 19, 27, 31]
    assert [row.shape for row in table] == [
        (32, 32, 32), (32, 32, 32), (32, 16, 16), (128, 16, 16), (128, 16, 16), (128, 8, 8),
    ]  # fmt: skip
    assert found.params == 550_596


def test_the_two_layer_net_of_the_lecture() -> None:
    assert zoo("two_layer_net").params == 154_160


def test_the_layer_patterns_of_the_lecture() -> None:
    # INPUT -> [[CONV -> RELU]*N -> POOL?]*M -> [FC -> RELU]*K -> FC
    assert zoo("pattern_linear").params == 32 * 32 * 3 * 10 + 10
    assert [row.op for row in zoo("pattern_conv").rows] == ["conv", "flatten", "linear"]
    for name, side in (("pattern_conv_pool", 8), ("pattern_conv_conv_pool", 4)):
        found = zoo(name)
        assert found.rows[0].shape[1] == side
        assert found.rows[-1].name == "output"

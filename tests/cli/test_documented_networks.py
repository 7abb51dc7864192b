"""The documented figures of networks, as `nas describe --json` gives them.

`printed` is what a paper or a lecture prints, with its unit; a figure agrees where it rounds to
the print. Exact public counts are in tests/models/test_zoo.py.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from nas.api.describing import describe

UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}


@cache
def described(name: str) -> dict[str, Any]:
    return describe(name, {})


def agrees(value: float, printed: str) -> bool:
    """ "36.5M": 36.45 to 36.55 million. A bare number is exact."""
    if printed[-1] not in UNITS:
        return value == int(printed.replace(",", ""))
    number, unit = printed[:-1], UNITS[printed[-1]]
    places = len(number.partition(".")[2])
    return abs(value / unit - float(number)) <= 0.5 * 10**-places + 1e-9


PARAMS = {
    "lenet5": "60,000",
    "lenet5_modern": "61,706",
    "alexnet": "61,100,840",
    "alexnet_2012": "62.4M",  # one tower; two come to 61.0 M
    "vgg16": "138,357,544",
    "googlenet": "6,624,904",
    "googlenet_aux": "13,004,888",
    "resnet20_cifar": "0.27M",
    "resnet56_cifar": "0.85M",
    "resnet110_cifar": "1.7M",
    "resnet1202_cifar": "19.4M",
    "wrn_28_10": "36.5M",
    "wide_resnet50_2": "68,883,240",
    "resnext50_32x4d": "25.0M",
    "resnext29_8x64d": "34.4M",
    "seresnet50": "28,088,024",
    "densenet121": "7,978,856",
    "densenet_bc_100_12": "0.8M",
    "mobilenet_v1": "4.2M",
    "mobilenet_v2": "3,504,872",
    "mobilenet_v3_large": "5,483,032",
    "mobilenet_v3_small": "2,542,856",
    "shufflenet_v2_x1_0": "2,278,604",
    "xception": "22.9M",
    "squeezenet1_0": "1,248,424",
    "squeezenet1_1": "1,235,496",
    "nasnetalarge": "88,753,150",
    "nasnet_mobile": "5.3M",
    "amoebanet_a": "86.7M",
    "inception_v3": "23,834,568",
    "inception_v3_aux": "27,161,264",
    "inception_v4": "42,679,816",
    "nb201_all_conv3x3": "1.53M",
    "two_layer_net": "154,160",
    "cifar100_convnet": "0.55M",  # the table as printed; the lecture says about 2 M
    "highway19": "2.3M",
    "fitnet4": "2.5M",
    "efficientnet_b0": "5,288,548",
    "efficientnet_b1": "7,794,184",
    "efficientnet_b2": "9,109,994",
    "efficientnet_b3": "12,233,232",
    "efficientnet_b4": "19,341,616",
    "efficientnet_b5": "30,389,784",
    "efficientnet_b6": "43,040,704",
    "efficientnet_b7": "66,347,960",
}
MACS = {
    "mobilenet_v1": "569M",
    "mobilenet_v2": "0.3G",
    "shufflenet_v1_g3": "137M",
    "shufflenet_v2_x1_0": "145M",
    "nasnetalarge": "23.8G",
    "nasnet_mobile": "564M",
    "densenet121": "2,834,161,664",
}
DEPTHS = {
    "lenet5": 5, "alexnet_2012": 8, "vgg11": 11, "vgg13": 13, "vgg16": 16, "vgg19": 19,
    "googlenet": 22, "googlenet_2014": 22, "resnet18": 18, "resnet34": 34, "resnet50": 50,
    "resnet101": 101, "resnet152": 152, "resnet20_cifar": 20, "resnet56_cifar": 56,
    "resnet110_cifar": 110, "resnet1202_cifar": 1202, "preresnet110_cifar": 110,
    "preresnet164_cifar": 164, "resnext50_32x4d": 50, "seresnet50": 50, "densenet121": 121,
    "densenet169": 169, "densenet201": 201, "densenet161": 161, "mobilenet_v1": 28,
    "two_layer_net": 2,
}  # fmt: skip
SIZES = {
    "alexnet_2012": 227, "inception_v3": 299, "inception_v4": 299, "xception": 299,
    "nasnetalarge": 331, "efficientnet_b0": 224, "efficientnet_b1": 240, "efficientnet_b2": 260,
    "efficientnet_b3": 300, "efficientnet_b4": 380, "efficientnet_b5": 456,
    "efficientnet_b6": 528, "efficientnet_b7": 600, "lenet5": 32,
}  # fmt: skip


@pytest.mark.parametrize(("name", "printed"), PARAMS.items())
def test_parameters(name: str, printed: str) -> None:
    found = described(name)
    # LeNet-5's codes are no parameters: 60,000 are trained
    assert agrees(found["params"], printed), found["params"]
    assert sum(row["params"] for row in found["rows"]) == found["params"]


@pytest.mark.parametrize(("name", "printed"), MACS.items())
def test_multiply_adds(name: str, printed: str) -> None:
    assert agrees(described(name)["macs"], printed), described(name)["macs"]


@pytest.mark.parametrize(("name", "depth"), DEPTHS.items())
def test_weight_layers(name: str, depth: int) -> None:
    assert described(name)["weight_layers"] == depth


@pytest.mark.parametrize(("name", "side"), SIZES.items())
def test_pixels(name: str, side: int) -> None:
    assert described(name)["input"]["size"] == [side, side]


def test_mobilenets_table_2() -> None:
    share = described("mobilenet_v1")["share"]
    printed = {  # of multiply-adds, of parameters; 3x3 is printed as 1.19, its digits swapped
        "conv1x1": (94.86, 74.59), "dw3x3": (3.06, 1.06), "conv3x3": (1.91, 0.02),
        "linear": (0.18, 24.33),
    }  # fmt: skip
    for kind, (macs, params) in printed.items():
        assert 100 * share[kind]["macs"] == pytest.approx(macs, abs=0.006)
        assert 100 * share[kind]["params"] == pytest.approx(params, abs=0.006)


def test_the_cifar_100_networks_views() -> None:
    rows = described("cifar100_convnet")["rows"]
    seen = sorted({row["receptive_field"][0] for row in rows})
    # printed 5, 9, 15, 15, 23, 31; by arithmetic as here
    assert [view for view in seen if view <= 31] == [5, 9, 11, 19, 27, 31]


def test_lenet5_row_by_row() -> None:
    rows = [row["params"] for row in described("lenet5")["rows"] if row["params"]]
    assert rows == [156, 12, 1516, 32, 48_120, 10_164]


def test_momentum_triples_the_parameters() -> None:
    memory = described("resnet50")["memory_bytes"]
    assert memory["parameters"] == 4 * 25_557_032
    assert memory["training"] >= 3 * memory["parameters"] + memory["forward"]
    assert memory["batch"] > memory["training"]

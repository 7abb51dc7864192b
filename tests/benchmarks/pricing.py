"""Pricing, describing and building, beside public tools in the same run.

python -m tests.benchmarks.pricing      (ptflops is measured too where it is installed)

    describe_ms   EfficientNet-B7, every layer, by arithmetic; with reading the file in brackets
    space_ms      a network drawn from `all_cells` and priced
    resnet50_ms   ResNet-50 at 224 pixels, from its filled file: by `cost`, and by tools that run it
    build         seconds to build ResNet-50, and over those of plain modules in torchvision's way
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import UnknownName
from nas.models import build, cost, record
from nas.space import Architecture, Space, draw, fill, load, parse

from .machine import machine

IMAGENET = {"classes": 1000, "channels": 3, "size": 224}
HEAD = [{"op": "global_pool"}, {"op": "linear"}]


def describe() -> dict[str, float] | str:
    """Milliseconds for EfficientNet-B7 layer by layer."""
    try:
        network = load("efficientnet_b7")
    except UnknownName:
        return "left out: there is no efficientnet_b7 yet"
    assert isinstance(network, Architecture)
    of = {"classes": 1000, "channels": 3}
    return {
        "efficientnet_b7": _milliseconds(lambda: record(network, **of), 10),
        "layers": len(record(network, **of).layers),
        "with its file read": _milliseconds(lambda: record(load("efficientnet_b7"), **of), 1),  # type: ignore[arg-type]
    }


def space() -> dict[str, float] | str:
    """Milliseconds to draw a network and to price it."""
    try:
        every = load("all_cells")
    except UnknownName:
        return "left out: there is no all_cells yet"
    return {**_drawn(every, 32), "at 224 pixels": _drawn(every, 224)["all_cells"]}


def _drawn(every: Any, size: int) -> dict[str, float]:
    assert isinstance(every, Space)
    source = random.Random(0)

    def one() -> None:
        network = fill(every, draw(every, source))
        cost(network, classes=10, channels=3, size=size)

    return {every.name: _milliseconds(one, 500)}


def resnet50() -> Architecture:
    """He et al. 2015, Table 1."""
    stages = [
        {"name": f"stage{n}", "op": "bottleneck", "channels": c, "repeat": r, "stride": 1 + (n > 1)}
        for n, (c, r) in enumerate([(256, 3), (512, 4), (1024, 6), (2048, 3)], start=1)
    ]
    stem = {"op": "stem", "kind": "imagenet", "channels": 64}
    made = parse(json.dumps({"name": "resnet50", "network": [stem, *stages, *HEAD]}))
    assert isinstance(made, Architecture)
    return made


def pricing() -> dict[str, float]:
    """Milliseconds to price ResNet-50: by arithmetic, on the meta device, by running it."""
    network = resnet50()
    figures = {"cost": _milliseconds(lambda: cost(network, **IMAGENET), 200)}
    expected = cost(network, **IMAGENET).macs
    assert _hooked(network) == expected, "both measure the same"
    figures["hooks on the meta device"] = _milliseconds(lambda: _hooked(network), 1)
    assert _counted(network) == 2 * expected
    figures["FlopCounterMode on the meta device"] = _milliseconds(lambda: _counted(network), 1)
    try:
        from ptflops import get_model_complexity_info
    except ImportError:
        return figures
    model = Plain50()
    figures["ptflops, the model built"] = _milliseconds(
        lambda: get_model_complexity_info(
            model, (3, 224, 224), print_per_layer_stat=False, as_strings=False
        ),
        1,
        rounds=3,
    )
    return figures


def _hooked(network: Architecture) -> int:
    """Multiply-adds by forward hooks, nothing computed: building is a part of it."""
    macs = 0

    def count(module: nn.Module, _: object, made: Tensor) -> None:
        nonlocal macs
        assert isinstance(module, nn.Conv2d | nn.Linear)
        pixels = made[0, 0].numel() if made.dim() == 4 else 1
        macs += module.weight.numel() * pixels

    with torch.device("meta"), torch.no_grad():
        model = build(network, **IMAGENET).eval()
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(count)
        model(torch.empty(1, 3, 224, 224))
    return macs


def _counted(network: Architecture) -> int:
    with torch.device("meta"), torch.no_grad():
        model = build(network, **IMAGENET).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 224, 224))
    return int(counter.get_total_flops())


class PlainBottleneck(nn.Module):
    """As people write it by hand."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or before != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Plain50(nn.Module):
    """ResNet-50 of plain modules; weights are drawn anew after torch has, by He's rule."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before, stages = 64, []
        for width, times, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            units = []
            for number in range(times):
                units.append(PlainBottleneck(before, width, 1 if number else stride))
                before = 4 * width
            stages.append(nn.Sequential(*units))
        self.stages = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 1)
                nn.init.constant_(module.bias, 0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(self.avgpool(self.stages(x)).flatten(1))


def building(rounds: int = 15) -> dict[str, float]:
    """CPU seconds to build ResNet-50 and the plain one, alternating; the median of the ratios."""
    network = resnet50()
    own, plain = [], []
    for _ in range(rounds):
        own.append(_seconds(lambda: build(network, **IMAGENET), time.process_time))
        plain.append(_seconds(Plain50, time.process_time))
    figures = [sum(p.numel() for p in model.parameters()) for model in
               (build(network, **IMAGENET), Plain50())]  # fmt: skip
    assert figures[0] == figures[1], "both are one network"
    mine, base = statistics.median(own), statistics.median(plain)
    ratio = statistics.median(a / b for a, b in zip(own, plain, strict=True))
    return {"build": round(mine, 3), "plain modules": round(base, 3), "ratio": round(ratio, 3)}


def _milliseconds(work: Callable[[], object], times: int, rounds: int = 7) -> float:
    """A call, the median of `rounds` rounds."""
    work()  # imports and caches
    found = [_seconds(lambda: [work() for _ in range(times)]) / times for _ in range(rounds)]
    return round(1e3 * statistics.median(found), 4)


def _seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    work()
    return clock() - began


def main() -> None:
    """All figures as JSON."""
    torch.set_num_threads(1)
    found = pricing()
    told = {
        "describe_ms": describe(),
        "space_ms": space(),
        "resnet50_ms": found,
        "times_cost": {
            key: round(value / found["cost"]) for key, value in found.items() if key != "cost"
        },
        "build": building(),
        "machine": machine(),
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()

"""Training throughput of the loop beside a bare PyTorch loop: same network, data, batch size.

    python tests/benchmarks/throughput.py --repeats 15

The bare loop is the shortest one that trains: images normalised beforehand, a permutation an
epoch, `torch.optim.SGD` with torch's own defaults; no guard, schedule, pauses or bookkeeping.
Validation is left out of both sides (the loop validates two images), and so are the four forward
passes of the guard, once a training. Both train in turns, one epoch each, the first of a pair
changing; the result is the median over the pairs of (bare seconds / loop seconds). Goal: 0.97.
Prints a table, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

import nas.models
import nas.space
from nas.train.batches import Batches
from nas.train.loop import Trainer
from nas.train.optimizers import parameter_groups
from nas.train.recipe import Recipe

MEAN, STD = (0.5, 0.5, 0.5), (0.29, 0.29, 0.29)
GOAL = 0.97


def plain_cnn() -> nn.Module:
    """Three convolutions and a linear layer: steps of a few milliseconds, where overhead shows."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def resnet_cells() -> nn.Module:
    """The default network of the shipped space."""
    space = nas.space.load("resnet_cells")
    filled = nas.space.fill(space, space.default())
    return nas.models.build(filled, classes=10, channels=3, size=32)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain_cnn": plain_cnn,
    "resnet_cells": resnet_cells,
}


def loop_epochs(
    model: nn.Module, x: np.ndarray, y: np.ndarray, recipe: Recipe, device: str
) -> Iterator[None]:
    trainer = Trainer(
        model, (x, y), (x[:2], y[:2]), recipe, mean=MEAN, std=STD, device=device, epochs=10_000
    )
    for report in trainer.run(pause_every=1.0):
        if report is not None:
            assert report.stop is None, report
            yield


def bare_epochs(
    model: nn.Module, x: np.ndarray, y: np.ndarray, recipe: Recipe, device: str
) -> Iterator[None]:
    place = torch.device(device)
    data = Batches(x, y, mean=MEAN, std=STD, device=place)
    images, labels = data.take(torch.arange(len(x), device=place))
    model.to(place)
    if place.type == "cuda":
        model.to(memory_format=torch.channels_last)
    groups = parameter_groups(model, recipe.weight_decay)
    optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True)
    while True:
        model.train()
        order = torch.randperm(len(images)).to(place)
        for start in range(0, len(images), recipe.batch_size):
            rows = order[start : start + recipe.batch_size]
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield


def seconds(epochs: Iterator[None], device: str) -> float:
    began = time.perf_counter()
    next(epochs)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(name: str, images: int, recipe: Recipe, device: str, repeats: int) -> dict[str, object]:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    y = random.integers(0, 10, images)
    torch.manual_seed(0)
    model = NETWORKS[name]()
    loop = loop_epochs(copy.deepcopy(model), x, y, recipe, device)
    bare = bare_epochs(model, x, y, recipe, device)
    for epochs in (loop, bare):
        seconds(epochs, device)  # warm-up
    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            pairs.append((seconds(loop, device), seconds(bare, device)))
        else:
            other = seconds(bare, device)
            pairs.append((seconds(loop, device), other))
    ours, theirs = np.array(pairs).T
    low, median, high = np.percentile(theirs / ours, [25, 50, 75])
    return {
        "network": name,
        "batch_size": recipe.batch_size,
        "loop_images_per_s": round(float(images / np.median(ours)), 1),
        "bare_images_per_s": round(float(images / np.median(theirs)), 1),
        "ratio": round(float(median), 4),
        "ratio_quartiles": [round(float(low), 4), round(float(high), 4)],
        "pairs": repeats,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--network", choices=[*NETWORKS, "all"], default="all")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    recipe = Recipe(lr=0.01, batch_size=asked.batch_size, schedule="constant", patience=0)
    names = list(NETWORKS) if asked.network == "all" else [asked.network]
    print(f"{'network':<14}{'loop img/s':>12}{'bare img/s':>12}{'ratio':>8}  quartiles")
    rows = []
    for name in names:
        row = compare(name, asked.images, recipe, asked.device, asked.repeats)
        rows.append(row)
        print(
            f"{name:<14}{row['loop_images_per_s']:>12}{row['bare_images_per_s']:>12}"
            f"{row['ratio']:>8}  {row['ratio_quartiles']}"
        )
    on = torch.cuda.get_device_name() if asked.device == "cuda" else platform.machine()
    setting = {"device": on, "threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps({"goal": GOAL, "images_an_epoch": asked.images, **setting, "results": rows}))


if __name__ == "__main__":
    main()

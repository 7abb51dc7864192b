"""Start of the program, fill and cost, beside public tools in the same run.

python -m tests.benchmarks.quick        (ptflops is measured too where it is installed)
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.models import build, cost
from nas.space import draw, fill, load

from .machine import machine

SIZE, CHANNELS, CLASSES = (32, 32), 3, 10


def help_over_empty(repeats: int = 15) -> dict[str, float]:
    """Seconds of `nas --help` and of an interpreter that does nothing, alternating."""
    own, empty = [], []
    for _ in range(repeats):
        own.append(_seconds([sys.executable, "-m", "nas", "--help"]))
        empty.append(_seconds([sys.executable, "-c", "pass"]))
    mine, base = statistics.median(own), statistics.median(empty)
    return {"help": round(mine, 3), "empty": round(base, 3), "over": round(mine - base, 3)}


def fills_a_second() -> float:
    """Fillings of resnet_cells by a choice that costs nothing."""
    space = load("resnet_cells")
    source = random.Random(0)
    decisions = [draw(space, source) for _ in range(200)]
    turns = iter(range(10**9))

    def one() -> None:
        given = decisions[next(turns) % len(decisions)]
        fill(space, lambda hole: given[hole.name])

    return round(1 / _best(one, 4000))


def pricing() -> dict[str, float]:
    """Milliseconds to price a network of resnet_cells: by arithmetic, and by running it."""
    space = load("resnet_cells")
    source = random.Random(0)
    networks = [fill(space, draw(space, source)) for _ in range(100)]
    turns = iter(range(10**9))

    def arithmetic() -> None:
        network = networks[next(turns) % len(networks)]
        cost(network, classes=CLASSES, channels=CHANNELS, size=SIZE)

    default = fill(space, space.default())

    def counter() -> None:
        model = build(default, classes=CLASSES, channels=CHANNELS, size=SIZE)
        with FlopCounterMode(display=False), torch.no_grad():
            model.eval()(torch.zeros(1, CHANNELS, *SIZE))

    figures = {"cost": _best(arithmetic, 500) * 1e3, "FlopCounterMode": _best(counter, 10) * 1e3}
    try:
        from ptflops import get_model_complexity_info
    except ImportError:
        return {name: round(value, 4) for name, value in figures.items()}

    def ptflops() -> None:
        model = build(default, classes=CLASSES, channels=CHANNELS, size=SIZE)
        get_model_complexity_info(
            model, (CHANNELS, *SIZE), print_per_layer_stat=False, as_strings=False
        )

    figures["ptflops"] = _best(ptflops, 10) * 1e3
    return {name: round(value, 4) for name, value in figures.items()}


def _best(work: Callable[[], None], times: int, repeats: int = 7) -> float:
    """Seconds a call: the median of `repeats` rounds."""
    rounds = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(times):
            work()
        rounds.append((time.perf_counter() - began) / times)
    return statistics.median(rounds)


def _seconds(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """All figures as JSON."""
    torch.set_num_threads(1)
    told = {
        "seconds": help_over_empty(),
        "fill_per_second": fills_a_second(),
        "pricing_ms": pricing(),
        "machine": machine(),
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()

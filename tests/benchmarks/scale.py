"""What 10,000 trials on 256 virtual GPUs cost the driver; prints JSON.

    python -m tests.benchmarks.scale [--trials 10000] [--gpus 256] [--budget 40gpu-h] [--folder .]

The product's own driver (core, TPE, journal, run folder, stages, final training) on a virtual
clock: a trial is a formula, the length of its epochs spreads tenfold. Seconds of the driver are
real, those of the devices virtual. Run it on a real disk: the journal waits for it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.search.simulated import Simulation, exploded, out_of_memory, trained
from nas.search.work import Ask

SPACE = "tiny"
LAST = 20  # hand-outs that are left out: final trainings, for which all others have ended
SIZES = (1000, 2000, 5000, 10_000)


def curve(ask: Ask, recipe: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    """Best at lr 0.1, explodes above 0.9; one trial in a hundred has no room."""
    source = random.Random(ask.seed)
    lr, decay = float(recipe["lr"]), float(recipe["weight_decay"])
    if lr > 0.9:
        return exploded(epoch, 5.0)
    if source.random() < 0.01 and ask.number:
        return out_of_memory()
    height = 0.9 - 0.1 * abs(math.log10(lr / 0.1)) - 0.02 * abs(math.log10(decay / 1e-4))
    return trained(epoch, height * (1 - math.exp(-epoch / 3)) + source.gauss(0, 0.002))


def epoch_seconds(ask: Ask) -> float:
    """1 to 10 s, the same for all epochs of a trial."""
    return float(10 ** random.Random(ask.seed + 1).random())


class Sizes:
    """Looks at the folder when so many trials have been begun."""

    def __init__(self, most: int) -> None:
        self._wanted = [size for size in SIZES if size < most]
        self.found: dict[int, dict[str, float]] = {}
        self.search_end: float | None = None
        self.last_end: float | None = None  # of the trials that ran on then

    def __call__(self, simulation: Simulation) -> bool:
        if self._wanted and len(simulation.asked) >= self._wanted[0]:
            self.look(simulation, self._wanted.pop(0))
        if self.search_end is None and simulation.core.stopped is not None:
            self.search_end = simulation.clock.now
        if self.search_end is not None:
            running = simulation.core._live.values()
            if any(live.ask.stage != "final" for live in running):
                self.last_end = simulation.clock.now
        return False

    def look(self, simulation: Simulation, size: int) -> None:
        run = simulation.run
        files = [file for file in run.path.rglob("*") if file.is_file()]
        self.found[size] = {
            "journal_mib": round(run.journal.stat().st_size / 2**20, 2),
            "run_folder_mib": round(sum(file.stat().st_size for file in files) / 2**20, 2),
            "peak_memory_mib": round(peak_memory(), 1),
        }


def peak_memory() -> float:
    """Of this process: the driver and the simulated devices, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def by_thousands(spent: Sequence[tuple[float, float]], of: int) -> list[float]:
    """Milliseconds of the driver a trial, a thousand at a time; `of`: 0 real, 1 processor."""
    whole = spent[::1000]
    return [round(b[of] - a[of], 2) for a, b in itertools.pairwise(whole)]


def growth(spent: Sequence[tuple[float, float]]) -> float | None:
    """What the last 500 trials cost the processor over those round the 1,000th."""
    if len(spent) < 2000:
        return None
    early, late = spent[1250][1] - spent[750][1], spent[-1 - LAST][1] - spent[-501 - LAST][1]
    return round(late / early, 2)


def shown(run: Path) -> dict[str, float]:
    """Seconds of `nas show` and `nas runs`, each a process of its own: the median of five."""
    commands = {"nas_show": ["show", str(run)], "nas_runs": ["runs", "--dir", str(run.parent)]}
    found = {}
    for name, words in commands.items():
        seconds = []
        for _ in range(5):
            before = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "nas", *words], check=True, stdout=subprocess.DEVNULL
            )
            seconds.append(time.perf_counter() - before)
        found[f"{name}_seconds"] = round(statistics.median(seconds), 2)
    return found


def utilisation(simulation: Simulation, sizes: Sizes) -> dict[str, float]:
    """Of the part that hands out candidates, and of the whole run: after that part the last
    candidates run to their ends, and a dozen final trainings, on however many devices.

    `whole_run_at_most`: had the final trainings all begun when the last candidate did.
    """
    now, whole = simulation.clock.now, simulation.utilisation()
    end = now if sizes.search_end is None else sizes.search_end
    last = max(end, sizes.last_end or end)
    finals = simulation.core.table.final_rows()
    longest = max((row["device_seconds"] for row in finals), default=0.0)
    return {
        "until_the_search_part_ends": round(simulation.utilisation(end), 4),
        "whole_run": round(whole, 4),
        "search_part_seconds": round(end, 1),
        "last_candidates_seconds": round(last - end, 1),
        "final_trainings_alone_seconds": round(now - last, 1),
        "final_trainings": len(finals),
        "longest_final_training_seconds": round(longest, 1),
        "whole_run_at_most": round(whole * now / max(end + longest, last), 4),
    }


def measure(budget: str, gpus: int, strategy: str, run: Path) -> dict[str, Any]:
    """One search, with the figures of its driver."""
    simulation = Simulation(
        SPACE, curve, budget=budget, gpus=gpus, strategy=strategy, folder=run,
        epoch_seconds=epoch_seconds,
    )  # fmt: skip
    sizes = Sizes(10**9)
    begun = time.perf_counter()
    simulation.go(sizes)
    seconds = time.perf_counter() - begun
    sizes.look(simulation, len(simulation.asked))
    waits = sorted(simulation.waits[gpus:])  # the first are all asked for at once
    wall, cpu = by_thousands(simulation.spent, 0), by_thousands(simulation.spent, 1)
    begun_again = time.perf_counter()
    Simulation(
        SPACE, curve, budget=budget, gpus=gpus, strategy=strategy, folder=run,
        epoch_seconds=epoch_seconds,
    )  # fmt: skip
    taken_up = time.perf_counter() - begun_again
    assert simulation.state is not None
    return {
        "budget": budget, "virtual_gpus": gpus, "strategy": strategy,
        "trials": len(simulation.asked), "counts": simulation.state["trials"],
        "stages": {stage["name"]: stage["trials"] for stage in simulation.state["stages"]},
        "seconds_of_the_benchmark": round(seconds, 1),
        "driver_ms_per_trial": wall,
        "driver_cpu_ms_per_trial": cpu,
        "the_last_over_the_1000th": growth(simulation.spent),
        "mean_ms_per_trial": round(1000 * simulation.spent[-1][0] / len(simulation.spent), 2),
        "slot_waits_ms": {
            "median": round(1000 * statistics.median(waits), 2),
            "99%": round(1000 * waits[int(0.99 * len(waits))], 2),
            "most": round(1000 * waits[-1], 2),
            "over_100": sum(wait > 0.1 for wait in waits),
        },
        "seconds_to_take_it_up_again": round(taken_up, 2),
        "virtual_seconds": round(simulation.clock.now, 1),
        "utilisation": utilisation(simulation, sizes),
        "sizes": sizes.found,
        **shown(run),
    }  # fmt: skip


def main() -> None:
    """One search; prints JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trials", type=int, default=10_000)
    options.add_argument("--budget", help="instead of a number of trials, such as 100gpu-h")
    options.add_argument("--gpus", type=int, default=256)
    options.add_argument("--strategy", default="tpe")
    options.add_argument("--folder", help="on the disk to measure; the temporary one by default")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        run = Path(folder) / "runs" / "scale"
        found = measure(asked.budget or f"{asked.trials}trials", asked.gpus, asked.strategy, run)
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

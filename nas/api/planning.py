"""What a search would do, without doing it: `nas plan`, `nas search --dry-run`.

A pilot trains the default network for a moment, and small, middling and large ones. Then the driver
itself searches on a virtual clock, with epochs that take what the pilot's networks took, each
candidate by its multiply-adds. What it does there is the forecast: the same stages, halving,
ledger, reserve and final training, and no second copy of their rules.

What cannot be known before: how many candidates break down early (none is supposed to), and how
good they are (supposed: by their learning rate's distance from the default, by their multiply-adds,
and by chance).
"""

from __future__ import annotations

import bisect
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..models import Cost, cost
from ..plugins import read_plugin
from ..search import finals, minimum, pilot
from ..search.ledger import CLOSING_SECONDS, Ledger
from ..search.machine import gpus_here, here
from ..search.request import Prepared
from ..search.simulated import Report, Simulation, trained
from ..search.trainable import PAUSE_SECONDS
from ..search.work import Ask
from ..space import Architecture, Space, count, draw, fill
from ..train.recipe import Recipe
from ..units import Budget, counted, parse_budget, show_seconds

DRAWN = 200  # candidates that are priced
QUANTILES = (0.2, 0.5, 0.8)  # of the drawn ones' multiply-adds: networks that are measured
ALIKE = 0.2  # of another one's multiply-adds: one this near needs no measurement of its own
MOST_REHEARSALS = 31  # of a small budget, with other chances
MOST_REHEARSED = 450  # trials in all of them
MOST_SIMULATED = 300  # trials; a larger budget is reckoned from one that holds about these
DRIVER_SECONDS = 0.08  # of a slot between two trials: a suggestion, Ray's hand-over, the folder
EXPORT_SECONDS = 1.0
MEMORY = "/dev/shm"  # a folder in memory, on Linux
PAUSES = 8  # of a simulated epoch of the default network, at the most
# A simulated trial's rank, from 0 to 1, as in some forty real searches (digits, Fashion-MNIST):
# a learning rate ten times off the default's costs 0.45, the largest network is 0.3 over the
# smallest, and the rest is chance (its standard deviation).
MIDDLE, RATE, SIZE, CHANCE = 0.6, 0.45, 0.3, 0.2


@dataclass(frozen=True)
class Speed:
    """Seconds of an epoch on one slot: of its steps alone, and of a multiply-add."""

    step: float
    mac: float
    trial: float  # a trial's own time beside its epochs
    images: int

    def epoch(self, macs: float, batch: int) -> float:
        return self.step * -(-self.images // batch) + self.mac * macs * self.images


def plan(prepared: Prepared, started: float | None = None) -> dict[str, Any]:
    """Space, default network, what the budget holds; plain values, fit for JSON.

    Trains for some seconds on this machine; writes nothing that stays. `started`: when the program
    began, on `time.monotonic`'s clock. Raises RunError where the default cannot be trained.
    """
    began = time.monotonic() if started is None else started
    request, data, space = prepared.request, prepared.data, prepared.space
    first = default_network(space)
    price, draws = _price(first, prepared), _draws(prepared)
    networks = [first, *_typical_ones(draws, price)]
    before = time.monotonic() - began
    measured = _measure(prepared, networks)
    speed = _speed(measured, [(_price(each, prepared), _batch(each)) for each in networks], data)
    starting = before + measured.starting
    sizes = sorted(drawn.macs for _, drawn in draws)
    found = _search(prepared, speed, starting, sizes)
    epoch = measured.paces[0].epoch
    return {
        "space": request.space_name,
        "file": request.space,
        "architectures": count(space) if isinstance(space, Space) else 1,
        "holes": len(space.holes) if isinstance(space, Space) else 0,
        "limits": dict(space.limits),
        "data": data.describe(),
        "default": {"params": price.params, "macs": price.macs, "memory_bytes": price.memory},
        "drawn": _spread(draws),
        "device": request.device,
        "trials_at_once": request.trials_at_once,
        "gpus_per_trial": request.gpus_per_trial,
        "placement": prepared.placement.words(),
        "auto": list(request.auto),
        "budget": request.budget,
        "epoch_seconds": epoch,
        "pilot": [
            {
                "macs": _price(network, prepared).macs, "epoch_seconds": pace.epoch,
                "trial_seconds": pace.trial, "whole": pace.whole, "memory_bytes": pace.memory,
            }
            for network, pace in zip(networks, measured.paces, strict=True)
        ],
        "starting_seconds": starting,
        **found,
        "warning": _warning(prepared, epoch, found, starting),
    }  # fmt: skip


def default_network(space: Space | Architecture) -> Architecture:
    """Trial 0."""
    return fill(space, space.default()) if isinstance(space, Space) else space


# --- what the networks cost -------------------------------------------------------------------


def _price(architecture: Architecture, prepared: Prepared) -> Cost:
    data = prepared.data
    shape = {"classes": data.num_classes, "channels": data.channels}
    return cost(architecture, **shape, size=data.size, batch=_batch(architecture))


def _batch(architecture: Architecture) -> int:
    return Recipe.from_mapping(architecture.recipe).batch_size


def _draws(prepared: Prepared) -> list[tuple[Architecture, Cost]]:
    """Candidates by chance that keep to the limits, with their prices."""
    space, found = prepared.space, []
    source = random.Random(prepared.request.seed)
    for _ in range(DRAWN if isinstance(space, Space) else 0):
        assert isinstance(space, Space)
        architecture = fill(space, draw(space, source))
        try:
            price = _price(architecture, prepared)
        except ShapeError:
            continue
        if all(price.limited(name) <= limit for name, limit in space.limits.items()):
            found.append((architecture, price))
    return found


def _typical_ones(draws: Sequence[tuple[Architecture, Cost]], default: Cost) -> list[Architecture]:
    """Drawn networks, small, middling and large by their multiply-adds, beside the default's.

    Networks of one price may differ by a fifth in what they take: a line through several is nearer.
    """
    found, known = list[Architecture](), [default.macs]
    ordered = sorted(draws, key=lambda pair: pair[1].macs)
    for share in QUANTILES if ordered else ():
        network, price = ordered[int(share * len(ordered))]
        if all(abs(price.macs / max(macs, 1) - 1) > ALIKE for macs in known):
            found.append(network)
            known.append(price.macs)
    return found


def _spread(draws: Sequence[tuple[Architecture, Cost]]) -> dict[str, Any]:
    """What candidates by chance are like: how many fit, their mean size, the most memory."""
    prices = [price for _, price in draws]
    return {
        "number": DRAWN,
        "fitting": len(prices),
        "mean_macs": statistics.fmean(price.macs for price in prices) if prices else None,
        "most_memory_bytes": max((price.memory for price in prices), default=None),
    }


# --- what they take ---------------------------------------------------------------------------


def _measure(prepared: Prepared, networks: Sequence[Architecture]) -> pilot.Pilot:
    request = prepared.request
    share = request.gpus_per_trial
    together = request.trials_at_once  # slots that get in each other's way
    if share:
        together = min(together, max(1, int(1 / share + 1e-9)))
    return pilot.measure(
        networks, prepared.data.without_test(), device=here(request.device), slots=together,
        threads=prepared.placement.threads,
        plugins=[read_plugin(Path(name)) for name in request.plugins],
        gpus=gpus_here(here(request.device), prepared.placement.split),
    )  # fmt: skip


def _speed(measured: pilot.Pilot, networks: Sequence[tuple[Cost, int]], data: Any) -> Speed:
    """The line through the measured epochs; with one of them, all of it by multiply-adds."""
    # a hiccup of the machine in the one trial that a pace is of is no trial's own time
    images, trial = len(data.train), min(pace.trial for pace in measured.paces)
    epochs = np.array([pace.epoch for pace in measured.paces])
    costs = np.array([(-(-images // batch), price.macs * images) for price, batch in networks])
    relative = costs / epochs[:, None]  # a share of each epoch is what an error counts as
    step, mac = 0.0, 0.0
    if len(epochs) > 1:
        step, mac = (float(each) for each in np.linalg.lstsq(relative, np.ones(len(epochs)))[0])
    if step <= 0:  # dearer than by its multiply-adds: all of it by them
        step, mac = 0.0, 1 / max(float(relative[:, 1].mean()), 1e-30)
    elif mac < 0:
        step, mac = 1 / float(relative[:, 0].mean()), 0.0
    return Speed(step, mac, trial + DRIVER_SECONDS, images)


def _warning(
    prepared: Prepared, epoch: float, found: Mapping[str, Any], starting: float
) -> str | None:
    """What to say of a budget that holds no search to speak of."""
    request, final = prepared.request, found["final"]
    budget, full = parse_budget(request.budget), _full_epochs(prepared)
    length = found["stages"][0]["epochs"]
    few = found["trials"] < minimum.FEW_TRIALS and found["stopped"] == "budget"
    if not few and final["trainings"] and not final["shortened"]:
        return None
    least = minimum.smallest(
        budget, minimum.Measured(epoch, length, full), slots=request.trials_at_once,
        devices_per_trial=request.gpus_per_trial or 1.0, started=starting,
    )  # fmt: skip
    asked = minimum.advice(budget, least)
    less = f"; the smallest useful one is about {asked}" if asked != budget.text else ""
    return (
        f"the budget of {request.budget} is small for this space and data: a trial of "
        f"{counted(length, 'epoch')} takes about {show_seconds(length * epoch)}, a final training "
        f"of {full} about {show_seconds(full * epoch)}{less}; give a larger one, fewer epochs "
        "(--set recipe.epochs=…), or a space of smaller networks"
    )


def _full_epochs(prepared: Prepared) -> int:
    return Recipe.from_mapping(default_network(prepared.space).recipe).epochs


# --- the search on a virtual clock ------------------------------------------------------------


@dataclass(frozen=True)
class _Rehearsal:
    """A search on the virtual clock, and the virtual second at which its last trial ended."""

    simulation: Simulation
    searched: float

    @property
    def reference(self) -> dict[str, Any] | None:
        return self.simulation.core.table.reference()

    @property
    def ranked(self) -> list[dict[str, Any]]:
        return self.simulation.core.table.ranked()


Rehearse = Callable[[Budget, int | None, int], _Rehearsal]


def _search(
    prepared: Prepared, speed: Speed, starting: float, sizes: Sequence[int]
) -> dict[str, Any]:
    """Trials per stage, the final training, the wall seconds."""
    budget = _per_slot(parse_budget(prepared.request.budget), prepared)
    rehearse = _rehearser(prepared, speed, starting, sizes)
    done, more, jobs = rehearse(budget, MOST_SIMULATED, 0), 1.0, list[finals.Job]()
    if done.simulation.state is None:  # too many: the driver says what share of the budget they are
        share = done.simulation.core.ledger.search_share()
        part = _part(budget, share, starting)
        done = rehearse(part, None, 0)
        whole, held = _book(budget, done, starting), _book(part, done, starting)
        pairs = zip(whole.search_parts(), held.search_parts(), strict=True)
        more = min(large / max(small, 1e-9) for large, small in pairs)
        jobs = finals.forecast(done.ranked, done.reference, whole)
    else:
        done = _typical(done, lambda seed: rehearse(budget, None, seed))
    state, final = done.simulation.state, _final(done)
    assert state is not None
    if more > 1.0:  # of the final training, what the driver would plan under the whole budget
        final = _planned(final, jobs)
    stages = [
        {"name": row["name"], "epochs": row["epochs"], "trials": round(row["trials"] * more)}
        for row in state["stages"]
        if row["name"] != finals.STAGE
    ]
    wall = starting + (done.searched - starting) * more
    wall += final["seconds"]
    if budget.wall_seconds is not None:
        wall = max(min(wall, budget.wall_seconds - CLOSING_SECONDS), min(wall, starting))
    return {
        "stopped": state["stopped"],
        "stages": stages,
        "trials": sum(row["trials"] for row in stages),
        "final": final,
        "wall_seconds": wall + CLOSING_SECONDS + EXPORT_SECONDS,
        "simulated_trials": sum(row["trials"] for row in state["stages"])
        - _final(done)["trainings"],
        "reckoned_times": more,
        "notes": state["notes"] if more == 1.0 else [],
    }


def _typical(done: _Rehearsal, again: Callable[[int], _Rehearsal]) -> _Rehearsal:
    """The middle one of some: whether the best are dear is chance, and decides the reserve."""
    held = max(1, done.simulation.core.ledger.trials)
    more = min(MOST_REHEARSALS, MOST_REHEARSED // held) - 1
    rehearsals = [done, *(again(seed) for seed in range(1, more + 1))]
    rehearsals.sort(key=lambda each: each.simulation.core.ledger.trials)
    return rehearsals[len(rehearsals) // 2]


def _final(done: _Rehearsal) -> dict[str, Any]:
    rows = [r for r in done.simulation.core.table.rows.values() if r["stage"] == finals.STAGE]
    return {
        "trainings": len(rows),
        "candidates": len({row["candidate"] for row in rows}),
        "seeds": max((row["seed_index"] + 1 for row in rows), default=0),
        "epochs": max((row["epochs"] for row in rows), default=0),
        "shortened": any(row["epochs"] < row["full_epochs"] for row in rows),
        "device_seconds": sum(row["device_seconds"] for row in rows),
        "seconds": done.simulation.clock.now - done.searched,
    }


def _planned(final: dict[str, Any], jobs: Sequence[finals.Job]) -> dict[str, Any]:
    more = len(jobs) / max(final["trainings"], 1)
    return {
        "trainings": len(jobs),
        "candidates": len(jobs) // max(1, len({job.seed_index for job in jobs})),
        "seeds": len({job.seed_index for job in jobs}),
        "epochs": max((job.epochs for job in jobs), default=0),
        "shortened": False,
        "device_seconds": final["device_seconds"] * more,
        "seconds": final["seconds"] * more,
    }


def _rehearser(prepared: Prepared, speed: Speed, starting: float, sizes: Sequence[int]) -> Rehearse:
    """Runs the driver under a budget, to its end or until there are `most` trials."""
    request = prepared.request

    def rehearse(budget: Budget, most: int | None, seed: int = 0) -> _Rehearsal:
        last = starting

        def curve(ask: Ask, _: Mapping[str, Any], epoch: int) -> Report:
            nonlocal last
            if ask.stage != finals.STAGE:
                last = simulation.clock.now
            row = simulation.core.table.rows[ask.number]
            size = bisect.bisect(sizes, row["macs"]) / max(len(sizes), 1)
            rate = float(row.get("recipe.lr", default.lr)) / default.lr
            rank = _rank(size, rate, f"{ask.seed} {seed}")
            return {**trained(epoch, rank * (1 - 0.5**epoch)), "seconds": seconds(row)}

        def seconds(row: Mapping[str, Any]) -> float:
            return speed.epoch(row["macs"], int(row.get("recipe.batch_size", default.batch_size)))

        def pace(ask: Ask) -> float:
            own = 0.0 if ask.number in simulation.epochs else speed.trial
            return own + seconds(simulation.core.table.rows[ask.number])

        with tempfile.TemporaryDirectory(prefix="nas-plan-", dir=_fast_folder()) as folder:
            simulation = Simulation(
                prepared.space, curve, budget=budget.text, folder=Path(folder) / "run",
                gpus=request.trials_at_once, seed=request.seed, strategy="random",
                epoch_seconds=pace, interval=interval,
                price=lambda network: _price(network, prepared),
            )  # fmt: skip
            simulation.clock.now = starting
            simulation.go(lambda s: most is not None and s.core.ledger.trials >= most)
        return _Rehearsal(simulation, last)

    first = default_network(prepared.space)
    default = Recipe.from_mapping(first.recipe)
    # a worker's second, but for long epochs, whose pauses would be all that is simulated
    epoch = speed.epoch(_price(first, prepared).macs, default.batch_size)
    interval = max(PAUSE_SECONDS, epoch / PAUSES)
    return rehearse


def _rank(size: float, rate: float, seed: str) -> float:
    """How good a simulated trial is: its size among the drawn ones and its learning rate over the
    default's speak for it, as far as they do in real searches."""
    chance = random.Random(seed).gauss(0.0, CHANCE)
    rank = MIDDLE + SIZE * (size - 0.5) - RATE * abs(math.log10(rate)) + chance
    return min(max(rank, 0.01), 1.0)


def _fast_folder() -> str | None:
    """The rehearsal's run folder is flushed to disk with every trial: in memory, where there is."""
    return MEMORY if os.access(MEMORY, os.W_OK) else None


def _per_slot(budget: Budget, prepared: Prepared) -> Budget:
    """The same for slots of a whole device each."""
    devices = prepared.request.gpus_per_trial or 1.0
    if budget.device_seconds is None:
        return budget
    return _written(replace(budget, device_seconds=budget.device_seconds / devices))


def _part(budget: Budget, share: float, starting: float) -> Budget:
    """A budget that holds `share` of the trials."""
    wall, trials, epochs = budget.wall_seconds, budget.trials, budget.epochs
    return _written(
        replace(
            budget,
            wall_seconds=None if wall is None else starting + (wall - starting) * share,
            device_seconds=None if budget.device_seconds is None else budget.device_seconds * share,
            trials=None if trials is None else max(1, round(trials * share)),
            epochs=None if epochs is None else max(1, round(epochs * share)),
        )
    )


def _written(budget: Budget) -> Budget:
    parts = (
        (budget.wall_seconds, 1.0, "s"), (budget.device_seconds, 3600.0, "gpu-h"),
        (budget.trials, 1.0, "trials"), (budget.epochs, 1.0, "epochs"),
    )  # fmt: skip
    text = (
        f"{bound / unit:.12f}".rstrip("0").rstrip(".") + name
        for bound, unit, name in parts
        if bound is not None
    )
    return replace(budget, text=",".join(text))


def _book(budget: Budget, done: _Rehearsal, starting: float) -> Ledger:
    """A ledger at the search's beginning, with the reserve by the driver's own rule."""
    core = done.simulation.core
    book = Ledger(
        budget, slots=done.simulation.slots, devices_per_trial=1.0, clock=lambda: starting,
        started=0.0,
    )  # fmt: skip
    book.begin_search()
    rows = [row for row in core.table.rows.values() if row["stage"] != finals.STAGE]
    if budget.trials is not None and not book.timed:  # finals are judged by the search's epochs
        share = budget.trials / max(core.ledger.trials, 1)
        book.epochs = round(share * sum(row["epoch"] for row in rows))
    book.reserve([job.cost for job in finals.forecast(done.ranked, done.reference, book)])
    return book

"""The smallest budget that gives a searched, finally trained network: what to say of less.

It holds the start of the workers, trial 0 and a few candidates as long as the coarse stage trains
them, and trial 0 and one candidate trained in full; the reserve takes at most its share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..units import Budget, show_seconds
from . import stages
from .ledger import CLOSING_SECONDS, OVERHEAD_SECONDS, RESERVE_LEAST, SAFETY, Ledger

STARTING_SECONDS = 8.0  # Ray and its workers, with torch in them: 5 to 8 s on two cores
FEW_TRIALS = 4  # trial 0 among them, below which a budget is called small
DEARER = 2.0  # than trial 0: what the candidate that is trained in full may cost
CAUTION = 1.25  # machines are noisy,
START_CAUTION = 1.6  # and most of all in starts: 12 to 40 s on one that others use too
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Measured:
    """What is known of trial 0.

    epoch_seconds  of an epoch on its slot
    coarse_epochs  of its training in the coarse stage
    full_epochs    of its final training
    """

    epoch_seconds: float
    coarse_epochs: int
    full_epochs: int

    @classmethod
    def of(cls, reference: Mapping[str, Any], epoch_seconds: float | None) -> Measured:
        """By trial 0's row."""
        return cls(epoch_seconds or 0.0, reference["epochs"], reference["full_epochs"])


def few_trials(ledger: Ledger, reference: Mapping[str, Any]) -> str | None:
    """What to say after trial 0's first epoch where the budget holds few of its like."""
    seconds, epochs = reference["epoch_seconds"], reference["epochs"]
    left, trials = ledger.search_slot_seconds(), ledger.budget.trials
    needed = FEW_TRIALS * (OVERHEAD_SECONDS + seconds * epochs)
    if (left is None or left >= needed) and (trials is None or trials >= FEW_TRIALS):
        return None
    return (
        f"the budget of {ledger.budget.text} is small for this space and data: an epoch of its "
        f"default network takes {show_seconds(seconds)}, a trial has up to {epochs}"
        f"{enough(ledger, Measured.of(reference, seconds))}"
    )


def enough(ledger: Ledger, measured: Measured, started: float | None = None) -> str:
    """The clause that names the smallest useful budget, once in a search.

    started  as of `smallest`
    """
    if ledger.advised:
        return ""
    ledger.advised = True
    asked = _asked(ledger, measured, ledger.starting_seconds if started is None else started)
    if asked == ledger.budget.text:
        return "; give a larger one, or fewer epochs (--set recipe.epochs=…)"
    said = f"; the smallest useful budget is about {asked}"
    if not ledger.timed:  # trials alone are as many whatever they take
        return said
    return f"{said} (less with --set recipe.epochs=…, or a space of smaller networks)"


def nothing_more(ledger: Ledger, reference: Mapping[str, Any]) -> str:
    """What to say of a session that trained no epoch, since earlier ones had spent so much."""
    measured = Measured.of(reference, reference["epoch_seconds"])
    said = f"the budget of {ledger.budget.text} held no more training"
    if ledger.budget.wall_seconds is not None:
        spent, start = show_seconds(ledger.spent_before), show_seconds(ledger.start)
        said += f": {spent} were spent before, and this start took {start}"
    if ledger.advised:
        return said
    ledger.advised = True
    asked = advice(ledger.budget, ledger.beyond(_least(ledger, measured, ledger.start)))
    return f"{said}; the smallest one that is of use is about {asked}"


def at_least(ledger: Ledger, measured: Measured) -> str:
    """What to give where an epoch takes longer than is known."""
    asked = _asked(ledger, measured, ledger.starting_seconds)
    return "a much larger one" if asked == ledger.budget.text else f"at least {asked}"


def _asked(ledger: Ledger, measured: Measured, started: float) -> str:
    return advice(ledger.budget, _least(ledger, measured, started))


def _least(ledger: Ledger, measured: Measured, started: float) -> Budget:
    return smallest(
        ledger.budget, measured, slots=ledger.slots, devices_per_trial=ledger.devices_per_trial,
        started=started,
    )  # fmt: skip


def smallest(
    budget: Budget, measured: Measured, *, slots: int, devices_per_trial: float, started: float = 0
) -> Budget:
    """The least bound of each kind that `budget` has. `started`: wall seconds gone at the start
    of the first trial, where they were more than usual."""
    epoch = measured.epoch_seconds
    # not what a budget that is too small has shortened it to: one that is enough does not
    coarse = max(measured.coarse_epochs, stages.coarse(()).epochs(measured.full_epochs))
    trial = OVERHEAD_SECONDS + epoch * coarse
    final = OVERHEAD_SECONDS + epoch * measured.full_epochs
    search = trial * (1 + (FEW_TRIALS - 1) * DEARER)
    at_once = min(slots, FEW_TRIALS)
    kept = final * SAFETY * (DEARER if slots > 1 else 1 + DEARER)
    wall = _with_reserve(search / at_once, kept)
    start = max(STARTING_SECONDS, started)
    wall = CAUTION * wall + START_CAUTION * start + CLOSING_SECONDS
    device = _with_reserve(search, final * SAFETY * (1 + DEARER)) * devices_per_trial
    epochs = _with_reserve(FEW_TRIALS * coarse, 2 * measured.full_epochs)
    return Budget(
        "",
        wall_seconds=None if budget.wall_seconds is None else wall,
        device_seconds=None if budget.device_seconds is None else CAUTION * device,
        trials=None if budget.trials is None else FEW_TRIALS,
        epochs=None if budget.epochs is None else math.ceil(epochs),
    )


def advice(budget: Budget, least: Budget) -> str:
    """`least` as it may be typed, in the units of `budget`: "90s", "0.02gpu-h,48 epochs".

    A bound of `budget` that is large enough stays as it is.
    """
    told = []
    for part in budget.text.split(","):
        number, unit = _split(part)
        if unit in UNITS:
            needed = (least.wall_seconds or 0.0) / UNITS[unit]
        elif unit.endswith("-h"):
            needed = (least.device_seconds or 0.0) / 3600
        else:
            needed = float((least.trials if unit.startswith("trial") else least.epochs) or 0)
        gap = " " if unit.startswith(("trial", "epoch")) else ""
        larger = f"{_rounded_up(needed, unit)}{gap}{unit}"
        told.append(part.strip() if number >= needed else larger)
    return ",".join(told)


def _with_reserve(search: float, final: float) -> float:
    """What holds both, the final training being at most RESERVE_LEAST of it."""
    return max(search + final, final / RESERVE_LEAST)


def _split(part: str) -> tuple[float, str]:
    text = part.strip()
    digits = len(text) - len(text.lstrip("0123456789."))
    return float(text[:digits]), text[digits:].strip()


def _rounded_up(number: float, unit: str) -> str:
    """To two digits, upwards; counts to the next whole one."""
    if unit in ("s", "trial", "trials", "epoch", "epochs") and number < 100:
        return str(math.ceil(number))
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    return f"{math.ceil(number / step - 1e-9) * step:.10g}"

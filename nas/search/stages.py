"""Coarse to fine: what a stage is, and how its ranges follow from the one before.

The coarse stage looks at the whole ranges with a few epochs a trial. A fine stage looks at what
the best trials had in common: the options and sizes they chose, and recipe ranges round them,
widened past an edge where the best trial lies on it, with longer training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..registry import RECIPE
from ..space import Decisions, Hole, Value
from .rungs import Rungs

COARSE_FRACTION, FINE_FRACTION, FINER_FRACTION = 1 / 6, 1 / 3, 2 / 3
COARSE_UNTIL, FINE_UNTIL = 0.5, 0.8
WANTED = 20  # coarse trials, before their length is more worth than their number
SPLIT_FINE_FROM = 16  # trials forecast for the fine part, from which it is worth two stages
LEAST_ELITE, MOST_ELITE = 4, 12  # trials that the next stage's ranges are drawn round
PAD = 0.1  # of a range, added on both sides of what the best trials span
WIDEST, NARROWEST = 1 / 2, 1 / 3  # of a range, what its successor spans at most, at least
EDGE = 0.05  # of a range: nearer to its end counts as lying on it
WIDEN = 0.25  # of a range, how far past the edge its successor reaches


@dataclass(frozen=True)
class Stage:
    """A part of the search with its own study.

    fraction  of a trial's `recipe.epochs` that it trains here
    until     share of the search's budget at which the next stage begins
    domain    the holes with the ranges of this stage, by name
    """

    name: str
    fraction: float
    until: float
    domain: Mapping[str, Hole]

    def epochs(self, full: int) -> int:
        """The length of a trial here whose final training takes `full` epochs."""
        return max(1, round(full * self.fraction))

    def ranges(self) -> dict[str, list[float]]:
        """[low, high] of every log-uniform hole."""
        holes = (hole for hole in self.domain.values() if _logarithmic(hole))
        return {hole.name: [float(hole.low), float(hole.high)] for hole in holes}

    def record(self) -> dict[str, object]:
        """As plain values, for the study's attributes."""
        domain = {
            hole.name: list(hole.options) if hole.kind == "choice" else [hole.low, hole.high]
            for hole in self.domain.values()
        }
        return {
            "name": self.name, "fraction": self.fraction, "until": self.until, "domain": domain,
        }  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, object], holes: Sequence[Hole]) -> Stage:
        """The inverse of `record`, over the holes of the space."""
        written = record["domain"]
        assert isinstance(written, Mapping)
        domain = {}
        for hole in holes:
            values = written[hole.name]
            if hole.kind == "choice":
                domain[hole.name] = replace(hole, options=tuple(values))
            else:
                domain[hole.name] = replace(hole, low=values[0], high=values[1])
        fraction, until = record["fraction"], record["until"]
        assert isinstance(fraction, float) and isinstance(until, float)
        return cls(str(record["name"]), fraction, until, domain)


def coarse(holes: Sequence[Hole]) -> Stage:
    """The first stage: every hole over its whole range."""
    return Stage("coarse", COARSE_FRACTION, COARSE_UNTIL, {hole.name: hole for hole in holes})


def shortened(stage: Stage, full: int, epochs_left: float, wanted: int = WANTED) -> Stage:
    """The coarse stage with shorter trials, where `epochs_left` for the search hold too few.

    What ten trials of 5 epochs tell of a space is less than what twenty of 2 do. No shorter than
    one epoch; `full`: epochs of trial 0's final training, which stay as they are.
    """
    length, held = stage.epochs(full), epochs_left * stage.until
    while length > 1 and held / Rungs.average(length) < wanted:
        length -= 1
    return stage if length == stage.epochs(full) else replace(stage, fraction=length / full)


def fine(previous: Stage, best: Sequence[Decisions], forecast: float) -> Stage:
    """The stage after `previous`, round its `best` decisions (best first).

    `forecast`: trials that the rest of the search's budget is expected to hold.
    """
    number = 1 if previous.name == "coarse" else int(previous.name.removeprefix("fine-")) + 1
    split = number == 1 and forecast >= SPLIT_FINE_FROM
    return Stage(
        f"fine-{number}",
        FINE_FRACTION if number == 1 else FINER_FRACTION,
        FINE_UNTIL if split else 1.0,
        {name: narrow(hole, best) for name, hole in previous.domain.items()},
    )


def narrow(hole: Hole, best: Sequence[Decisions]) -> Hole:
    """The hole with the range that the best decisions (best first) leave of it.

    A hole that none of them opened stays as it is.
    """
    values = [decisions[hole.name] for decisions in best if hole.name in decisions]
    if not values:
        return hole
    if hole.kind == "choice":
        kept = tuple(option for option in hole.options if option in values)
        return replace(hole, options=kept or hole.options)
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    if hole.kind == "int":
        return _narrow_int(hole, numbers)
    if hole.step is not None:
        return replace(hole, low=min(numbers), high=max(numbers))
    if _logarithmic(hole):
        low, high = _window(math.log(hole.low), math.log(hole.high), [math.log(n) for n in numbers])
        low, high = math.exp(low), math.exp(high)
    else:
        low, high = _window(float(hole.low), float(hole.high), numbers)
    return replace(hole, low=_legal(hole, low, hole.low), high=_legal(hole, high, hole.high))


def inside(domain: Mapping[str, Hole], decisions: Mapping[str, Value]) -> bool:
    """Whether every decision lies in its hole's range."""
    for name, value in decisions.items():
        hole = domain.get(name)
        if hole is None:
            return False
        if hole.kind == "choice":
            if not any(value is option or value == option for option in hole.options):
                return False
        elif not isinstance(value, int | float) or not hole.low <= value <= hole.high:
            return False
    return True


def _logarithmic(hole: Hole) -> bool:
    return hole.kind == "log"


def _narrow_int(hole: Hole, numbers: Sequence[float]) -> Hole:
    step = int(hole.step or 1)
    low = max(int(hole.low), int(min(numbers)) - step)
    high = min(int(hole.high), int(max(numbers)) + step)
    return replace(hole, low=low, high=high)


def _window(low: float, high: float, numbers: Sequence[float]) -> tuple[float, float]:
    """The new [low, high] on a linear scale; the first number is the best trial's."""
    width, best = high - low, numbers[0]
    if width <= 0:
        return low, high
    new_low, new_high = min(numbers) - PAD * width, max(numbers) + PAD * width
    span = min(max(new_high - new_low, NARROWEST * width), WIDEST * width)
    middle = min(max((new_low + new_high) / 2, best - span / 2), best + span / 2)
    new_low = min(max(middle - span / 2, low), high - span)
    new_high = new_low + span
    if best - low < EDGE * width:
        new_low = low - WIDEN * width
    if high - best < EDGE * width:
        new_high = high + WIDEN * width
    return new_low, new_high


def _legal(hole: Hole, value: float, edge: float) -> float:
    """`value`, or the old edge where the recipe forbids to go past it."""
    section, _, key = hole.name.partition(".")
    outside = not hole.low <= value <= hole.high
    if outside and (section != "recipe" or key not in RECIPE or RECIPE.get(key).fault(value)):
        return float(edge)
    return float(f"{value:.6g}") if hole.low < value < hole.high or outside else float(value)

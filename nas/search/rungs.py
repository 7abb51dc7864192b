"""Asynchronous successive halving (Li et al. 2018, "Massively Parallel Hyperparameter Tuning").

A trial that reaches a rung goes on when its value is among the best third of those that have
reached it. Nothing waits. Values are kept per stage, and rebuilt from the study on resume.
NaN never passes.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping

ETA = 3


class Rungs:
    """The rungs of one stage: epoch -> values seen there, ascending."""

    def __init__(self) -> None:
        self._values: dict[int, list[float]] = {}

    @staticmethod
    def at(epochs: int) -> tuple[int, ...]:
        """The rungs of a trial of that length: 1, 3, 9, … up to a third of it.

        A later one would save little, and tell nothing that the end does not.
        """
        rungs = []
        rung = 1
        while rung * ETA <= epochs:
            rungs.append(rung)
            rung *= ETA
        return tuple(rungs)

    @staticmethod
    def average(epochs: int) -> float:
        """Epochs of a trial of that length on average, one in ETA passing each rung."""
        total, share, before = 0.0, 1.0, 0
        for stop in (*Rungs.at(epochs), epochs):
            total += share * (stop - before)
            share, before = share / ETA, stop
        return total

    def record(self, epoch: int, value: float) -> None:
        """Remember a value that was reached at a rung."""
        if math.isfinite(value):
            bisect.insort(self._values.setdefault(epoch, []), value)

    def passes(self, epoch: int, value: float) -> bool:
        """Record `value` at the rung `epoch`; whether its trial may go on."""
        if not math.isfinite(value):
            return False
        self.record(epoch, value)
        values = self._values[epoch]
        kept = math.ceil(len(values) / ETA)
        return value >= values[-kept]


class Ladders:
    """The rungs of every stage."""

    def __init__(self) -> None:
        self._stages: dict[str, Rungs] = {}

    def of(self, stage: str) -> Rungs:
        return self._stages.setdefault(stage, Rungs())

    def take_up(self, stage: str, epochs: int, values: Mapping[int, float]) -> None:
        """Remember a trial of an earlier session, of that length, by its values."""
        for epoch in Rungs.at(epochs):
            if epoch in values:
                self.of(stage).record(epoch, values[epoch])

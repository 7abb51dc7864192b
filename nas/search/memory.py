"""What is learned of the device's memory: which candidates will not fit into it.

The price of a network predicts what its training takes. The prediction leaves out a library's
workspace and the allocator's gaps, and a device may be shared: measured peaks and the candidates
that ran out of memory put it right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .study import Record

MARGIN = 0.95  # of a prediction that did not fit, from which others are refused
# A candidate predicted to take less than this share of the memory ran out of it by a fault of its
# own (a leak, an operator without bounds), and says nothing of others.
OWN_FAULT = 1 / 64
LEAST_MEASURED = 3  # peaks, before predictions are corrected by them


class Memory:
    """Bounds on the predicted memory of candidates. `limit`: bytes of a trial's device."""

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._predicted: dict[int, float] = {}  # by the number of a trial that has not ended
        self._measured = self._guessed = 0.0  # bytes, summed over the same trainings
        self._peaks = 0  # how many
        self._fitted = 0.0  # the largest prediction whose training went through an epoch
        self._burst: list[float] = []  # predictions that did not fit

    def know(self, record: Record) -> None:
        """Take up a trial of an earlier session."""
        assert record.number is not None
        self.begin(record.number, record.plan)
        if record.cause is not None:
            self.end(record.number, record.cause, record.epoch, record.peak_memory)

    def begin(self, number: int, plan: Mapping[str, Any]) -> None:
        """A trial that is about to be trained, or is."""
        if plan.get("memory"):
            self._predicted[number] = float(plan["memory"])

    def end(self, number: int, cause: str, epoch: int, peak: float | None) -> None:
        """How it ended; `peak`: bytes it took on its device, None where not measured."""
        predicted = self._predicted.pop(number, None)
        if predicted is None:
            return
        if cause == "out_of_memory":
            if self._limit is None or predicted >= OWN_FAULT * self._limit:
                self._burst.append(predicted)
        elif epoch:
            self._fitted = max(self._fitted, predicted)
            if peak:
                self._peaks += 1
                self._measured += peak
                self._guessed += predicted

    @property
    def factor(self) -> float:
        """Measured over predicted memory, by the large ones most; 1 before there are enough."""
        return self._measured / self._guessed if self._peaks >= LEAST_MEASURED else 1.0

    def excess(self, predicted: float) -> float:
        """log(predicted / bound): above 0 it will not fit."""
        bound = self.bound()
        return -math.inf if bound is None else math.log(max(predicted, 1.0) / bound)

    def bound(self) -> float | None:
        """The most predicted memory that is worth a device; None: anything.

        A candidate that burst below what others fitted into was unlucky in its neighbours: that
        is no bound.
        """
        tried = max([self._fitted, *self._predicted.values()])  # or being tried: it may well fit
        bounds = [MARGIN * burst for burst in self._burst if MARGIN * burst > tried]
        if self._limit is not None:
            bounds.append(max(self._limit / self.factor, self._fitted))
        return min(bounds, default=None)

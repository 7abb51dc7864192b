"""The explosion guard: ends a training whose loss runs away, in the middle of an epoch.

A run that explodes never comes back to a useful accuracy, and the sooner it ends the more
candidates the budget reads. The measure is the smoothed training loss over the loss under the
initial weights. A single batch over the bound is no reason to stop: runs that end well have them.
"""

from __future__ import annotations

import math
from typing import Any

from .smoothing import ExponentialMean

BOUND = 3.0  # times the initial loss
FACTOR = 0.9  # of the exponential mean: a jump to 5x is caught within 10 steps, 3.01x within 60
INITIAL_BATCHES = 4
# A loss this small is a solved task (weights handed over from another training): three times
# it would still be one, so a smaller initial loss counts as this one. Also keeps 0 off the divisor.
SMALLEST_INITIAL = 1e-3


class Guard:
    """Sees the initial loss, then the loss of every step, and says when to stop.

    `initial` is the mean loss under the initial weights; NaN or infinite: stop at once.
    """

    def __init__(self, initial: float) -> None:
        self.initial = initial
        self._mean = ExponentialMean(FACTOR)

    def verdict(self) -> str | None:
        """None, "exploded" or "nan", by what has been seen so far."""
        if not math.isfinite(self.initial):
            return "nan"
        ratio = self.ratio
        if ratio is None:
            return None
        if not math.isfinite(ratio):
            return "nan"
        return "exploded" if ratio > BOUND else None

    def see(self, loss: float) -> str | None:
        """Take the loss of one step in; the verdict after it."""
        self._mean.add(loss)
        return self.verdict()

    @property
    def ratio(self) -> float | None:
        """Smoothed training loss over the initial loss; None before the first step."""
        if not math.isfinite(self.initial):
            return math.nan
        if self._mean.empty:
            return None
        return self._mean.value / max(self.initial, SMALLEST_INITIAL)

    def state(self) -> dict[str, Any]:
        return {"initial": self.initial, "mean": self._mean.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Guard:
        guard = cls(state["initial"])
        guard._mean.load_state(state["mean"])
        return guard


def violation(ratio: float | None) -> float:
    """By how much a stopped trial broke the bound, as a sampler's constraint (above 0: broken).

    log(ratio / 3), held within [0.1, 10]; 1.0 where the ratio is NaN or unknown, since a sampler
    takes no NaN.
    """
    if ratio is None or math.isnan(ratio):
        return 1.0
    if ratio <= BOUND:
        return 0.1
    return min(max(math.log(ratio / BOUND), 0.1), 10.0)

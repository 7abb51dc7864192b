"""Early stopping: patience on the smoothed validation accuracy (a raw one fluctuates)."""

from __future__ import annotations

import math
from typing import Any

from .smoothing import ExponentialMean

# One image in ten thousand. Without it, a mean that creeps up to a flat accuracy (half the way
# nearer at every epoch) would count as better for another thirty epochs.
LEAST_GAIN = 1e-4


class EarlyStopper:
    """Says when `patience` epochs in a row brought no better smoothed accuracy (0: never)."""

    def __init__(self, patience: int, smoothing: float) -> None:
        self.patience = patience
        self.best = math.nan
        self._mean = ExponentialMean(smoothing)
        self._mark = -math.inf
        self._waited = 0

    @property
    def smoothed(self) -> float:
        """The smoothed accuracy; NaN before the first epoch."""
        return self._mean.value

    def see(self, accuracy: float) -> bool:
        """Take an epoch's validation accuracy in; True where patience has run out."""
        smoothed = self._mean.add(accuracy)
        self.best = smoothed if math.isnan(self.best) else max(self.best, smoothed)
        if smoothed >= self._mark + LEAST_GAIN:
            self._mark, self._waited = smoothed, 0
        else:
            self._waited += 1
        return 0 < self.patience <= self._waited

    def state(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "mark": self._mark,
            "waited": self._waited,
            "mean": self._mean.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.best, self._mark, self._waited = state["best"], state["mark"], state["waited"]
        self._mean.load_state(state["mean"])

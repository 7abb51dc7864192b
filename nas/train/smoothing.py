"""The exponential mean that the guard and the early stopper share."""

from __future__ import annotations


class ExponentialMean:
    """Exponential mean with bias correction (Kingma & Ba 2015, section 3).

    After n values v the mean is sum(f^(n-i) v_i) / sum(f^(n-i)), so that the first mean is the
    first value and not a tenth of it.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        """Take `value` in; the mean that results."""
        self._sum = self.factor * self._sum + value
        self._weight = self.factor * self._weight + 1.0
        return self.value

    @property
    def empty(self) -> bool:
        """Nothing taken in yet."""
        return not self._weight

    @property
    def value(self) -> float:
        """The mean so far; NaN before the first value."""
        return self._sum / self._weight if self._weight else float("nan")

    def state(self) -> dict[str, float]:
        return {"sum": self._sum, "weight": self._weight}

    def load_state(self, state: dict[str, float]) -> None:
        self._sum, self._weight = state["sum"], state["weight"]

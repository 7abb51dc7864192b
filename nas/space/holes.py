"""A hole: a name, a domain, a default. Plain data, so that every sampler can read it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

from ..errors import SpaceError, hint
from .document import Value

Kind = Literal["choice", "int", "float", "log"]


@dataclass(frozen=True)
class Hole:
    """One decision of a space.

    name     its path through keys and row names: `network.stage1.op`
    kind     "choice" (of `options`), "int", "float", "log" (a float on a logarithmic range)
    default  what the textbook network has there
    line     of the space's file, from 1
    options  of a choice: scalars, or the names of options that are mappings
    low, high  of the others, both ends included
    step     the grid from `low` on; always set for an int, None for a continuous range
    log      sampled on a logarithmic scale (always for kind "log")
    """

    name: str
    kind: Kind
    default: Value
    line: int
    options: tuple[Value, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    def admit(self, value: object) -> Value:
        """The value as this hole writes it (a float for a float range, on its grid).

        Raises SpaceError where it lies outside of the domain.
        """
        if self.kind == "choice":
            for option in self.options:
                if option is value or same(option, value):
                    return option
        elif self.kind == "int":
            if type(value) is int and self._on_grid(value):
                return value
        elif isinstance(value, float | int) and not isinstance(value, bool):
            point = self._point(value)
            if point is not None:
                return point
        raise SpaceError(
            f"{self.name} cannot be {quoted(value)}; it is {self.domain()}{self._near(value)}"
        )

    def _on_grid(self, value: int) -> bool:
        in_range = self.low <= value <= self.high
        return in_range and (value - int(self.low)) % int(self.step or 1) == 0

    def _point(self, value: float) -> float | None:
        """The float of this range that is meant, None outside."""
        if not self.low <= value <= self.high:
            return None
        if self.step is None:
            return float(value)
        point = self.at(round((value - self.low) / self.step))
        assert isinstance(point, float)
        return point if math.isclose(point, value, rel_tol=1e-9, abs_tol=1e-9) else None

    def points(self) -> int | None:
        """How many values it can take; None: a continuum."""
        if self.kind == "choice":
            return len(self.options)
        if self.low == self.high:
            return 1
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def at(self, index: int) -> Value:
        """Its value number `index`, from 0, where they can be counted."""
        if self.kind == "choice":
            return self.options[index]
        if self.kind == "int":
            return int(self.low) + index * int(self.step or 1)
        # 0.1 + 2 * 0.1 is 0.30000000000000004: people shall read 0.3.
        return float(f"{self.low + index * (self.step or 0.0):.12g}")

    def draw(self, rng: random.Random) -> Value:
        """A value at random, uniform (on the logarithmic scale where `log` is set)."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            value = min(max(value, self.low), self.high)
            return round(value) if self.kind == "int" else value
        count = self.points()
        if count is None:
            return rng.uniform(self.low, self.high)
        return self.at(rng.randrange(count))

    def other(self, value: Value, rng: random.Random) -> Value:
        """A value at random that is not `value`. Only for holes of more than one point."""
        count = self.points()
        assert count is None or count > 1, "a hole of one point has no other value"
        if count is not None and not self.log:
            index = next(k for k in range(count) if same(self.at(k), value))
            return self.at((index + rng.randrange(1, count)) % count)
        while True:
            drawn = self.draw(rng)
            if drawn != value:
                return drawn

    def domain(self) -> str:
        """What it may be, in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(show(option) for option in self.options)
        kind = "a whole number" if self.kind == "int" else "a number"
        grid = f" in steps of {self.step:g}" if self.step not in (None, 1) else ""
        return f"{kind} from {show(self.low)} to {show(self.high)}{grid}"

    def _near(self, value: object) -> str:
        words = [option for option in self.options if isinstance(option, str)]
        near = hint(value, words) if isinstance(value, str) and words else ""
        return near if "did you mean" in near else ""


def same(a: object, b: object) -> bool:
    """Equal as values of a file: 1 and 1.0 are, 1 and true are not."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def show(value: object) -> str:
    """A value as a file would have it: `true`, `null`, `relu`, `0.1`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def quoted(value: object) -> str:
    """A value that stands in a file, for a sentence about it: `show`, text in quotes."""
    return repr(value) if isinstance(value, str) else show(value)


def middle(low: float, high: float, step: float | None) -> float:
    """The default of a range: its middle, rounded down to the grid."""
    if step is None:
        return low + (high - low) / 2
    return low + step * math.floor((high - low) / step / 2 + 1e-9)


def geometric_middle(low: float, high: float) -> float:
    """The default of a logarithmic range, to 3 significant digits."""
    rounded = float(f"{math.sqrt(low) * math.sqrt(high):.3g}")
    return min(max(rounded, low), high)

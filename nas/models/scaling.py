"""Compound scaling (EfficientNet: Tan and Le 2019): a file's `scaling` applied to its rows.

Depth multiplies the rows that state `repeat`, and a dense block's `layers`, rounded up: the paper's
layers of a stage. Of repeated rows within repeated `rows` only the inner ones are multiplied, of a
repeated row with `branches` (a cell) only its own repeat: depth counts once.
Width multiplies absolute channels (inner widths and a dense block's growth too), to multiples of 8
and never below 90 %; relative ones follow by themselves, the classifier stays. Where `groups` have
to divide a width, it is rounded to their multiples (see `divisors.py`).
Resolution is the side of the image that the file assumes, in pixels; real data override it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import ShapeError
from ..space import Architecture
from .divisors import At, Row, divisors, inner_divisor, inner_lists, with_defaults
from .tally import Misfit

PAPER = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}  # section 3.3: found by a grid at phi = 1
CLASSIFIERS = frozenset({"linear", "dropconnect", "rbf"})  # where a row states no channels
LARGEST_FACTOR = 1000.0
MOST_REPEATS = 1000  # as of a `repeat` itself
LEAST = 0.9  # of a scaled width that rounding leaves (EfficientNet's released code)
JUMP = 0.1  # how far above it multiples of 8 and of the groups may lie
GROWTH_WITHIN = 0.1  # the paper's own come to 1.92 for 2


@dataclass(frozen=True)
class Factors:
    """What `scaling` comes to: two multipliers, and the image's side in pixels or None."""

    depth: float = 1.0
    width: float = 1.0
    resolution: int | None = None


def scaled_by(architecture: Architecture, size: int | None = None) -> Factors:
    """What the file's `scaling` comes to, on images of `size` pixels where that is known.

    Raises ShapeError, with the section's file:line.
    """
    try:
        return factors(architecture.scaling, size)
    except Misfit as misfit:
        raise ShapeError(f"scaling: {misfit}", architecture.section_where("scaling")) from misfit


def factors(scaling: Mapping[str, Any] | None, size: int | None) -> Factors:
    """`{phi, alpha, beta, gamma, growth}` or `{depth, width, resolution}` to Factors.

    With phi: depth alpha**phi, width beta**phi, resolution `size` · gamma**phi; the paper's
    alpha, beta, gamma (1.2, 1.1, 1.15) where one is left out. `growth`, where stated, is what the
    multiply-adds grow by for each phi, so that alpha · beta² · gamma² must come near it (Eq. 3).
    Raises Misfit.
    """
    if not scaling:
        return Factors()
    if "phi" not in scaling:
        return Factors(
            scaling.get("depth", 1.0), scaling.get("width", 1.0), scaling.get("resolution")
        )
    phi, growth = scaling["phi"], scaling.get("growth")
    alpha, beta, gamma = (scaling.get(key, PAPER[key]) for key in PAPER)
    found = alpha * beta**2 * gamma**2
    if growth is not None and abs(found - growth) > GROWTH_WITHIN:
        raise Misfit(
            f"alpha · beta² · gamma² is {found:.3f}, and must be within {GROWTH_WITHIN} of growth "
            f"{growth:g}: {'lower' if found > growth else 'raise'} alpha, beta or gamma"
        )
    side = None if size is None else size * _power(gamma, phi)
    if side is not None and round(side) < 1:
        raise Misfit(
            f"gamma {gamma:g} ** phi {phi:g} brings images of {size} pixels to {side:.2g}, under "
            "one pixel: raise gamma, or lower phi"
        )
    return Factors(_power(alpha, phi), _power(beta, phi), None if side is None else round(side))


def _power(base: float, phi: float) -> float:
    """base ** phi. Raises Misfit where that is out of all proportion."""
    try:
        power = float(base**phi)
    except OverflowError:
        power = math.inf
    if power > LARGEST_FACTOR:
        raise Misfit(
            f"{base:g} ** phi {phi:g} is over {LARGEST_FACTOR:g} times: lower phi, which the paper "
            "takes up to 7"
        )
    return power


class Later(NamedTuple):
    """Channels that hang on the row's input, and what must divide them; 0: the input's channels."""

    channels: int | str
    divisor: int


class ScaledRows(NamedTuple):
    """The network's rows by a scaling.

    divisors  of rows whose channels hang on their input, what must divide them: see Later
    """

    rows: list[dict[str, Any]]
    divisors: dict[At, int]


def scale_rows(architecture: Architecture, by: Factors) -> ScaledRows:
    """The network's rows with repeats and absolute channels multiplied.

    Raises ShapeError for more repetitions than a row may have.
    """
    network = architecture.network
    head, found = _head(network), None
    if by.depth != 1 or by.width != 1:
        found = divisors(network, architecture.defaults, head)
    scaling = _Scaling(architecture, by, found, head)
    return ScaledRows(scaling.rows(network, (), by.depth), scaling.later)


class _Scaling:
    """Goes through the rows; `later` is filled on the way."""

    def __init__(
        self, architecture: Architecture, by: Factors, found: dict[At, int] | None, head: Row | None
    ) -> None:
        self._architecture, self._by = architecture, by
        self._divisors, self._head = found, head
        self.later: dict[At, int] = {}

    def rows(self, rows: Sequence[Row], before: At, depth: float) -> list[dict[str, Any]]:
        places = [(*before, index) for index in range(len(rows))]
        return [self._row(row, at, depth) for row, at in zip(rows, places, strict=True)]

    def _row(self, row: Row, at: At, depth: float) -> dict[str, Any]:
        if row is self._head:
            return dict(row)
        scaled = dict(row)
        if "repeat" in row and not ("rows" in row and deepens(row["rows"])):
            scaled["repeat"], depth = self._repeated(row, "repeat", at, depth), 1.0
        if "layers" in row:
            scaled["layers"] = self._repeated(row, "layers", at, depth)
        if self._divisors is not None:
            self._widen(scaled, at, self._divisors[at])
        for more, rows in inner_lists(row):
            made = self.rows(rows, (*at, *more), depth)
            if more:
                scaled["branches"] = [*scaled["branches"][: more[0]], made,
                                      *scaled["branches"][more[0] + 1 :]]  # fmt: skip
            else:
                scaled["rows"] = made
        return scaled

    def _repeated(self, row: Row, key: str, at: At, depth: float) -> int:
        try:
            return scale_repeat(row[key], depth)
        except Misfit as misfit:
            name = row.get("name") or row["op"]
            message = f"row {name!r} ({row['op']}): {misfit} ({shown(self._architecture)})"
            raise ShapeError(message, self._architecture.where(*at)) from misfit

    def _widen(self, row: dict[str, Any], at: At, whole: int) -> None:
        """Multiply a row's widths. Those that hang on its input are left, with their divisor."""
        width, known = self._by.width, with_defaults(row, self._architecture.defaults)
        channels = row.get("channels")
        own = "channels" in known  # else a cell's `width` makes its output
        steps = {"channels": whole, "width": inner_divisor(known) if own else whole}
        if "growth" in row:
            steps["growth"] = whole // math.gcd(whole, row["layers"])
        for key, step in steps.items():
            if isinstance(row.get(key), int):
                row[key] = scale_channels(row[key], width, step)
            elif isinstance(row.get(key), list):  # a width for each inner layer
                row[key] = [scale_channels(one, width) for one in row[key]]
        if "widths" in row:
            row["widths"] = [scale_channels(one, width) for one in row["widths"]]
        if row["op"] == "depthwise" and channels:
            self.later[at] = 0
        elif isinstance(channels, str) and channels != "classes":
            self.later[at] = whole


def deepens(rows: Sequence[Row]) -> bool:
    """Whether depth would multiply anything in these rows."""
    return any(
        "repeat" in row or "layers" in row or any(deepens(inner) for _, inner in inner_lists(row))
        for row in rows
    )


def shown(architecture: Architecture) -> str:
    """The scaling as it is written: "scaling: {depth: 1.2, width: 1.1}"."""
    pairs = (f"{key}: {value:g}" for key, value in architecture.scaling.items())
    return f"scaling: {{{', '.join(pairs)}}}"


def _head(network: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The last row with channels, where no row is the classifier: its channels are the classes."""
    if any(map(_classifies, network)):
        return None
    last = [row for row in network if "channels" in row]
    return last[-1] if last and "repeat" not in last[-1] else None


def _classifies(row: Mapping[str, Any]) -> bool:
    inner = [*row.get("rows", ()), *(r for rows in row.get("branches", ()) for r in rows)]
    own = row.get("op") in CLASSIFIERS and "channels" not in row
    return own or any(map(_classifies, inner))


def scale_repeat(repeat: int, depth: float) -> int:
    """`repeat · depth`, rounded up; 1e-9 keeps 5 · 1.2 from being 7."""
    scaled = max(1, math.ceil(min(repeat * depth, 1e9) - 1e-9))
    if scaled > MOST_REPEATS:
        raise Misfit(
            f"depth {depth:g} makes {scaled} repetitions of {repeat}; at most {MOST_REPEATS}"
        )
    return scaled


def scale_channels(channels: int, width: float, multiple: int = 1) -> int:
    """`channels · width` to the nearest multiple of 8, the next one where that loses over 10 %.

    multiple  what must divide it besides
    """
    return channels if width == 1 else _rounded(channels * width, multiple)


def settled(asked: str | Later, before: int) -> int:
    """What channels come to that hang on the input, which has `before`."""
    text, divisor = asked if isinstance(asked, Later) else (asked, 1)
    multiple, exact = divisor or before, 0.0
    if isinstance(text, str):
        channels, exact = relative_channels(text, before), before * float(text[1:])
    else:
        channels = text
    if channels % multiple == 0:
        return channels
    return int(exact) if exact and exact % multiple == 0 else _rounded(channels, multiple)


def _rounded(exact: float, multiple: int) -> int:
    """Near `exact`: a multiple of 8 and of `multiple`, of that alone where the two jump too far."""
    step = math.lcm(8, multiple)
    found = _next(exact, step)
    return _next(exact, multiple) if step > 8 and found > (1 + JUMP) * exact else found


def _next(exact: float, step: int) -> int:
    nearest = max(step, int(exact + step / 2) // step * step)
    return nearest + step if nearest < LEAST * exact else nearest


def relative_channels(text: str, before: int) -> int:
    """`xK` of a row whose input has `before` channels: from 16 up to a multiple of 8."""
    exact = before * float(text[1:])
    if exact < 16:
        return max(1, int(exact + 0.5))
    return int(exact + 4) // 8 * 8

"""Compound scaling (EfficientNet: Tan and Le 2019): a file's `scaling` applied to its rows.

Depth multiplies the rows that state `repeat`, and a dense block's `layers`, rounded up. Width
multiplies absolute channels (inner widths and a dense block's growth too), to multiples of 8 and
never below 90 %; relative ones follow by themselves, the classifier stays. Where `groups` have to
divide a width, it is rounded to their multiples.
Resolution is the side of the image that the file assumes, in pixels; real data override it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ShapeError
from ..space import Architecture
from .operators import OPERATORS
from .tally import Misfit

PAPER = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}  # section 3.3: found by a grid at phi = 1
CLASSIFIERS = frozenset({"linear", "dropconnect", "rbf"})  # where a row states no channels
UNGROUPED_FIRST = frozenset({"bottleneck"})  # its `groups` are those of its second convolution
LARGEST_FACTOR = 1000.0
MOST_REPEATS = 1000  # as of a `repeat` itself
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


def scale_rows(architecture: Architecture, by: Factors) -> list[dict[str, Any]]:
    """The network's rows with repeats and absolute channels multiplied.

    Raises Misfit for more repetitions than a row may have.
    """
    network = architecture.network
    return _scaled_rows(network, by, architecture.defaults, 1, head=_head(network))


Row = Mapping[str, Any]


def _scaled_rows(
    rows: Sequence[Row], by: Factors, defaults: Row, wanted: int, head: Row | None = None
) -> list[dict[str, Any]]:
    """`wanted`: what must divide the channels that the last row puts out."""
    scaled = []
    for row in reversed(rows):
        known = {**OPERATORS.get(row["op"]).defaults, **defaults, **row}
        own = _divides_input(known)
        if "repeat" in row:  # it is its own follower
            wanted = math.lcm(wanted, own)
        scaled.append(dict(row) if row is head else _scaled_row(row, by, defaults, wanted, known))
        wanted = own if _sets_channels(known) else math.lcm(wanted, own)
    return scaled[::-1]


def _scaled_row(row: Row, by: Factors, defaults: Row, wanted: int, known: Row) -> dict[str, Any]:
    scaled = dict(row)
    for key in ("repeat", "layers"):
        if key in row:
            scaled[key] = scale_repeat(row[key], by.depth)
    inner, whole = _divides(known)
    for key, step in (("channels", math.lcm(whole, wanted)), ("width", inner), ("growth", 1)):
        if isinstance(row.get(key), int):
            scaled[key] = scale_channels(row[key], by.width, step)
        elif isinstance(row.get(key), list):  # a width for each inner layer
            scaled[key] = [scale_channels(one, by.width) for one in row[key]]
    if "widths" in row:
        scaled["widths"] = [scale_channels(width, by.width) for width in row["widths"]]
    if "rows" in row:
        scaled["rows"] = _scaled_rows(row["rows"], by, defaults, wanted)
    if "branches" in row:
        scaled["branches"] = [_scaled_rows(r, by, defaults, wanted) for r in row["branches"]]
    return scaled


def _divides(known: Row) -> tuple[int, int]:
    """What must divide a row's inner width, and what its output channels."""
    groups = known.get("groups") or 1
    if groups == 1 or "width" not in known:
        return 1, groups
    if known["width"] is not None:
        return groups, _divides_input(known)
    return groups, math.lcm(groups * (known.get("expansion") or 1), _divides_input(known))


def _sets_channels(row: Row) -> bool:
    """Whether its output's channels are its own, whatever its input's are."""
    inner = row.get("branches") or [row.get("rows") or ()]
    return bool(row.get("channels")) or all(any(map(_sets_channels, rows)) for rows in inner)


def _divides_input(known: Row) -> int:
    """What must divide the channels of a row's input: the groups of what meets it first."""
    firsts = [rows[0] for rows in known.get("branches") or [known.get("rows") or ()] if rows]
    if firsts:
        return math.lcm(*map(_divides_input, firsts))
    return 1 if known["op"] in UNGROUPED_FIRST else known.get("groups") or 1


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
    if width == 1:
        return channels
    exact, step = channels * width, math.lcm(8, multiple)
    rounded = max(step, int(exact + step / 2) // step * step)
    return rounded + step if rounded < 0.9 * exact else rounded


def relative_channels(text: str, before: int) -> int:
    """`xK` of a row whose input has `before` channels: from 16 up to a multiple of 8."""
    exact = before * float(text[1:])
    if exact < 16:
        return max(1, int(exact + 0.5))
    return int(exact + 4) // 8 * 8

"""What must divide a width, so that the `groups` of rows behind it still fit once it is scaled.

Rows are gone through from the last to the first: a grouped row asks something of its input, and
rows that pass channels on (pools, dense blocks, branches) hand the question on to the row before.
What comes out is enough, not always necessary: of a concatenation each part is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from .operators import OPERATORS

Row = Mapping[str, Any]
At = tuple[int, ...]  # a row's place, as in `table.Row`
UNGROUPED_FIRST = frozenset({"bottleneck"})  # its `groups` are those of its second convolution
COARSEST = 16  # the largest denominator of a transition's compression that is asked for


def divisors(network: Sequence[Row], defaults: Row, head: Row | None) -> dict[At, int]:
    """Of each row what must divide its output channels; equal `channels` have equal ones.

    Sums and shortcuts need equal channels to stay equal. `head`: the row that keeps its own.
    """
    found: dict[At, int] = {}
    _ask(network, (), 1, found, defaults)
    by_channels: dict[int, int] = {}
    rows = [(at, row) for at, row in _places(network, ()) if row is not head]
    sized = [(at, row["channels"]) for at, row in rows if isinstance(row.get("channels"), int)]
    for at, channels in sized:
        by_channels[channels] = math.lcm(by_channels.get(channels, 1), found[at])
    return found | {at: by_channels[channels] for at, channels in sized}


def inner_divisor(known: Row) -> int:
    """What must divide a row's inner `width`."""
    return math.lcm(known.get("groups") or 1, known.get("first_groups") or 1)


def with_defaults(row: Row, defaults: Row) -> dict[str, Any]:
    """A row with all that it does not state."""
    return {**OPERATORS.get(row["op"]).defaults, **defaults, **row}


def inner_lists(row: Row) -> list[tuple[At, Sequence[Row]]]:
    """The lists of rows within a row, each with what it adds to the row's place."""
    if "rows" in row:
        return [((), row["rows"])]
    return [((k,), rows) for k, rows in enumerate(row.get("branches", ()))]


def _places(rows: Sequence[Row], before: At) -> list[tuple[At, Row]]:
    found: list[tuple[At, Row]] = []
    for index, row in enumerate(rows):
        at = (*before, index)
        found.append((at, row))
        for more, inner in inner_lists(row):
            found += _places(inner, (*at, *more))
    return found


def _ask(
    rows: Sequence[Row], before: At, wanted: int, found: dict[At, int], defaults: Row
) -> int:  # fmt: skip
    """What must divide the list's input, for its output to be a multiple of `wanted`."""
    for index in reversed(range(len(rows))):
        row, at = rows[index], (*before, index)
        if OPERATORS.get(row["op"]).aside:
            found[at] = 1
            continue
        known = with_defaults(row, defaults)
        if "repeat" in row:  # it is its own follower
            wanted = math.lcm(wanted, _of_input(known, at, wanted, found, defaults))
        found[at] = math.lcm(wanted, _of_output(known))
        wanted = _of_input(known, at, wanted, found, defaults)
    return wanted


def _of_input(known: Row, at: At, wanted: int, found: dict[At, int], defaults: Row) -> int:
    lists = inner_lists(known)
    if lists:
        return math.lcm(
            *(_ask(rows, (*at, *more), wanted, found, defaults) for more, rows in lists)
        )
    own = 1 if known["op"] in UNGROUPED_FIRST else inner_divisor(known)
    if known["op"] == "transition":
        share = Fraction(known["compression"]).limit_denominator(COARSEST)
        return wanted * share.denominator
    if known["op"] == "maxout":
        return wanted * int(known["pieces"])
    channels = known.get("channels")
    if known["op"] == "depthwise" or not (channels or "width" in known):
        return math.lcm(own, wanted)
    if isinstance(channels, str) and channels[1:].isdigit():  # so that xK comes out even
        whole = math.lcm(wanted, _of_output(known))
        return math.lcm(own, whole // math.gcd(whole, int(channels[1:])))
    return own


def _of_output(known: Row) -> int:
    """What a row's own groups ask of its output channels."""
    inner = inner_divisor(known)
    own = 1 if known["op"] in UNGROUPED_FIRST else inner
    if inner == 1 or "width" not in known or known["width"] is not None:
        return own
    return math.lcm(own, inner * (known.get("expansion") or 1))  # whose share the width is

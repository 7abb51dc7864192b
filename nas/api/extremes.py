"""The smallest and the largest network of a space: from the draws on, hole by hole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..space import Architecture, Hole, Space, fill

MOST_VALUES = 8  # of a hole that are tried
MOST_ROUNDS = 3  # through all holes

Size = tuple[int, int]  # parameters, multiply-adds


def furthest(
    space: Space, start: Architecture, size: Callable[[Architecture], Size | None], sign: int
) -> Architecture:
    """From `start` to larger (`sign` 1) or smaller (-1) networks, a hole at a time, until none of
    them changes that any more. `size`: None where the network does not build.

    The end itself where each hole makes a network larger or smaller whatever the others are; a
    network near it otherwise.
    """
    best, reached = start, size(start)
    assert reached is not None
    for _ in range(MOST_ROUNDS):
        before = reached
        for hole in space.holes:
            if hole.name.startswith("recipe.") or hole.name not in (best.decisions or {}):
                continue
            for value in values(hole):
                other = changed(space, best, **{hole.name: value})
                found = size(other)
                if found is not None and (found > reached if sign > 0 else found < reached):
                    best, reached = other, found
        if reached == before:
            break
    return best


def changed(space: Space, base: Architecture, **to: Any) -> Architecture:
    """`base` with decisions changed; what that opens takes its default."""
    given: Mapping[str, Any] = {**(base.decisions or {}), **to}
    return fill(space, lambda hole: given.get(hole.name, hole.default))


def values(hole: Hole) -> list[Any]:
    """Some of what a hole can be, its ends among them."""
    points = hole.points()
    if points is None:
        return [hole.low, hole.high, hole.default]
    if points <= MOST_VALUES:
        return [hole.at(index) for index in range(points)]
    steps = MOST_VALUES - 1
    return [hole.at(round(k * (points - 1) / steps)) for k in range(MOST_VALUES)]

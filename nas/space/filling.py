"""The one recursive function, and what is said with it: replay, draw, neighbours."""

from __future__ import annotations

import random
from collections.abc import Mapping

from ..errors import SpaceError, hint
from .document import Value
from .holes import Hole
from .space import Architecture, Decisions, Space, fill_with
from .template import Choose


def fill(
    space: Space | Architecture,
    choose: Mapping[str, Value] | Choose,
    within: Mapping[str, Hole] | None = None,
) -> Architecture:
    """The space with its holes filled; only holes of active branches are asked, in file order.

    `choose`: a function of the hole, or the decisions of an earlier filling. Raises SpaceError
    for a value outside of its hole, and for decisions that miss a hole or name one that is
    unknown or not active. A file without holes fills to itself.

    `within`: holes by name that stand for the space's own, with ranges that a stage of a search
    has narrowed, or widened past an edge.
    """
    if isinstance(choose, Mapping):
        return _replay(space, choose, within or {})
    if isinstance(space, Architecture):
        return space
    return fill_with(space, choose, within or {})


def _replay(
    space: Space | Architecture, decisions: Mapping[str, Value], within: Mapping[str, Hole]
) -> Architecture:
    def choose(hole: Hole) -> Value:
        try:
            return decisions[hole.name]
        except KeyError:
            raise SpaceError(
                f"the decisions say nothing of {hole.name}, which is {hole.domain()}",
                _where(space, hole),
            ) from None

    architecture = fill(space, choose, within)
    made = architecture.decisions if isinstance(space, Space) else {}
    if len(made or {}) != len(decisions):
        raise _surplus(space, next(name for name in decisions if name not in (made or {})))
    return architecture


def _surplus(space: Space | Architecture, name: str) -> SpaceError:
    known = space.by_name if isinstance(space, Space) else {}
    if name not in known:
        return SpaceError(f"no hole is named {name!r}{hint(name, known)}", space.path)
    return SpaceError(
        f"{name} is decided, but the other decisions leave its branch out; drop it",
        _where(space, known[name]),
    )


def _where(space: Space | Architecture, hole: Hole) -> str:
    return (space if isinstance(space, Space) else space.space).document.where(hole.line)


def draw(space: Space, rng: random.Random) -> Decisions:
    """Decisions at random: each hole uniform on its scale, the active ones only."""
    return fill(space, lambda hole: hole.draw(rng)).decisions or {}


def neighbours(space: Space, decisions: Mapping[str, Value], rng: random.Random) -> Decisions:
    """All but one as before: one hole changed, newly opened ones at random, closed ones dropped.

    Raises SpaceError for decisions that are not of this space, or where nothing can change.
    """
    before = fill(space, decisions).decisions or {}
    open_ = [name for name in before if space.by_name[name].points() != 1]
    if not open_:
        raise SpaceError(f"{space.name} has a single point; nothing can change", space.path)
    changed = rng.choice(open_)

    def choose(hole: Hole) -> Value:
        if hole.name == changed:
            return hole.other(before[changed], rng)
        return before[hole.name] if hole.name in before else hole.draw(rng)

    return fill(space, choose).decisions or {}

"""Holes that say nothing: networks that differ in one decision, or in two swapped ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, islice
from typing import Any

from ..errors import ShapeError
from ..models import cost
from ..models.likeness import same_network
from ..space import Architecture, Hole, Space, Value
from ..space.holes import quoted, same
from .catalogue import image_of, shown_image
from .extremes import MOST_VALUES, changed, values
from .surveying import Drawn

SPREAD = 4  # networks, from cheap to dear, in which a hole is changed first
MOST_NETWORKS = 64  # in which it is changed before it counts as dead
THOROUGH = 4  # of them in which the two are compared to the last digit
SWAPPED = 8  # networks in which two holes change places

Finding = dict[str, str]
Trait = tuple[str, object]


def warning(where: str, message: str) -> Finding:
    """A finding that keeps no search from running."""
    return {"level": "warning", "where": where, "message": message}


class Comparison:
    """Asks of each hole of a space whether it changes the network.

    The cheapest networks are asked first: for most holes one of them settles it.
    """

    def __init__(
        self,
        space: Space,
        image: Mapping[str, Any],
        drawn: Sequence[Drawn],
        assumed: Mapping[str, Any],
    ) -> None:
        self.space, self.image = space, image
        ranked = sorted((one.price.macs, place) for place, one in enumerate(drawn) if one.price)
        networks = (drawn[place].network for _, place in ranked)
        self.cheap_first = list({_network_of(network): network for network in networks}.values())
        height, width = assumed["size"]
        self.pixels = f"images of {height}x{width}"

    def findings(self) -> list[Finding]:
        """One for each hole that could go, and for each option and pair of holes."""
        found: list[Finding] = []
        alive: list[Hole] = []
        for hole in self.space.holes:
            where = self.space.document.where(hole.line)
            if hole.points() == 1:
                text = f"{hole.name} can be {quoted(hole.default)} alone: write the value itself"
                found.append(warning(where, text))
            elif hole.name.startswith("recipe."):
                continue  # see recipes.py
            elif tried := self.without_effect(hole):
                text = (
                    f"{hole.name} never changes the network, on {self.pixels}: take it out "
                    f"(tried in {tried} network{'' if tried == 1 else 's'})"
                )
                found.append(warning(where, text))
            else:
                alive.append(hole)
                found += self.equal_options(hole, where)
        return found + [finding for pair in combinations(alive, 2) for finding in self.twins(*pair)]

    def networks(self, *holes: Hole) -> Iterator[Architecture]:
        """Networks in which all these holes are active.

        Some from the cheapest to the dearest, then cheap ones until any two values of other holes
        were in one of them: a hole may matter with those alone.
        """
        names = {hole.name for hole in holes}
        active = [one for one in self.cheap_first if names <= (one.decisions or {}).keys()]
        known, seen = set[int](), set[tuple[Trait, Trait]]()
        for place in (0, *range(1, len(active), max(1, len(active) // SPREAD))):
            if place < len(active):
                known.add(place)
                seen |= self.traits(active[place])
                yield active[place]
        for place, network in enumerate(active):
            traits = self.traits(network)
            if place not in known and not traits <= seen and len(known) < MOST_NETWORKS:
                known.add(place)
                seen |= traits
                yield network

    def traits(self, network: Architecture) -> set[tuple[Trait, Trait]]:
        """What its holes are, of ranges the half, each with each."""
        found: list[Trait] = []
        for name, value in _network_of(network):
            hole = self.space.by_name[name]
            ranged = hole.kind in ("float", "log")
            found.append((name, value >= hole.default if ranged else value))  # type: ignore[operator]
        return set(combinations(found, 2))

    def alike(self, a: Architecture, b: Architecture, *, thorough: bool = True) -> bool:
        """Whether they are one network; not where one opens other holes, whose defaults alone may
        agree, nor where one does not run: the image is too small, or an operator of the user's
        own knows no float64.
        """
        if (a.decisions or {}).keys() != (b.decisions or {}).keys():
            return False
        try:
            if shown_image(a, self.image) != shown_image(b, self.image):
                return False
            return same_network(a, b, thorough=thorough, **image_of(a, self.image))
        except Exception:
            return False

    def cost_alike(self, a: Architecture, b: Architecture) -> bool:
        """Whether their rows cost the same: much cheaper to say than what they compute."""
        try:
            prices = [cost(one, **image_of(one, self.image)) for one in (a, b)]
        except ShapeError:
            return False
        rows = [[row[2:] for row in price.rows] for price in prices]  # but for names
        return rows[0] == rows[1]

    def all_alike(self, pairs: Iterable[tuple[Architecture, Architecture]]) -> bool:
        """Whether there are pairs and all are alike: roughly each, then some to the last digit."""
        first: list[tuple[Architecture, Architecture]] = []
        for pair in pairs:
            if not self.alike(*pair, thorough=False):
                return False
            if len(first) < THOROUGH and not (first and first[-1][0] is pair[0]):
                first.append(pair)
        return bool(first) and all(self.alike(*pair) for pair in first)

    def without_effect(self, hole: Hole) -> int:
        """The number of networks in which it was changed where that changed none, else 0."""
        tried = 0

        def pairs() -> Iterator[tuple[Architecture, Architecture]]:
            nonlocal tried
            for base in self.networks(hole):
                own = (base.decisions or {})[hole.name]
                others = [value for value in values(hole) if not same(value, own)]
                if tried >= SPREAD:  # one of them in turn
                    others = [others[tried % len(others)]]
                tried += 1
                for value in others:
                    yield base, changed(self.space, base, **{hole.name: value})

        return tried if self.all_alike(pairs()) else 0

    def equal_options(self, hole: Hole, where: str) -> Iterable[Finding]:
        """Two options of a choice that spell one network."""
        if hole.kind != "choice" or len(hole.options) > MOST_VALUES:
            return
        for a, b in combinations(hole.options, 2):
            pairs = (
                (
                    changed(self.space, base, **{hole.name: a}),
                    changed(self.space, base, **{hole.name: b}),
                )
                for base in self.networks(hole)
            )
            if self.all_alike(pairs):
                text = f"the options {quoted(a)} and {quoted(b)} spell the same network: keep one"
                yield warning(where, f"{hole.name}: {text}")

    def twins(self, a: Hole, b: Hole) -> Iterable[Finding]:
        """Two holes whose values can be swapped."""
        if (a.kind, a.options, a.low, a.high, a.step) != (b.kind, b.options, b.low, b.high, b.step):
            return

        def pairs() -> Iterator[tuple[Architecture, Architecture]]:
            for base in self.networks(a, b):
                x, y = (base.decisions or {})[a.name], (base.decisions or {})[b.name]
                if not same(x, y):
                    yield base, changed(self.space, base, **{a.name: y, b.name: x})

        found = list(islice(pairs(), SWAPPED))
        if all(self.cost_alike(*pair) for pair in found) and self.all_alike(found):
            yield warning(
                self.space.document.where(b.line),
                f"{a.name} and {b.name} can be swapped without changing the network, so that "
                "every network counts twice: tie one to the other with !same, or take one out",
            )


def _network_of(network: Architecture) -> tuple[tuple[str, Value], ...]:
    """The decisions about the network: draws that differ in the recipe alone are one."""
    decisions = (network.decisions or {}).items()
    return tuple((name, value) for name, value in decisions if not name.startswith("recipe."))

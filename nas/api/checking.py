"""What is wrong with a space beyond its grammar: `nas spaces --check FILE`.

A fault of the grammar (an unknown name, a value out of bounds) is raised when the file is read.
What is looked for here takes networks: random ones are priced, and those that differ in one
decision are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from ..errors import ShapeError
from ..models.likeness import same_network
from ..space import Architecture, Hole, Space, fill, load
from ..space.document import Mapping as MappingNode
from ..space.holes import same, show
from .catalogue import image_of, shown_image
from .surveying import Drawn, draws, message_of, misfits, over, price_of

TRIES = 8  # networks in which a hole is changed before it counts as dead
MOST_VALUES = 8  # of a hole that are tried
LOOKED_AT = 200  # draws among which those networks are looked for
FEW = 0.05  # a share within the limits below which most of a search is refusals

Finding = dict[str, str]


def check(
    source: str,
    image: Mapping[str, Any],
    *,
    seed: int = 0,
    constants: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The object of `nas spaces --check FILE --json`: `findings`, errors first.

    A finding: level (error, warning), where (file:line), message. An error keeps a search from
    running or from finding anything. Raises SpaceError where the file cannot be read as a space.
    """
    loaded = load(source, constants=constants)
    space = loaded if isinstance(loaded, Space) else loaded.space
    first = price_of(fill(loaded, space.default()) if isinstance(loaded, Space) else loaded, image)
    drawn = draws(loaded, image, seed) if isinstance(loaded, Space) else [first]
    assumed = shown_image(first.network, image)
    found = [*_default(space, first), *_limits(space, drawn), *_shapes(space, drawn)]
    if isinstance(loaded, Space):
        found += _Comparison(loaded, image, drawn, assumed).findings()
    found.sort(key=lambda finding: finding["level"] != "error")
    words = [finding["level"] for finding in found]
    return {
        "file": space.path,
        "input": assumed,
        "holes": len(space.holes),
        "draws": len(drawn) if isinstance(loaded, Space) else 0,
        "errors": words.count("error"),
        "warnings": words.count("warning"),
        "findings": found,
    }


def _error(where: str, message: str) -> Finding:
    return {"level": "error", "where": where, "message": message}


def _warning(where: str, message: str) -> Finding:
    return {"level": "warning", "where": where, "message": message}


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _limit_place(space: Space, key: str) -> str:
    section = space.document.root.get("limits")
    node = section.get(key) if isinstance(section, MappingNode) else None
    return space.document.where(node if node is not None else space.document.root)


# ----------------------------------------------------------------------- the default, the limits
def _default(space: Space, first: Drawn) -> Iterable[Finding]:
    """Trial 0 must fit its images and the limits."""
    if first.misfit is not None:
        whose = "the default network" if space.holes else "the network"
        yield _error(first.misfit.where, f"{whose} does not fit: {message_of(first.misfit)}")
    for key in over(first, space.limits) if first.price is not None else ():
        yield _error(
            _limit_place(space, key),
            f"the default network has {key} {getattr(first.price, key):,}, over limits.{key} "
            f"{space.limits[key]:,.0f}: raise the limit or make the defaults smaller",
        )


def _limits(space: Space, drawn: Sequence[Drawn]) -> Iterable[Finding]:
    """Limits that no draw, or hardly any, keeps."""
    if "latency" in space.limits:
        yield _error(
            _limit_place(space, "latency"),
            "limits.latency is not measured yet: use limits of params, macs or memory",
        )
    built = [one for one in drawn if one.price is not None]
    if not built or not space.limits or not space.holes:
        return
    broken = [over(one, space.limits) for one in built]
    share = sum(not keys for keys in broken) / len(built)
    if share >= FEW:
        return
    keys = [key for key in space.limits if key != "latency"]
    tightest = max(keys, key=lambda key: sum(key in found for found in broken), default=None)
    if tightest is None:
        return
    least = min(getattr(one.price, tightest) for one in built)
    limit = f"limits.{tightest} {space.limits[tightest]:,.0f}"
    few = f"{_percent(share)} keep" if share else "none keeps"
    text = (
        f"of {len(built):,} draws {few} within the limits; the tightest is {limit}, and the "
        f"smallest network drawn has {least:,}: raise it or make the ranges smaller"
    )
    yield (_warning if share else _error)(_limit_place(space, tightest), text)


def _shapes(space: Space, drawn: Sequence[Drawn]) -> Iterable[Finding]:
    """Draws that do not build: on this image, or on any."""
    ranked = misfits(drawn)
    if not ranked or not space.holes:
        return
    share = sum(times for _, times in ranked) / len(drawn)
    commonest = ranked[0][0]
    part = f"{_percent(share)} of {len(drawn):,} draws"
    text = f"{part} do not build; the commonest fault: {message_of(commonest)}"
    yield (_error if share == 1 else _warning)(commonest.where, text)


# ------------------------------------------------------------------------ holes that say nothing
class _Comparison:
    """Networks that differ in one decision, or in two swapped ones."""

    def __init__(
        self,
        space: Space,
        image: Mapping[str, Any],
        drawn: Sequence[Drawn],
        assumed: Mapping[str, Any],
    ) -> None:
        self.space, self.image = space, image
        self.drawn = [one.network for one in drawn if one.price is not None]
        height, width = assumed["size"]
        self.pixels = f"images of {height}x{width}"

    def findings(self) -> list[Finding]:
        found: list[Finding] = []
        alive: list[Hole] = []
        for hole in self.space.holes:
            where = self.space.document.where(hole.line)
            if hole.points() == 1:
                text = f"{hole.name} can be {show(hole.default)} alone: write the value itself"
                found.append(_warning(where, text))
            elif hole.name.startswith("recipe."):
                found += self.recipe_hole(hole, where)
            elif self.is_dead(hole):
                text = f"{hole.name} never changes the network, on {self.pixels}: take it out"
                found.append(_warning(where, text))
            else:
                alive.append(hole)
                found += self.equal_options(hole, where)
        return found + [finding for pair in combinations(alive, 2) for finding in self.twins(*pair)]

    def recipe_hole(self, hole: Hole, where: str) -> Iterable[Finding]:
        """Keys of a recipe that others can leave without meaning."""
        recipes = [network.recipe for network in self.drawn]
        plain = (r.get("optimizer") == "adamw" or r.get("momentum") == 0 for r in recipes)
        if hole.name == "recipe.nesterov" and all(plain):
            text = "recipe.nesterov means nothing to adamw or with momentum 0: take it out"
            yield _warning(where, text)
        if hole.name == "recipe.smoothing" and all(r.get("patience") == 0 for r in recipes):
            text = "recipe.smoothing means nothing with patience 0: take it out"
            yield _warning(where, text)

    def bases(self, *holes: Hole) -> list[Architecture]:
        """Some networks in which all these holes are active."""
        names = {hole.name for hole in holes}
        active = (one for one in self.drawn if names <= (one.decisions or {}).keys())
        return [one for one, _ in zip(active, range(TRIES), strict=False)]

    def changed(self, base: Architecture, **to: Any) -> Architecture:
        """`base` with decisions changed; what that opens takes its default."""
        given = {**(base.decisions or {}), **to}
        return fill(self.space, lambda hole: given.get(hole.name, hole.default))

    def alike(self, a: Architecture, b: Architecture) -> bool:
        """Whether they are one network; not where one does not fit the image."""
        try:
            if shown_image(a, self.image) != shown_image(b, self.image):
                return False
            return same_network(a, b, **image_of(a, self.image))
        except ShapeError:
            return False

    def is_dead(self, hole: Hole) -> bool:
        bases = self.bases(hole)
        return bool(bases) and all(
            self.alike(base, self.changed(base, **{hole.name: value}))
            for base in bases
            for value in values(hole)
            if not same(value, (base.decisions or {})[hole.name])
        )

    def equal_options(self, hole: Hole, where: str) -> Iterable[Finding]:
        """Two options of a choice that spell one network."""
        if hole.kind != "choice" or len(hole.options) > MOST_VALUES:
            return
        made = [
            {option: self.changed(base, **{hole.name: option}) for option in hole.options}
            for base in self.bases(hole)
        ]
        for a, b in combinations(hole.options, 2):
            pairs = [(by[a], by[b]) for by in made]
            if pairs and all(opens_alike(*pair) and self.alike(*pair) for pair in pairs):
                text = f"the options {show(a)} and {show(b)} spell the same network: keep one"
                yield _warning(where, f"{hole.name}: {text}")

    def twins(self, a: Hole, b: Hole) -> Iterable[Finding]:
        """Two holes whose values can be swapped."""
        if (a.kind, a.options, a.low, a.high, a.step) != (b.kind, b.options, b.low, b.high, b.step):
            return
        swapped = []
        for base in self.drawn[:LOOKED_AT]:
            decisions = base.decisions or {}
            if a.name in decisions and b.name in decisions:
                x, y = decisions[a.name], decisions[b.name]
                if not same(x, y):
                    swapped.append((base, self.changed(base, **{a.name: y, b.name: x})))
                    if len(swapped) == TRIES:
                        break
        if swapped and all(self.alike(*pair) for pair in swapped):
            yield _warning(
                self.space.document.where(b.line),
                f"{a.name} and {b.name} can be swapped without changing the network, so that "
                "every network counts twice: tie one to the other with !same, or take one out",
            )


def opens_alike(a: Architecture, b: Architecture) -> bool:
    """Whether both have the same holes open: else their defaults alone may agree."""
    return (a.decisions or {}).keys() == (b.decisions or {}).keys()


def values(hole: Hole) -> list[Any]:
    """Some of what a hole can be, its ends among them."""
    points = hole.points()
    if points is None:
        return [hole.low, hole.high, hole.default]
    if points <= MOST_VALUES:
        return [hole.at(index) for index in range(points)]
    steps = MOST_VALUES - 1
    return [hole.at(round(k * (points - 1) / steps)) for k in range(MOST_VALUES)]

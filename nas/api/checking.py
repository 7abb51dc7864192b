"""What is wrong with a space: `nas spaces --check FILE`.

Faults of the grammar (an unknown name, a value out of bounds) come first, all of a file at once.
Where there is none, networks are looked at: random ones are priced, and those that differ in one
decision are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ShapeError, SpaceError
from ..space import Architecture, Space, Value, faults_of, fill, find, load
from ..space.document import Mapping as MappingNode
from ..space.holes import Hole, quoted
from .catalogue import stated_image
from .comparison import Comparison, Finding, warning
from .extremes import MOST_VALUES
from .recipes import idle_keys
from .surveying import Drawn, draws, message_of, misfits, over, price_of, refused

LEVELS = ("error", "warning", "info")
FEW = 0.05  # a share of the draws under which most of a search is refusals
MANY = 0.5  # a share within the limits above which nobody need be told
SURE = 20  # draws with a value of which none builds, before that is its fault


def check(
    source: str,
    image: Mapping[str, Any],
    *,
    seed: int = 0,
    constants: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The object of `nas spaces --check FILE --json`: `findings`, errors first.

    A finding: level (error, warning, info), where (file:line), message. An error keeps a search
    from running or from finding anything; an info is nothing to mend. Raises UserError where there
    is no such file, and where one of the `constants` is wrong.
    """
    faults = faults_of(source)
    if faults:
        return _report(str(find(source)), [_error(f.where, message_of(f)) for f in faults])
    loaded = load(source, constants=constants)
    space = loaded if isinstance(loaded, Space) else loaded.space
    try:
        return _looked_into(loaded, space, image, seed)
    except SpaceError as error:  # a name that means something else to torch
        return _report(space.path, [_error(error.where, message_of(error))])


def _looked_into(
    loaded: Space | Architecture, space: Space, image: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    if not isinstance(loaded, Space):
        first = price_of(loaded, image)
        found = [*_default(space, first, ()), *_limits(space, [first])]
        found += _recipe(space, [loaded])
        return _report(space.path, found, input=stated_image(loaded, image))
    first = price_of(fill(loaded, space.default()), image)
    drawn = draws(loaded, image, seed)
    assumed = stated_image(first.network, image)
    found = [*_default(space, first, drawn), *_limits(space, drawn), *_shapes(space, drawn)]
    found += _recipe(space, [one.network for one in drawn])
    found += Comparison(loaded, image, drawn, assumed).findings()
    return _report(space.path, found, input=assumed, holes=len(space.holes), draws=len(drawn))


def _recipe(space: Space, networks: Sequence[Architecture]) -> list[Finding]:
    return [warning(*said) for said in idle_keys(space, networks)]


def _report(file: str, findings: list[Finding], **facts: Any) -> dict[str, Any]:
    words = [finding["level"] for finding in findings]
    return {
        "file": file,
        "input": None,
        "holes": 0,
        "draws": 0,
        **facts,
        **{f"{level}s": words.count(level) for level in LEVELS},
        "findings": sorted(findings, key=lambda finding: LEVELS.index(finding["level"])),
    }


def _error(where: str, message: str) -> Finding:
    return {"level": "error", "where": where, "message": message}


def _info(where: str, message: str) -> Finding:
    return {"level": "info", "where": where, "message": message}


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _place(space: Space, section: str, key: str) -> str:
    """`file:line` of a key of a section, or of what is nearest to it."""
    node = space.document.root.get(section)
    inner = node.get(key) if isinstance(node, MappingNode) else None
    return space.document.where(inner or node or space.document.root)


# ----------------------------------------------------------------------- the default, the limits
def _default(space: Space, first: Drawn, drawn: Sequence[Drawn]) -> Iterable[Finding]:
    """Trial 0 must fit its images and the limits; what is so of every draw is told of those."""
    built = [one for one in drawn if one.price is not None]
    if first.misfit is not None and (built or not drawn):
        whose = "the default network" if space.holes else "the network"
        yield _error(first.misfit.where, f"{whose} does not fit: {message_of(first.misfit)}")
    if built and all(over(one, space.limits) for one in built):
        return
    for key in over(first, space.limits):
        assert first.price is not None
        yield _error(
            _place(space, "limits", key),
            f"the default network has {key} {first.price.limited(key):,}, over limits.{key} "
            f"{space.limits[key]:,.0f}: raise the limit or make the defaults smaller",
        )


def _limits(space: Space, drawn: Sequence[Drawn]) -> Iterable[Finding]:
    """Limits that no draw, or hardly any, keeps."""
    if "latency" in space.limits:
        yield _error(
            _place(space, "limits", "latency"),
            "limits.latency is not measured yet: use limits of params, macs or memory",
        )
    built = [one for one in drawn if one.price is not None]
    if not built or not space.limits or not space.holes:
        return
    broken = [over(one, space.limits) for one in built]
    share = sum(not keys for keys in broken) / len(built)
    keys = [key for key in space.limits if key != "latency"]
    tightest = max(keys, key=lambda key: sum(key in found for found in broken), default=None)
    if share:
        yield from _always_over(space, built)
    yield from _never_reached(space, built)
    if tightest is None or share > MANY:
        return
    least = min(one.price.limited(tightest) for one in built if one.price is not None)
    where, limit = _place(space, "limits", tightest), space.limits[tightest]
    few = f"{_percent(share)} keep" if share else "none keeps"
    text = (
        f"of {len(built):,} draws {few} within the limits; the tightest is limits.{tightest} "
        f"{limit:,.0f}, and the smallest network drawn has {least:,}"
    )
    if share >= FEW:
        yield _info(where, f"{text}; the others are refused unseen, which costs no training")
        return
    level = warning if share else _error
    yield level(where, f"{text}: raise it or make the ranges smaller")


def _never_reached(space: Space, built: Sequence[Drawn]) -> Iterable[Finding]:
    """Limits that keep nothing out."""
    for key, limit in space.limits.items():
        if key == "latency":
            continue
        most = max(one.price.limited(key) for one in built if one.price is not None)
        if most <= limit:
            yield _info(
                _place(space, "limits", key),
                f"limits.{key} {limit:,.0f} keeps none of {len(built):,} draws out: the largest "
                f"has {most:,}",
            )


def _always_over(space: Space, built: Sequence[Drawn]) -> Iterable[Finding]:
    """Values of a hole with which every network breaks a limit."""
    for hole in space.holes:
        for value, group in _by_value(hole, built).items():
            broken = [over(one, space.limits) for one in group]
            if len(group) >= SURE and all(broken):
                keys = sorted({key for keys in broken for key in keys})
                words = " and ".join(f"limits.{key}" for key in keys)
                yield warning(
                    space.document.where(hole.line),
                    f"{hole.name} can never be {quoted(value)}: every draw with it breaks {words}; "
                    "take it out, or raise the limit",
                )


def _shapes(space: Space, drawn: Sequence[Drawn]) -> Iterable[Finding]:
    """Draws that do not build: by a rule of the file, with one value of a hole, or at all."""
    if not any(one.misfit for one in drawn) or not space.holes:
        return
    by_rule = sum(refused(one) for one in drawn)
    if by_rule:
        share = by_rule / len(drawn)
        text = (
            f"{_percent(share)} of {len(drawn):,} draws are refused by scaling.growth, as the file "
            "asks; that costs no training"
        )
        level = _error if share == 1 else warning if share > 1 - FEW else _info
        yield level(_place(space, "scaling", "growth"), text)
    rest = [one for one in drawn if not refused(one)]
    never = [pair for hole in space.holes for pair in _never_builds(space, hole, rest)]
    for hole, value, fault in never:
        yield warning(
            space.document.where(hole.line),
            f"{hole.name} can never be {quoted(value)}, no draw with it builds: take it out, or "
            f"make it fit: {fault}",
        )
    bad = {(hole.name, value) for hole, value, _ in never}
    others = [one for one in rest if bad.isdisjoint((one.network.decisions or {}).items())]
    ranked = misfits(others)
    if ranked:
        share = sum(times for _, times in ranked) / len(drawn)
        text = f"{_percent(share)} of {len(drawn):,} draws do not build; the commonest fault: "
        level = _error if share == 1 else warning
        yield level(ranked[0][0].where, text + message_of(ranked[0][0]))


def _never_builds(
    space: Space, hole: Hole, drawn: Sequence[Drawn]
) -> Iterable[tuple[Hole, Value, str]]:
    """Values of a hole with which no draw builds, while with others some do."""
    by_value = _by_value(hole, drawn)
    if any(one.price for group in by_value.values() for one in group):
        for value, group in by_value.items():
            if len(group) >= SURE and not any(one.price for one in group):
                yield (
                    hole,
                    value,
                    message_of(_nearest(misfits(group), space.document.where(hole.line))),
                )


def _by_value(hole: Hole, drawn: Sequence[Drawn]) -> dict[Value, list[Drawn]]:
    """The draws with each value of a hole of few; {} of one of many."""
    found: dict[Value, list[Drawn]] = {}
    if (hole.points() or MOST_VALUES + 1) > MOST_VALUES:
        return found
    for one in drawn:
        decisions = one.network.decisions or {}
        if hole.name in decisions:
            found.setdefault(decisions[hole.name], []).append(one)
    return found


def _nearest(ranked: Sequence[tuple[ShapeError, int]], where: str) -> ShapeError:
    """The commonest fault of that line; the commonest of all where there is none."""
    return next((error for error, _ in ranked if error.where == where), ranked[0][0])

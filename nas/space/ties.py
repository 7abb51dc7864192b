"""`!same path`: tied to its target once every place of a file is known."""

from __future__ import annotations

from ..errors import hint
from .compiler import Compiler, Condition, Place
from .template import Broken, Fixed, Same, Template, sames_inside


def tie(compiler: Compiler) -> None:
    """Give every `!same` its target. Raises SpaceError for unknown, inactive and circular."""
    document = compiler.document
    direct: dict[Template, Template] = {}
    for same, conditions in compiler.sames:
        direct[same] = Broken(same.node, same.path)
        with document.going_on():
            place = _place(compiler, same)
            _check_active(compiler, same, place, conditions)
            direct[same] = place.template
    for same, _ in compiler.sames:
        same.target = Broken(same.node, same.path)
        with document.going_on():
            target = _end(compiler, same, direct)
            same.target = target
            target.watched = True
            _check_order(compiler, same, target)
    for same, _ in compiler.sames:
        with document.going_on():
            _check_circle(compiler, same)


def _end(compiler: Compiler, same: Same, direct: dict[Template, Template]) -> Template:
    """What it comes to, through others of its kind."""
    target: Template = same
    for _ in range(len(compiler.sames) + 1):
        if not isinstance(target, Same):
            return target
        target = direct[target]
    raise _circle(compiler, same)


def _place(compiler: Compiler, same: Same) -> Place:
    reference = same.reference
    for outer, inner in reversed(same.scope):
        if reference.startswith(f"{outer}."):
            numbered = inner + reference[len(outer) :]
            if numbered in compiler.places:
                return compiler.places[numbered]
    if reference in compiler.places:
        return compiler.places[reference]
    if any(reference.startswith(f"{row}.") for row in compiler.lost):
        return Place(Broken(same.node, same.path), frozenset())
    first = next((own for own in compiler.untied if reference.startswith(f"{own}.")), None)
    if first is not None:
        raise compiler.document.fault(
            f"{same.path}: !same names {reference!r} of an untied row; name a repetition, "
            f"such as {first}.1{reference[len(first) :]}",
            same.node,
        )
    raise compiler.document.fault(
        f"{same.path}: !same names {reference!r}, which is no value of this file"
        f"{hint(reference, compiler.places)}",
        same.node,
    )


def _check_active(
    compiler: Compiler, same: Same, place: Place, conditions: frozenset[Condition]
) -> None:
    missing = place.conditions - conditions
    if missing:
        name, value = min(missing, key=str)
        state = f"at least {value}" if name.endswith(".repeat") else value
        raise compiler.document.fault(
            f"{same.path}: !same names {same.reference!r}, which is there only while "
            f"{name} is {state}",
            same.node,
        )


def _check_order(compiler: Compiler, same: Same, target: Template) -> None:
    # The further repetitions depend on whether the first one's channels are relative.
    owner, _, key = same.path.rpartition(".")
    is_later = target.node.start > same.node.start and not isinstance(target, Fixed)
    if key == "channels" and owner in compiler.untied and is_later:
        raise compiler.document.fault(
            f"{same.path}: the channels of an untied row cannot be tied to a hole further down; "
            f"put the hole here and !same {same.path} there",
            same.node,
        )


def _check_circle(compiler: Compiler, same: Same) -> None:
    # A target may hold further !same inside; to come back to oneself is a circle.
    open_, seen = [same], set()
    while open_:
        current = open_.pop()
        assert current.target is not None
        for inner in sames_inside(current.target):
            if inner is same:
                raise _circle(compiler, same)
            if inner not in seen:
                seen.add(inner)
                open_.append(inner)


def _circle(compiler: Compiler, same: Same) -> Exception:
    return compiler.document.fault(
        f"{same.path}: !same {same.reference} leads back to itself; state one value", same.node
    )

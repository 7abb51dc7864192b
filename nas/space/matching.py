"""The inverse of `fill`: which decisions spell this architecture?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SpaceError
from ..registry import RECIPE, REQUIRED, SIGNATURES
from .holes import quoted, same, show
from .space import Architecture, Decisions, Space
from .template import (
    Decided,
    Fixed,
    Flat,
    Group,
    Plain,
    Row,
    Rows,
    Same,
    Series,
    Template,
    Untied,
)

ABSENT = object()


class _Outside(Exception):
    """The value at `path` is not one that the space can spell."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(message)


def match(space: Space, architecture: Architecture) -> Decisions:
    """The decisions with which `fill` gives this network and recipe.

    Rows are compared by position, whatever their names; a key that one side leaves out counts as
    its default. Raises SpaceError with the first row or key that is not in the space.
    """
    matcher = _Matcher(space, architecture)
    try:
        for key, section in space.sections.items():
            matcher.section(key, section)
        for key in ("recipe", "defaults", "scaling"):
            if key not in space.sections:
                matcher.section(key, Group(space.document.root, key, {}))
        matcher.check_ties()
    except _Outside as fault:
        raise SpaceError(
            f"{architecture.name} is not in the space {space.name}: {fault}", matcher.place
        ) from None
    order = space.by_name
    return {name: matcher.decisions[name] for name in order if name in matcher.decisions}


class _Matcher:
    def __init__(self, space: Space, architecture: Architecture) -> None:
        self.space, self.architecture = space, architecture
        self.decisions: Decisions = {}
        self.read: dict[Template, Any] = {}
        self.ties: list[tuple[Same, Any]] = []
        self.place = architecture.path
        self.strict = False  # inside alternatives, a left-out key is not its default

    def section(self, key: str, section: Template) -> None:
        value = self.architecture.values.get(key, {})
        if key == "network":
            self.one(section, value, top=True)
            return
        assert isinstance(section, Group)
        self.place = self.architecture.path
        defaults = {}
        if key == "recipe":
            defaults = {name: setting.default for name, setting in RECIPE.items()}
        self.group(section, value, defaults, key)

    def one(self, template: Template, value: Any, *, top: bool = False) -> None:
        """Match one place. Raises _Outside."""
        if template.watched:
            self.read[template] = value
        if isinstance(template, Fixed):
            if not equal(template.value, value):
                raise _Outside(
                    template.path,
                    f"{template.path} is {_shown(value)}, "
                    f"where the space has {_shown(template.value)}",
                )
        elif isinstance(template, Decided):
            self.decided(template, value, top=top)
        elif isinstance(template, Same):
            self.ties.append((template, value))
        elif isinstance(template, Rows):
            self.rows(template, value, top=top)
        elif isinstance(template, Row):
            self.row(template, value)
        elif isinstance(template, Group):
            if not isinstance(value, Mapping):
                raise self.other(template, value)
            self.group(template, dict(value), {}, template.path)
        elif isinstance(template, Series):
            if not isinstance(value, list) or len(value) != len(template.items):
                raise self.other(template, value)
            for item, inner in zip(template.items, value, strict=True):
                self.one(item, inner)

    def other(self, template: Template, value: Any) -> _Outside:
        path = template.path
        return _Outside(path, f"{path} is {_shown(value)}, which has another form in the space")

    def decided(self, template: Decided, value: Any, *, top: bool = False) -> None:
        hole = template.hole
        faults = []
        if not isinstance(value, list | dict):
            try:
                admitted = hole.admit(value)
            except SpaceError:
                pass
            else:
                if admitted not in template.contents:
                    self.decisions[hole.name] = admitted
                    return
        for name, content in template.contents.items():
            kept = dict(self.decisions), dict(self.read), list(self.ties), self.strict
            self.strict = True
            try:
                self.one(content, value, top=top)
            except _Outside as fault:
                self.decisions, self.read, self.ties, self.strict = kept
                faults.append(str(fault))
                continue
            self.strict = kept[3]
            self.decisions[hole.name] = name
            return
        why = f" ({'; '.join(faults)})" if faults else ""
        raise _Outside(
            hole.name, f"{hole.name} is {_shown(value)}, where the space has {hole.domain()}{why}"
        )

    def rows(self, template: Rows, value: Any, *, top: bool) -> None:
        if not isinstance(value, list):
            raise self.other(template, value)
        position = 0
        for entry in template.entries:
            if top and position < len(value):
                self.place = self.architecture.where(position)
            if position >= len(value):
                raise _Outside(entry.path, f"the row {entry.path} is missing")
            if isinstance(entry, Untied):
                position += self.untied(entry, value[position:])
            else:
                self.one(entry, value[position])
                position += 1
        if position < len(value):
            if top:
                self.place = self.architecture.where(position)
            name = value[position].get("name") or value[position].get("op")
            raise _Outside(template.path, f"the row {name} has no place in {template.path}")

    def untied(self, entry: Untied, rows: list[Plain]) -> int:
        count = 0
        while count < len(rows) and rows[count].get("name") == f"{entry.name}_{count + 1}":
            count += 1
        self.one(entry.repeat, count)
        first = rows[0].get("channels")
        later = first if isinstance(first, int) else "x1"
        for k in range(count):
            row = dict(rows[k])
            if k and first is not None and row.pop("channels", None) != later:
                raise _Outside(
                    entry.path, f"{entry.name}_{k + 1} changes the channels; only the first may"
                )
            self.one(entry.rows[k], row)
        return count

    def row(self, template: Row, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise self.other(template, value)
        signature = SIGNATURES.get(str(value["op"]))
        stated = {key: setting.default for key, setting in signature.settings.items()}
        assumed = self.architecture.defaults
        stated.update({key: assumed[key] for key in stated if key in assumed})
        stated["repeat"] = 1
        named = {key: inner for key, inner in value.items() if key != "name"}
        self.group(template, named, {} if self.strict else stated, template.path)

    def group(self, template: Group, value: Plain, defaults: Plain, path: str) -> None:
        rest = dict(value)
        for key, item in template.items.items():
            if isinstance(template, Row) and key == "name":
                continue
            inner = rest.pop(key, ABSENT)
            if inner is ABSENT:
                inner = defaults.get(key, REQUIRED)
            if inner is REQUIRED:
                raise _Outside(item.path, f"{path} states no {key!r}, and the space does")
            flat = item.target if isinstance(item, Same) else item
            if isinstance(flat, Flat):
                self.flat(item, flat, inner, rest, defaults)
            else:
                self.one(item, inner)
        for key, inner in rest.items():
            known = defaults.get(key, REQUIRED)
            if known is REQUIRED or not equal(known, inner):
                raise _Outside(path, f"{path} has {key} {_shown(inner)}, and the space has none")

    def flat(self, item: Template, flat: Flat, name: Any, rest: Plain, defaults: Plain) -> None:
        if not any(same(name, option) for option in flat.contents):
            allowed = ", ".join(show(option) for option in flat.contents)
            raise _Outside(
                item.path, f"{item.path} is {_shown(name)}, where the space has {allowed}"
            )
        inner = flat.contents[name]
        settings: Plain = {}
        for key in inner.items if inner is not None else ():
            settings[key] = rest.pop(key, defaults.get(key, REQUIRED))
            if settings[key] is REQUIRED:
                raise _Outside(item.path, f"{item.path} states no {key!r}, and the space does")
        if isinstance(item, Same):
            self.ties.append((item, (name, settings)))
            return
        if flat.watched:
            self.read[flat] = (name, settings)
        if flat.hole is not None:
            self.decisions[flat.hole.name] = name
        for key, value in settings.items():
            assert inner is not None
            self.one(inner.items[key], value)

    def check_ties(self) -> None:
        for tie, value in self.ties:
            assert tie.target is not None
            wanted = self.read.get(tie.target, getattr(tie.target, "value", None))
            if not equal(wanted, value):
                raise _Outside(
                    tie.path,
                    f"{tie.path} is {_shown(value)}, and {tie.reference}, to which the space ties "
                    f"it, is {_shown(wanted)}",
                )


def equal(a: Any, b: Any) -> bool:
    """Equal as values of a file, all the way down."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return same(a, b)


def _shown(value: Any) -> str:
    return "left out" if value is ABSENT else quoted(value)

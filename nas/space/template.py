"""A document compiled once at load: nodes that `fill` walks, one class a kind of place.

`Template.put` and `Template.fill` are the hot path of every search (20,000 networks a second), so
they are methods on small slotted objects; every other walk (match, count, writing) is a function
in a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .document import Node, Value
from .holes import Hole

Choose = Callable[[Hole], Value]
Plain = dict[str, Any]
NOTHING: Mapping[str, Hole] = MappingProxyType({})


class Run:
    """One filling: who chooses, what was decided, what `!same` may copy.

    `within`: holes that stand for those of the same name, with other ranges.
    """

    __slots__ = ("choose", "decisions", "late", "seen", "within")

    def __init__(self, choose: Choose, within: Mapping[str, Hole] = NOTHING) -> None:
        self.choose = choose
        self.within = within
        self.decisions: dict[str, Value] = {}
        self.seen: dict[Template, Any] = {}
        self.late = False  # a !same stands before its target: `settle` has to come after

    def ask(self, hole: Hole) -> Value:
        """Decide a hole. Raises SpaceError for a value outside."""
        hole = self.within.get(hole.name, hole)
        value = self.decisions[hole.name] = hole.admit(self.choose(hole))
        return value


class Template:
    """A place of the document. `path` is its name, `node` where it stands in the source.

    `watched`: a `!same` copies what is filled in here.
    """

    __slots__ = ("node", "path", "watched")

    def __init__(self, node: Node, path: str) -> None:
        self.node = node
        self.path = path
        self.watched = False

    def fill(self, run: Run) -> Any:
        """The value of this place."""
        raise NotImplementedError

    def put(self, row: Plain, key: str, run: Run) -> None:
        """Fill this place into a mapping; a flat choice adds its option's keys too."""
        row[key] = self.fill(run)


class Broken(Template):
    """A place whose fault is told, where a linter goes on: it is never filled."""

    __slots__ = ()


class Fixed(Template):
    """A value without holes. Lists and mappings are copied: the filled file is its own."""

    __slots__ = ("nested", "value")

    def __init__(self, node: Node, path: str, value: Any) -> None:
        super().__init__(node, path)
        self.value = value
        self.nested = isinstance(value, list | dict)

    def fill(self, run: Run) -> Any:
        return copied(self.value) if self.nested else self.value


class Decided(Template):
    """A hole: a range, or a choice, whose named options may hold more (`contents`)."""

    __slots__ = ("contents", "hole")

    def __init__(self, node: Node, hole: Hole, contents: dict[Value, Template]) -> None:
        super().__init__(node, hole.name)
        self.hole = hole
        self.contents = contents

    def fill(self, run: Run) -> Any:
        value: Any = run.ask(self.hole)
        if self.contents and value in self.contents:
            value = self.contents[value].fill(run)
        if self.watched:
            run.seen[self] = value
        return value


class Flat(Template):
    """A name with settings that are written beside it: `op: bottleneck, expansion: 4`.

    `contents`: the settings of each name; without a `hole` the one name there is stands fixed.
    """

    __slots__ = ("contents", "fixed", "hole")

    def __init__(
        self, node: Node, path: str, hole: Hole | None, contents: dict[str, Group | None]
    ) -> None:
        super().__init__(node, path)
        self.hole = hole
        self.contents = contents
        self.fixed = next(iter(contents)) if hole is None else None

    def put(self, row: Plain, key: str, run: Run) -> None:
        name: Any = self.fixed if self.hole is None else run.ask(self.hole)
        row[key] = name
        inner = self.contents.get(name)
        settings = inner.fill(run) if inner is not None else {}
        row.update(settings)
        if self.watched:
            run.seen[self] = (name, settings)


class Same(Template):
    """`!same path`: what another place holds.

    `target` is tied after all places are known, and is never a Same itself; `scope` holds the
    untied rows around it, each as (its path, the path of this repetition).
    """

    __slots__ = ("reference", "scope", "target")

    def __init__(self, node: Node, path: str, reference: str, scope: Sequence[tuple[str, str]]):
        super().__init__(node, path)
        self.reference = reference
        self.scope = tuple(scope)
        self.target: Template | None = None

    def fill(self, run: Run) -> Any:
        target = self.target
        if isinstance(target, Fixed):
            return target.fill(run)
        if target in run.seen:
            value = run.seen[target]
            return copied(value)
        run.late = True
        return self

    def put(self, row: Plain, key: str, run: Run) -> None:
        value = self.fill(run)
        if isinstance(value, tuple):
            row[key] = value[0]
            row.update(value[1])
        else:
            row[key] = value


class Group(Template):
    """A mapping: `base` holds its fixed values and a place for each of the `live` ones."""

    __slots__ = ("base", "items", "live")

    def __init__(self, node: Node, path: str, items: dict[str, Template]) -> None:
        super().__init__(node, path)
        self.items = items
        self.base: Plain = {}
        self.live: tuple[tuple[str, Template], ...] = ()
        self.sort()

    def sort(self) -> None:
        """Sort fixed from live again, after `items` changed."""
        fixed = {
            key: isinstance(item, Fixed) and not item.nested for key, item in self.items.items()
        }
        self.base = {
            key: item.value if fixed[key] and isinstance(item, Fixed) else None
            for key, item in self.items.items()
        }
        self.live = tuple((key, item) for key, item in self.items.items() if not fixed[key])

    def fill(self, run: Run) -> Any:
        row = self.base.copy()
        for key, item in self.live:
            item.put(row, key, run)
        if self.watched:
            run.seen[self] = row
        return row


class Series(Template):
    """A list that holds a hole somewhere."""

    __slots__ = ("items",)

    def __init__(self, node: Node, path: str, items: tuple[Template, ...]) -> None:
        super().__init__(node, path)
        self.items = items

    def fill(self, run: Run) -> Any:
        values = [item.fill(run) for item in self.items]
        if self.watched:
            run.seen[self] = values
        return values


class Row(Group):
    """A row of a network; `name` is None where it has none of its own and none that is unique."""

    __slots__ = ("name",)

    def __init__(self, node: Node, path: str, items: dict[str, Template], name: str | None):
        super().__init__(node, path, items)
        self.name = name


class Untied(Template):
    """A row whose repetitions are drawn one by one; the filled file writes them out.

    `rows[k]` is repetition k + 1. Channels are `shared`: a stage changes them only at its first
    repetition.
    """

    __slots__ = ("name", "repeat", "rows")

    def __init__(
        self, node: Node, path: str, name: str, repeat: Template, rows: tuple[Row, ...]
    ) -> None:
        super().__init__(node, path)
        self.name = name
        self.repeat = repeat
        self.rows = rows

    def fill(self, run: Run) -> list[Plain]:
        count = self.repeat.fill(run)
        rows: list[Plain] = [row.fill(run) for row in self.rows[:count]]
        first = rows[0].get("channels")
        if first is not None:
            # A relative width after the first repetition would multiply again.
            later = first if isinstance(first, int) else "x1"
            for row in rows[1:]:
                row["channels"] = later
        return rows


class Rows(Template):
    """A list of rows: a network, one of its branches, or what a row repeats."""

    __slots__ = ("entries", "written_out")

    def __init__(self, node: Node, path: str, entries: tuple[Row | Untied, ...]) -> None:
        super().__init__(node, path)
        self.entries = entries
        self.written_out = any(isinstance(entry, Untied) for entry in entries)

    def fill(self, run: Run) -> Any:
        if not self.written_out:
            rows = [entry.fill(run) for entry in self.entries]
        else:
            rows = []
            for entry in self.entries:
                made = entry.fill(run)
                rows.extend(made) if isinstance(entry, Untied) else rows.append(made)
        if self.watched:
            run.seen[self] = rows
        return rows


def copied(value: Any) -> Any:
    """A copy of plain data, with its lists and mappings (copy.deepcopy takes 15 times as long)."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [copied(inner) for inner in value]
    return tuple(map(copied, value)) if isinstance(value, tuple) else value


def settle(value: Any, run: Run) -> Any:
    """Put the values of late `!same` in place, in a filled structure. Returns the value."""
    if isinstance(value, Same):
        assert value.target in run.seen, "the target of a !same is active"
        return copied(settle(run.seen[value.target], run))
    if isinstance(value, list):
        value[:] = [settle(item, run) for item in value]
    elif isinstance(value, tuple):
        return (value[0], settle(value[1], run))
    elif isinstance(value, dict):
        for key in tuple(value):
            inner = settle(value[key], run)
            if isinstance(inner, tuple):
                value[key] = inner[0]
                value.update(inner[1])
            else:
                value[key] = inner
    return value


def inside(template: Template) -> Iterator[Template]:
    """The template and all inside, in file order; it does not follow `!same`."""
    yield template
    parts: list[Template | None] = []
    if isinstance(template, Decided | Flat):
        parts = list(template.contents.values())
    elif isinstance(template, Group):
        parts = list(template.items.values())
    elif isinstance(template, Series):
        parts = list(template.items)
    elif isinstance(template, Rows):
        parts = list(template.entries)
    elif isinstance(template, Untied):
        parts = [template.repeat, *template.rows]
    for part in parts:
        if part is not None:
            yield from inside(part)


def sames_inside(template: Template) -> Iterator[Same]:
    """Every `!same` in there."""
    return (part for part in inside(template) if isinstance(part, Same))

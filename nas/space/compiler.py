"""A document to templates, once at load: names the holes and knows every place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..registry import RECIPE
from .document import (
    UNKNOWN,
    Document,
    Entry,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Value,
    first_tag,
    plain,
)
from .holes import Hole
from .ranges import RANGES, read_choice, read_range
from .settings import REPEAT, ROW_KEYS, check_value
from .template import (
    Broken,
    Decided,
    Fixed,
    Flat,
    Group,
    Row,
    Rows,
    Same,
    Series,
    Template,
    Untied,
)

COMPOSITE = ("branches", "rows")
SHARED_KEYS = ("channels", "stride")
MOST_UNTIED = 100
NAME = re.compile(r"[a-z][a-z0-9_]*")

Reader = Callable[[Node, str], Template]
Condition = tuple[str, Value]


@dataclass(frozen=True)
class Place:
    """What stands at a path, and the decisions that make it active."""

    template: Template
    conditions: frozenset[Condition]


class Compiler:
    """Turns nodes into templates and remembers what it met on the way.

    holes   every hole of every branch, in file order
    places  path -> Place, for `!same` and for hints
    rows    every row, for the checks that need all places known
    lost    paths of rows that a linter cannot know all values of
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.holes: list[Hole] = []
        self.places: dict[str, Place] = {}
        self.sames: list[tuple[Same, frozenset[Condition]]] = []
        self.rows: list[tuple[Row, bool]] = []
        self.choices: list[Decided] = []
        self.untied: list[str] = []
        self.lost: list[str] = []
        self._conditions: list[Condition] = []
        self._scope: list[tuple[str, str]] = []
        self._later = False  # inside the second or a further repetition of an untied row

    # Values

    def value(self, node: Node, path: str, reader: Reader | None = None) -> Template:
        """Any value. `reader` reads what is no hole (rows, branches); without it: plain data."""
        made: Template = Broken(node, path)
        with self.document.going_on():
            made = self.read(node, path, reader)
        return self.keep(made)

    def read(self, node: Node, path: str, reader: Reader | None) -> Template:
        """The template of a value. Raises SpaceError."""
        if node.tag == "!same":
            return self.same(node, path)
        if node.tag == "!choice":
            return self.choice(node, path, reader)
        if node.tag in RANGES:
            return Decided(node, self.hole(read_range(self.document, node, path)), {})
        if node.tag == UNKNOWN:
            return Broken(node, path)
        if reader is not None:
            return reader(node, path)
        if isinstance(node, Mapping):
            items = {k: self.value(e.value, f"{path}.{k}") for k, e in node.entries.items()}
            if node.tagged:
                return Group(node, path, items)
        elif isinstance(node, Sequence):
            parts = [self.value(item, f"{path}.{k}") for k, item in enumerate(node.items, 1)]
            if node.tagged:
                return Series(node, path, tuple(parts))
        return Fixed(node, path, plain(node))

    def keep(self, template: Template) -> Template:
        """Remember the place under its path."""
        self.places.setdefault(template.path, Place(template, frozenset(self._conditions)))
        return template

    def hole(self, hole: Hole) -> Hole:
        """Remember a hole. Raises SpaceError where two would have one name."""
        for other in self.holes:
            if other.name == hole.name:
                raise self.document.fault(
                    f"the hole {hole.name} has the name of the one in line {other.line}; "
                    "rename the row or the option",
                    hole.line,
                )
        self.holes.append(hole)
        return hole

    def same(self, node: Node, path: str) -> Same:
        """`!same path`, to be tied later."""
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            raise self.document.fault(
                f"{path}: !same takes the path of a value, such as network.stage1.kernel", node
            )
        made = Same(node, path, node.value, self._scope)
        self.sames.append((made, frozenset(self._conditions)))
        return made

    def choice(self, node: Node, path: str, reader: Reader | None) -> Decided:
        """A choice whose named options are whole values."""
        choice = read_choice(self.document, node, path)
        values = tuple(option.value for option in choice.options)
        hole = self.hole(Hole(path, "choice", choice.default, node.line, values))
        contents: dict[Value, Template] = {}
        for option in choice.options:
            if option.content is not None:
                assert isinstance(option.value, str)
                with self.under((path, option.value)):
                    inner = f"{path}.{option.value}"
                    contents[option.value] = self.value(option.content, inner, reader)
            elif reader is not None:
                raise self.document.fault(
                    f"{path}: an option here is a name with its rows, {{small: [{{op: …}}]}}",
                    option.node,
                )
        made = Decided(node, hole, contents)
        self.choices.append(made)
        return made

    @contextmanager
    def under(self, condition: Condition) -> Iterator[None]:
        """What is read inside is active only with that decision."""
        self._conditions.append(condition)
        try:
            yield
        finally:
            self._conditions.pop()

    # Names with settings: op, and recipe keys whose options bring others along

    def flat(self, node: Node, prefix: str, key: str) -> Template:
        """`op: bottleneck`, `op: {bottleneck: {…}}` or a choice of those, of the row `prefix`."""
        path = f"{prefix}.{key}"
        if node.tag == "!same":
            return self.keep(self.same(node, path))
        if node.tag and node.tag != "!choice":
            raise self.document.fault(f"{path} is a name; its hole is a !choice", node)
        if node.tag:
            choice = read_choice(self.document, node, path)
            options = {o.value: o.content for o in choice.options}
            hole = self.hole(Hole(path, "choice", choice.default, node.line, tuple(options)))
        elif isinstance(node, Mapping) and len(node.entries) == 1:
            hole, options = None, {k: e.value for k, e in node.entries.items()}
        else:
            return self.keep(Fixed(node, path, plain(node)))
        contents: dict[str, Group | None] = {}
        for name, content in options.items():
            if not isinstance(name, str):
                raise self.document.fault(f"{path} has the option {name!r}, which is no name", node)
            if hole is None:
                contents[name] = self.settings(content, f"{prefix}.{name}")
                continue
            with self.under((path, name)):
                contents[name] = self.settings(content, f"{prefix}.{name}")
        return self.keep(Flat(node, path, hole, contents))

    def settings(self, node: Node | None, path: str) -> Group | None:
        """What an option of `op` holds."""
        if node is None or (isinstance(node, Scalar) and node.value is None and not node.tag):
            return None
        if not isinstance(node, Mapping) or node.tag:
            raise self.document.fault(
                f"{path}: the settings of an option are a mapping, such as {{kernel: 3}}", node
            )
        items: dict[str, Template] = {}
        for key, entry in node.entries.items():
            with self.document.going_on():
                if key in ROW_KEYS and path.startswith("network."):
                    raise self.document.fault(
                        f"{path}.{key}: '{key}' belongs to the row, not into an option of its op",
                        entry.key,
                    )
                if not (self._later and key in SHARED_KEYS):
                    items[key] = self.value(entry.value, f"{path}.{key}", self.reader(key))
        return Group(node, path, items)

    # Rows

    def reader(self, key: str) -> Reader | None:
        """How the value of a row's key is read, where it is no plain data."""
        return {"rows": self.rows_of, "branches": self.branches_of}.get(key)

    def rows_of(self, node: Node, path: str) -> Rows:
        """A list of rows: `network`, a branch, or what a row repeats."""
        if not isinstance(node, Sequence) or not node.items:
            raise self.document.fault(f"{path} must be a list of rows, [{{op: …}}, …]", node)
        parent = path.removesuffix(".rows")  # network.cell.rows -> network.cell.conv
        names = self.own_names(self.names(node, parent), parent)
        before, self._later = self._later, False
        entries: list[Row | Untied] = []
        for item, name in names:
            number = node.items.index(item) + 1
            own = f"{parent}.{name}" if name else f"{parent}.row {number}"
            with self.document.going_on():
                entries.append(self.row(item, own, name))
                continue
            self.lost.append(own)
        self._later = before
        with self.document.going_on():
            self.check_numbered(entries, parent)
        return Rows(node, path, tuple(entries))

    def branches_of(self, node: Node, path: str) -> Series:
        """Parallel lists of rows, numbered from 1."""
        if not isinstance(node, Sequence) or not node.items:
            raise self.document.fault(f"{path} must be a list of lists of rows", node)
        parent = path.removesuffix(".branches")  # network.cell.branches -> network.cell.1.conv
        parts = []
        for k, item in enumerate(node.items, 1):
            parts.append(self.value(item, f"{parent}.{k}", self.rows_of))
        return Series(node, path, tuple(parts))

    def names(self, node: Sequence, path: str) -> list[tuple[Mapping, str | None]]:
        """Each row with its name: its own, else its operator's where that is unique."""
        found: list[tuple[Mapping, str | None, bool]] = []
        for k, item in enumerate(node.items, 1):
            with self.document.going_on():
                found.append(self.stated_name(item, path, k))
        taken = [name for _, name, _ in found]
        return [(n, m if own or taken.count(m) == 1 else None) for n, m, own in found]

    def stated_name(self, item: Node, path: str, k: int) -> tuple[Mapping, str | None, bool]:
        """A row with its own name, or else its operator's; and whether it is its own."""
        if not isinstance(item, Mapping) or item.tag:
            raise self.document.fault(
                f"{path}: row {k} must be a mapping such as {{name: stem, op: conv}}"
                + (", with the hole at its op" if item.tag else ""),
                item,
            )
        stated = item.get("name")
        if stated is None:
            return item, _operator(item), False
        name = stated.value if isinstance(stated, Scalar) and not stated.tag else None
        if not isinstance(name, str) or not NAME.fullmatch(name):
            text = self.document.excerpt(stated)
            self.lost.append(f"{path}.{name}")
            raise self.document.fault(
                f"{path}: the name {text} of row {k} must be small letters, digits and _, "
                "a letter first",
                stated,
            )
        return item, name, True

    def own_names(
        self, names: list[tuple[Mapping, str | None]], path: str
    ) -> list[tuple[Mapping, str | None]]:
        """Those rows whose name no row before them has. Raises SpaceError for the others."""
        seen: dict[str, int] = {}
        kept = []
        for item, name in names:
            with self.document.going_on():
                if name in seen:
                    raise self.document.fault(
                        f"{path}: the name {name} is taken by the row in line {seen[name]}", item
                    )
                if name is None and item.tagged:
                    raise self.document.fault(
                        f"{path}: a row with a hole needs a name, such as {{name: stage1, …}}", item
                    )
                seen |= {} if name is None else {name: item.line}
                kept.append((item, name))
        return kept

    def check_numbered(self, entries: list[Row | Untied], path: str) -> None:
        """The names that untied rows are written out with must be free."""
        numbered: dict[str, str] = {}
        for entry in entries:
            for k in range(1, len(entry.rows) + 1) if isinstance(entry, Untied) else ():
                words = f"repetition {k} of the untied row {entry.name} in line {entry.node.line}"
                numbered[f"{entry.name}_{k}"] = words
        for entry in entries:
            if entry.name in numbered:
                raise self.document.fault(
                    f"{path}: the name {entry.name} is taken by {numbered[entry.name]}", entry.node
                )

    def row(self, node: Mapping, own: str, name: str | None) -> Row | Untied:
        untied = node.get("untied")
        if untied is None or (isinstance(untied, Scalar) and untied.value is False):
            return self.body(node, own, name)
        if not isinstance(untied, Scalar) or untied.tag or untied.value is not True:
            raise self.document.fault(f"{own}.untied must be true or false", untied)
        if name is None:
            raise self.document.fault(f"{own} is untied, so it needs a name", node)
        repeat = node.get("repeat")
        if repeat is None or repeat.tag == "!same":
            raise self.document.fault(
                f"{own} is untied, so it needs a 'repeat' of its own: a number or a hole",
                repeat or untied,
            )
        times = self.read(repeat, f"{own}.repeat", None)
        self.keep(times)
        check_value(self.document, REPEAT, times, f"{own}.repeat")
        least, most = _bounds(times)
        if most > MOST_UNTIED:
            raise self.document.fault(
                f"{own} is untied and repeats up to {most} times; at most {MOST_UNTIED}", repeat
            )
        self.untied.append(own)
        made = [self.repetition(node, own, name, k, least) for k in range(1, most + 1)]
        return Untied(node, own, name, times, tuple(made))

    def repetition(self, node: Mapping, own: str, name: str, k: int, least: int) -> Row:
        """Repetition k of an untied row; a stage changes shapes only at its first one."""
        before, self._later = self._later, self._later or k > 1
        self._scope.append((own, f"{own}.{k}"))
        try:
            if k <= least:
                return self.body(node, own, f"{name}_{k}", k)
            with self.under((f"{own}.repeat", k)):
                return self.body(node, own, f"{name}_{k}", k)
        finally:
            self._later = before
            self._scope.pop()

    def body(self, node: Mapping, own: str, name: str | None, number: int = 0) -> Row:
        prefix = f"{own}.{number}" if number else own
        items: dict[str, Template] = {}
        for key, entry in node.entries.items():
            with self.document.going_on():
                self.put(items, key, entry, own, name, number)
        if number and "name" not in items:
            items = {"name": Fixed(node, prefix, name), **items}
        if "op" not in items:
            items["op"] = Fixed(node, f"{prefix}.op", self.implied(node, prefix))
        made = Row(node, prefix, items, name)
        self.rows.append((made, number > 1))
        return made

    def put(
        self, items: dict[str, Template], key: str, entry: Entry, own: str, name: str | None,
        number: int,
    ) -> None:  # fmt: skip
        """One key of a row. Raises SpaceError."""
        prefix = f"{own}.{number}" if number else own
        path = f"{prefix}.{key}"
        if key == "op":
            self.put_flat(items, entry.value, prefix, key)
        elif key == "name":
            items[key] = Fixed(entry.value, path, name)
        elif key == "untied" or (key == "repeat" and number):
            return
        elif key in SHARED_KEYS and number:
            if number == 1:
                items[key] = self.value(entry.value, f"{own}.{key}")
        elif key in items:
            raise self.both(prefix, key, entry.key)
        else:
            items[key] = self.value(entry.value, path, self.reader(key))

    def put_flat(self, items: dict[str, Template], node: Node, prefix: str, key: str) -> None:
        made: Template = Broken(node, f"{prefix}.{key}")
        with self.document.going_on():
            made = self.flat(node, prefix, key)
        if isinstance(made, Broken):
            self.lost.append(prefix)
        if not isinstance(made, Flat) or made.hole or node.tagged:
            items[key] = made
            return
        (name, settings), *_ = made.contents.items()
        items[key] = Fixed(node, made.path, name)
        for inner, template in (settings.items if settings else {}).items():
            if inner in items:
                raise self.both(prefix, inner, template.node)
            items[inner] = template

    def both(self, prefix: str, key: str, node: Node) -> Exception:
        return self.document.fault(
            f"{prefix}: the key {key!r} stands in the row and in its op as well; keep one", node
        )

    def implied(self, node: Mapping, prefix: str) -> str:
        given = [key for key in COMPOSITE if key in node.entries]
        if len(given) == 1:
            return given[0]
        if given:
            raise self.document.fault(f"{prefix} has both branches and rows; keep one", node)
        raise self.document.fault(f"{prefix} has no op; write {{op: conv, …}}", node)

    # Sections

    def section(self, key: str, node: Node) -> Group:
        """`defaults`, `scaling` or `recipe`: mappings that may hold holes."""
        if isinstance(node, Scalar) and node.value is None and not node.tag:
            node = Mapping(
                None, node.line, node.column, node.start, node.end, entries={}, elsewhere=True
            )
        if not isinstance(node, Mapping) or node.tag:
            raise self.document.fault(f"{key} must be a mapping of keys to values", node)
        items: dict[str, Template] = {}
        for inner, entry in node.entries.items():
            with self.document.going_on():
                if inner in items:
                    raise self.both(key, inner, entry.key)
                if key == "recipe" and _brings_others(inner, entry.value):
                    self.put_flat(items, entry.value, key, inner)
                else:
                    items[inner] = self.value(entry.value, f"{key}.{inner}")
        return Group(node, key, items)

    def untagged(self, key: str, node: Node) -> Node:
        """A section that holds no hole. Raises SpaceError where it does."""
        tagged = first_tag(node)
        if tagged is not None:
            raise self.document.fault(
                f"{tagged.tag} under {key}; holes stand in network, defaults, scaling and recipe",
                tagged,
            )
        return node


def _operator(node: Mapping) -> str | None:
    """The operator's name, where no hole leaves it open."""
    op = node.get("op")
    if op is None:
        return next((key for key in COMPOSITE if key in node.entries), None)
    if isinstance(op, Mapping) and not op.tag and len(op.entries) == 1:
        return next(iter(op.entries))
    if isinstance(op, Scalar) and not op.tag and isinstance(op.value, str):
        return op.value
    return None


def _bounds(times: Template) -> tuple[int, int]:
    """The least and the most repetitions, of a checked `repeat`."""
    if isinstance(times, Broken):
        return 1, 1
    if isinstance(times, Fixed):
        return times.value, times.value
    assert isinstance(times, Decided)
    if times.hole.kind != "choice":
        return int(times.hole.low), int(times.hole.high)
    counts = [
        _bounds(times.contents[o])[1] if o in times.contents else o for o in times.hole.options
    ]
    whole = [count for count in counts if isinstance(count, int)]
    return min(whole), max(whole)


def _brings_others(key: str, node: Node) -> bool:
    """A recipe key whose named options hold other keys: {adamw: {weight_decay: 0.05}}."""
    if key not in RECIPE or "mapping" in RECIPE.get(key).kinds:
        return False
    if node.tag == "!choice":
        inner = node.get("options") if isinstance(node, Mapping) else node
        listed = inner if inner is not None else node
        parts = listed.items if isinstance(listed, Sequence) else (listed,)
        return any(isinstance(part, Mapping) for part in parts)
    return isinstance(node, Mapping) and node.tag is None

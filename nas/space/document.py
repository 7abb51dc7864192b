"""A YAML 1.2 file as nodes that know where they stand in the source text.

Composed from ruamel.yaml's events and not with its loader, because filling splices values into
the source at a node's marks: an alias must know its own place and not its anchor's, and the end
of a block must be its last visible character and not the start of what follows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

from ..errors import SpaceError

Value = int | float | str | bool | None
Origins = tuple[str, ...]
Faults = list[SpaceError] | None

TAGS = ("!choice", "!int", "!float", "!log", "!same")
UNKNOWN = "!?"  # stands for any other tag, where a linter goes on
EXAMPLE = "write !choice, !int, !float, !log or !same"
# An alias of aliases of aliases can stand for billions of nodes ("billion laughs").
MOST_NODES = 100_000


@dataclass(frozen=True, eq=False)
class Node:
    """What all nodes know: `start:end` is their text, `line` counts from 1, `column` from 0.

    `tagged`: this node or one inside bears a tag. `elsewhere`: its text is an alias or a merged
    key, so a splice at the marks of what is inside would change another place.
    """

    tag: str | None
    line: int
    column: int
    start: int
    end: int
    tagged: bool = False
    elsewhere: bool = False
    size: int = 1


@dataclass(frozen=True, eq=False)
class Scalar(Node):
    """One value; `plain`: written without quotes."""

    value: Value = None
    plain: bool = True


@dataclass(frozen=True, eq=False)
class Sequence(Node):
    """A list; `flow`: written as [a, b]."""

    items: tuple[Node, ...] = ()
    flow: bool = False


@dataclass(frozen=True, eq=False)
class Entry:
    """A key of a mapping with its value; `merged`: it came through `<<`."""

    key: Scalar
    value: Node
    merged: bool = False


@dataclass(frozen=True, eq=False)
class Mapping(Node):
    """Keys to values, in file order, merged ones last; `flow`: written as {a: b}."""

    entries: dict[str, Entry] = field(default_factory=dict)
    flow: bool = False

    def get(self, key: str) -> Node | None:
        """The value under `key`, if it is there."""
        entry = self.entries.get(key)
        return entry.value if entry else None


@dataclass(frozen=True)
class Document:
    """A file's text and its nodes; `path` is what errors call it.

    origins  of each line of the text, its `file:line`; empty where that is `path` and the line
    faults   of a linter, which notes them and goes on; None: the first one is raised
    """

    path: str
    text: str
    root: Mapping
    origins: Origins = ()
    faults: Faults = field(default=None, compare=False)

    def where(self, node: Node | int) -> str:
        """`file:line`, as every error says it."""
        return place(self.path, self.origins, node if isinstance(node, int) else node.line)

    def excerpt(self, node: Node) -> str:
        """What is written there, in one short line, for errors."""
        return excerpt(self.text[node.start : node.end])

    def fault(self, message: str, node: Node | int) -> SpaceError:
        """A SpaceError that says where."""
        kind = ToldError if isinstance(node, Node) and node.tag == UNKNOWN else SpaceError
        return kind(message, self.where(node))

    def going_on(self) -> GoingOn:
        """Around what is checked by itself: a linter goes on after its fault."""
        return GoingOn(self.faults)


class ToldError(SpaceError):
    """A fault that follows from one which is told already."""


class GoingOn:
    """A `with` that notes a fault in `faults` and goes on behind itself; None: it lets it pass."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        if self.faults is None or not isinstance(error, SpaceError):
            return False
        if not isinstance(error, ToldError):
            self.faults.append(error)
        return True


def excerpt(text: str) -> str:
    """The text in one line of at most 40 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:39] + "…"


def place(path: str, origins: Origins, line: int) -> str:
    """`file:line` of a line of that text."""
    return origins[line - 1] if 0 < line <= len(origins) else f"{path}:{line}"


def compose(text: str, path: str, origins: Origins = (), faults: Faults = None) -> Document:
    """Text to a Document. Raises SpaceError for anything that is not one YAML mapping.

    `faults`: where a linter notes those that leave the rest readable.
    """
    root = compose_value(text, path, origins, faults)
    if root is None:
        raise SpaceError("the file is empty; a space holds at least 'network: [rows]'", path)
    if not isinstance(root, Mapping):
        kind = "a list" if isinstance(root, Sequence) else "a single value"
        raise SpaceError(
            f"the file holds {kind}; a space is a mapping with the key 'network'",
            place(path, origins, root.line),
        )
    return Document(path, text, root, origins, faults)


def compose_value(
    text: str, path: str, origins: Origins = (), faults: Faults = None
) -> Node | None:
    """Text to the node of its one value, None where it is empty. Raises SpaceError."""
    try:
        return _Composer(text, path, origins, faults).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SpaceError(f"not YAML: {_problem(error)}", place(path, origins, line)) from None
    except YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        problem = str(error).splitlines()[0]
        raise SpaceError(f"not YAML: {problem}", f"{path}:{line}") from None
    except RecursionError:
        raise SpaceError("lists and mappings are nested too deeply to be read", path) from None


def plain(node: Node) -> Any:
    """A node without tags as plain Python values."""
    if isinstance(node, Mapping):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.value


def canonical(node: Node) -> Any:
    """A node with its tags as plain Python values, for digests: comments and layout are gone."""
    inner: Any
    if isinstance(node, Mapping):
        inner = {key: canonical(entry.value) for key, entry in node.entries.items()}
    elif isinstance(node, Sequence):
        inner = [canonical(item) for item in node.items]
    else:
        inner = plain(node)
    return {node.tag: inner} if node.tag else inner


def walk(node: Node) -> Iterator[Node]:
    """The node and all inside, in file order."""
    yield node
    if isinstance(node, Mapping):
        for entry in node.entries.values():
            yield from walk(entry.value)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from walk(item)


def first_tag(node: Node) -> Node | None:
    """The first node inside that bears a tag."""
    return next((inner for inner in walk(node) if inner.tag), None) if node.tagged else None


def scalar_of(text: str) -> Value:
    """What a plain scalar means in YAML 1.2: `1e-3` is a number, `no` is a string."""
    tag = str(_RESOLVER.resolve(ScalarNode, text, (True, False))).rpartition(":")[2]
    bare = text.replace("_", "")
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag == "int":
        signless = bare.lstrip("+-")
        base = {"0x": 16, "0o": 8, "0b": 2}.get(signless[:2].lower(), 10)
        return int(bare, base)
    if tag == "float":
        return float(bare.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text  # dates as well: they are no JSON


_RESOLVER = YAML(typ="safe", pure=True).resolver


def _problem(error: MarkedYAMLError) -> str:
    words = [part for part in (error.problem, error.context) if part]
    said = " ".join(words) if words else "cannot be read"
    return f"{said}; indent with spaces, not with tabs" if "'\\t'" in said else said


class _Composer:
    def __init__(self, text: str, path: str, origins: Origins, faults: Faults) -> None:
        self.text, self.path, self.origins, self.faults = text, path, origins, faults
        self.events = YAML(typ="safe", pure=True).parse(text)
        self.anchors: dict[str, Node | None] = {}
        self.size = 0

    def document(self) -> Node | None:
        root = None
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    raise self.fault("a second document begins ('---'); a space is one", event)
                if event.version not in (None, (1, 2)):
                    raise self.fault("only YAML 1.2 is read; take the %YAML line out", event)
                root = self.node(next(self.events))
        if isinstance(root, Scalar) and root.value is None and root.start == root.end:
            return None
        return root

    def fault(self, message: str, at: Any) -> SpaceError:
        line = at.line if isinstance(at, Node) else at.start_mark.line + 1
        return SpaceError(message, place(self.path, self.origins, line))

    def node(self, event: Any) -> Node:
        if isinstance(event, AliasEvent):
            return self.alias(event)
        if event.anchor:
            self.anchors[event.anchor] = None  # known, not complete
        made = self.bare(event)
        if event.anchor:
            if made.tagged:
                raise self.fault(
                    f"the anchor &{event.anchor} holds a hole, which every alias would copy; "
                    "take the anchor out and tie values with !same",
                    first_tag(made),
                )
            self.anchors[event.anchor] = made
        return made

    def alias(self, event: Any) -> Node:
        target = self.anchors.get(event.anchor)
        if target is None:
            why = "lies inside its own anchor" if event.anchor in self.anchors else "has no anchor"
            raise self.fault(f"the alias *{event.anchor} {why}", event)
        self.grow(target.size, event)
        start, end = event.start_mark, event.end_mark
        return replace(
            target,
            line=start.line + 1,
            column=start.column,
            start=start.index,
            end=end.index,
            elsewhere=True,
        )

    def grow(self, by: int, event: Any) -> None:
        self.size += by
        if self.size > MOST_NODES:
            raise self.fault(f"aliases expand to more than {MOST_NODES:,} values", event)

    def bare(self, event: Any) -> Node:
        self.grow(1, event)
        tag = self.tag(event)
        if isinstance(event, ScalarEvent):
            return self.scalar(event, tag)
        start = event.start_mark
        at = {"tag": tag, "line": start.line + 1, "column": start.column, "start": start.index}
        if isinstance(event, SequenceStartEvent):
            items, last = self.items()
            end = self.end(event, last, [item.end for item in items])
            tagged = bool(tag) or any(item.tagged for item in items)
            size = 1 + sum(item.size for item in items)
            return Sequence(
                **at, end=end, tagged=tagged, size=size, items=items, flow=bool(event.flow_style)
            )
        assert isinstance(event, MappingStartEvent)
        entries, last, ends = self.entries()
        end = self.end(event, last, ends)
        tagged = bool(tag) or any(entry.value.tagged for entry in entries.values())
        size = 1 + sum(entry.value.size for entry in entries.values())
        return Mapping(
            **at, end=end, tagged=tagged, size=size, entries=entries, flow=bool(event.flow_style)
        )

    def end(self, event: Any, last: Any, inner: list[int]) -> int:
        # A block's own end mark lies at the start of the next token, after comments.
        block_end = max(inner, default=event.end_mark.index)
        return int(last.end_mark.index if event.flow_style else block_end)

    def tag(self, event: Any) -> str | None:
        tag = event.tag
        if tag is None:
            return None
        if tag in TAGS:
            return str(tag)
        shown = str(tag).replace("tag:yaml.org,2002:", "!!")
        with GoingOn(self.faults):
            raise self.fault(f"unknown tag {shown}; {EXAMPLE}", event)
        return UNKNOWN

    def scalar(self, event: Any, tag: str | None) -> Scalar:
        start, end = event.start_mark, event.end_mark
        unquoted = not event.style
        value = scalar_of(event.value) if unquoted else event.value
        if isinstance(value, float) and not math.isfinite(value):
            raise self.fault(f"{event.value} is no finite number", event)
        # The mark of a block scalar (| and >) lies behind its line's end.
        last = start.index + len(self.text[start.index : end.index].rstrip())
        return Scalar(
            tag, start.line + 1, start.column, start.index, last, bool(tag), False, 1,
            value, unquoted,
        )  # fmt: skip

    def items(self) -> tuple[tuple[Node, ...], Any]:
        items: list[Node] = []
        for event in self.events:
            if isinstance(event, SequenceEndEvent):
                return tuple(items), event
            items.append(self.node(event))
        raise AssertionError("events end inside a list")

    def entries(self) -> tuple[dict[str, Entry], Any, list[int]]:
        own: dict[str, Entry] = {}
        merges: list[Node] = []
        for event in self.events:
            if isinstance(event, MappingEndEvent):
                ends = [node.end for node in (*merges, *(entry.value for entry in own.values()))]
                for word, entry in (pair for node in merges for pair in self.merged(node)):
                    own.setdefault(word, entry)
                return own, event, ends
            if isinstance(event, ScalarEvent) and event.value == "<<" and not event.style:
                merges.append(self.node(next(self.events)))
                continue
            key = self.key(event)
            assert isinstance(key.value, str)
            with GoingOn(self.faults):
                self.check_new(key, own)
            entry = Entry(key, self.behind(key, self.node(next(self.events))))
            own.setdefault(key.value, entry)
        raise AssertionError("events end inside a mapping")

    def check_new(self, key: Scalar, own: dict[str, Entry]) -> None:
        """Raises SpaceError where the mapping has this key already."""
        if key.value in own:
            first = own[str(key.value)].key.line
            raise self.fault(
                f"the key {key.value!r} stands here and in line {first}; keep one", key
            )

    def behind(self, key: Scalar, node: Node) -> Node:
        """The mark of an empty value lies at the next token; it belongs behind the colon."""
        if node.start != node.end:
            return node
        gap = self.text[key.end : node.start]
        at = key.end + gap.index(":") + 1 if ":" in gap else key.end
        return replace(node, line=key.line, start=at, end=at)

    def merged(self, node: Node) -> Iterator[tuple[str, Entry]]:
        if node.tagged:
            raise self.fault("a merge key (<<) holds a hole; tie values with !same", node)
        sources = node.items if isinstance(node, Sequence) else (node,)
        for source in sources:
            if not isinstance(source, Mapping):
                raise self.fault("a merge key (<<) takes a mapping or a list of them", node)
            for key, entry in source.entries.items():
                yield key, Entry(entry.key, replace(entry.value, elsewhere=True), merged=True)

    def key(self, event: Any) -> Scalar:
        line_before = self.text[: event.start_mark.index].rpartition("\n")[2].rstrip()
        if line_before.endswith("?") and "#" not in line_before:
            raise self.fault("write keys as 'key: value', not as '? key'", event)
        node = self.node(event)
        if not isinstance(node, Scalar) or node.tag or not isinstance(node.value, str):
            text = excerpt(self.text[node.start : node.end])
            said = f"the key {text}" if text else "an empty key"
            raise self.fault(f"{said} is no word; quote it if it is meant as one", event)
        return node

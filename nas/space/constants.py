"""`--set path=value`: a constant in the place of any value or hole, written into the text."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from typing import Any

from ..errors import SpaceError, hint
from ..registry import RECIPE
from .compiler import Compiler
from .document import (
    Document,
    Mapping,
    Node,
    Origins,
    Scalar,
    Sequence,
    compose,
    compose_value,
    plain,
)
from .ranges import read_choice
from .sections import EXPLICIT, INPUT, LIMITS, SECTIONS
from .space import Architecture, Space, compile_space, parse_document
from .template import inside
from .writing import with_key, with_value


def set_constants(document: Document, constants: AnyMapping[str, object]) -> Space | Architecture:
    """The file with the constants in place. Raises SpaceError for an unknown path."""
    known = _known(document)  # what is wrong without the constants is said without them
    for name, value in constants.items():
        try:
            text = _set(document, name, _constant(name, value), known)
            origins = _origins(document, text, f"--set {name}={value}")
            document = compose(text, document.path, origins)
            parse_document(document)
        except SpaceError as error:
            message = str(error)
            prefix = f"--set {name}={value}: "
            raise SpaceError(message if message.startswith("--set") else prefix + message) from None
    return parse_document(document)


def _origins(document: Document, text: str, constant: str) -> Origins:
    """The origins of the lines of a text that differs from the document's in one place.

    A line that the constant adds is its own: the file has none for it.
    """
    at, old, new = document.origins, document.text.split("\n"), text.split("\n")
    longer = len(new) - len(old)
    if not longer:
        return at
    at = at or tuple(f"{document.path}:{number + 1}" for number in range(len(old)))
    pairs = enumerate(zip(old, new, strict=False))
    first = next((k for k, (before, after) in pairs if before != after), len(old) - 1)
    if longer > 0:
        return at[:first] + (constant,) * longer + at[first:]
    return at[: first + 1] + at[first + 1 - longer :]


def _constant(name: str, value: object) -> Any:
    if not isinstance(value, str):
        return value
    node = compose_value(value, f"--set {name}")
    if node is None:
        return None
    if node.tagged:
        raise SpaceError(f"--set {name}={value}: a constant is wanted, not a hole")
    return plain(node)


def _known(document: Document) -> list[str]:
    space = compile_space(document)
    paths = {part.path for section in space.sections.values() for part in inside(section)}
    paths |= {f"recipe.{key}" for key in RECIPE.names()}
    paths |= {f"limits.{key}" for key in LIMITS} | {f"input.{key}" for key in INPUT}
    paths |= {f"scaling.{key}" for key in EXPLICIT}
    return sorted(path for path in paths if "row " not in path)


def _set(document: Document, name: str, value: Any, known: list[str]) -> str:
    steps = name.split(".")
    if not all(steps) or steps[0] not in SECTIONS:
        raise SpaceError(f"--set {name}: unknown path{hint(name, known)}")
    root = document.root
    if len(steps) > 1 and steps[0] not in root.entries:
        nested: Any = value
        for step in reversed(steps[1:]):
            nested = {step: nested}
        return with_key(document, root, steps[0], nested)
    found = _Finder(document).find(root, steps)
    if found is None:
        raise SpaceError(f"--set {name}: unknown path{hint(name, known)}")
    parent, key, node = found
    if isinstance(parent, Mapping) and not parent.tag:
        return with_key(document, parent, key, value)
    assert node is not None
    # `recipe:` with nothing behind it is an empty mapping.
    return with_value(document, node, {key: value} if isinstance(parent, Scalar) else value)


Found = tuple[Node, str, Node | None]


class _Finder:
    """Follows a path from node to node: keys, row names, numbers, names of options."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def find(self, node: Node, steps: list[str]) -> Found | None:
        """The mapping and key (or the node in a list) that the path means; None: nothing."""
        step, rest = steps[0], steps[1:]
        if not isinstance(node, Mapping) or node.tag:
            return self.find_part(node, steps)
        entry = node.entries.get(step)
        if not rest:
            return node, step, entry.value if entry else None
        inner = entry.value if entry else None
        if inner is None:
            return None
        if isinstance(inner, Scalar) and inner.value is None and not inner.tag:
            return (inner, rest[0], inner) if len(rest) == 1 else None
        return self.into(inner, step, rest)

    def into(self, node: Node, key: str, rest: list[str]) -> Found | None:
        """Behind a key of the file or of a row."""
        if node.elsewhere:
            text = self.document.excerpt(node)
            raise self.document.fault(
                f"{key} is written as {text}; set it as a whole, not {'.'.join(rest)} in it", node
            )
        if node.tag:
            return self.option(node, key, rest)
        if key in ("network", "rows"):
            return self.row(node, rest)
        if key == "branches" and isinstance(node, Sequence):
            return self.branch(node, rest)
        return self.find(node, rest)

    def option(self, node: Node, key: str, rest: list[str]) -> Found | None:
        """Inside a choice: the first step is an option's name."""
        if node.tag != "!choice":
            return None
        for option in read_choice(self.document, node, key).options:
            if option.value == rest[0] and option.content is not None and len(rest) > 1:
                return self.into(option.content, key if key != "op" else "", rest[1:])
        return None

    def row(self, node: Node, steps: list[str]) -> Found | None:
        """A list of rows: the first step is a row's name."""
        if not isinstance(node, Sequence):
            return None
        for item, name in Compiler(self.document).names(node, "network"):
            if name == steps[0]:
                return self.in_row(item, steps[1:]) if len(steps) > 1 else (node, "", item)
        return None

    def in_row(self, row: Mapping, steps: list[str]) -> Found | None:
        """A key of the row, an option of its op, or a row inside of it."""
        step = steps[0]
        if step.isdigit() and "untied" in row.entries:
            raise SpaceError(
                f"repetition {step} of an untied row cannot be set alone; set it for all, "
                "or write the rows out",
                self.document.where(row),
            )
        if len(steps) == 1 or step in row.entries:
            return self.find(row, steps)
        op, rows, branches = row.get("op"), row.get("rows"), row.get("branches")
        if op is not None and op.tag == "!choice":
            found = self.option(op, "op", steps)
            if found is not None:
                return found
        if isinstance(op, Mapping) and not op.tag and step in op.entries:
            return self.into(op.entries[step].value, "", steps[1:])
        if rows is not None:
            return self.into(rows, "rows", steps)
        return self.into(branches, "branches", steps) if branches is not None else None

    def branch(self, node: Sequence, steps: list[str]) -> Found | None:
        """Parallel lists of rows: the first step is a number from 1."""
        if not steps[0].isdigit() or not 1 <= int(steps[0]) <= len(node.items):
            return None
        item = node.items[int(steps[0]) - 1]
        return self.into(item, "rows", steps[1:]) if len(steps) > 1 else None

    def find_part(self, node: Node, steps: list[str]) -> Found | None:
        """An item of a plain list, by its number from 1."""
        if not isinstance(node, Sequence) or node.tag or not steps[0].isdigit():
            return None
        if not 1 <= int(steps[0]) <= len(node.items):
            return None
        item = node.items[int(steps[0]) - 1]
        return (node, "", item) if len(steps) == 1 else self.into(item, "", steps[1:])

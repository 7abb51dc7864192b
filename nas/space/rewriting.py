"""An architecture's text with other numbers in its rows: what compound scaling comes to."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence as AnySequence
from typing import Any

from .document import Document, Mapping, Node, Sequence, compose
from .matching import equal
from .space import Architecture
from .writing import Edits, flow_text, newline, spliced, with_block, with_key

Row = AnyMapping[str, Any]


class _NoPlace(Exception):
    """A value that does not stand in the rows themselves, but behind an alias or a merged key."""


def rewritten(
    architecture: Architecture,
    network: AnySequence[Row],
    *,
    first: Row | None = None,
    drop: AnySequence[str] = (),
    input_size: int | None = None,
) -> str:
    """The text with the values of `network`, which has the file's rows with other numbers.

    first       a row put before them
    drop        top-level sections left out
    input_size  for `input.size`
    Comments and layout stay; a network that is written with aliases is written out in one line.
    """
    document = compose(architecture.text, architecture.path)
    node = document.root.entries["network"].value
    edits: Edits = {}
    try:
        _rows(node, architecture.network, network, edits)
        if first is not None:
            _put_first(document, node, first, edits)
        text = spliced(document.text, edits)
    except _NoPlace:
        rows = [*([first] if first is not None else []), *network]
        text = with_block(document, "network", [dict(row) for row in rows])
    for key in drop:
        text = _without(compose(text, architecture.path), key)
    if input_size is not None:
        text = _with_input_size(compose(text, architecture.path), input_size)
    return text


def _rows(node: Node, old: AnySequence[Row], new: AnySequence[Row], edits: Edits) -> None:
    if not isinstance(node, Sequence) or len(node.items) != len(old):
        raise _NoPlace
    for inner, before, after in zip(node.items, old, new, strict=True):
        for key, value in after.items():
            if not equal(before.get(key), value):
                _value(inner, key, before.get(key), value, edits)


def _value(row: Node, key: str, before: Any, after: Any, edits: Edits) -> None:
    place = _place(row, key)
    if key == "rows":
        _rows(place, before, after, edits)
    elif key == "branches":
        if not isinstance(place, Sequence) or len(place.items) != len(before):
            raise _NoPlace
        for inner, old, new in zip(place.items, before, after, strict=True):
            _rows(inner, old, new, edits)
    else:
        edits[place.start, place.end] = flow_text(after)


def _place(row: Node, key: str) -> Node:
    """The value's own node: in the row, or in `op: {name: {…}}`."""
    if not isinstance(row, Mapping) or row.elsewhere:
        raise _NoPlace
    entry = row.entries.get(key)
    if entry is None:
        op = row.get("op")
        if isinstance(op, Mapping) and len(op.entries) == 1:
            (settings,) = (inner.value for inner in op.entries.values())
            if isinstance(settings, Mapping):
                entry = settings.entries.get(key)
    if entry is None or entry.merged or entry.value.elsewhere:
        raise _NoPlace
    return entry.value


def _put_first(document: Document, network: Node, row: Row, edits: Edits) -> None:
    """A row before the first one, in the list's own style."""
    assert isinstance(network, Sequence)
    at = network.items[0].start
    if network.flow:
        edits[at, at] = flow_text(dict(row)) + ", "
        return
    dash = document.text.rindex("-", 0, at)
    gap = newline(document.text) + " " * (dash - document.text.rfind("\n", 0, dash) - 1)
    edits[dash, dash] = f"- {flow_text(dict(row))}{gap}"


def _without(document: Document, key: str) -> str:
    entry = document.root.entries.get(key)
    if entry is None:
        return document.text
    start, end = entry.key.start, entry.value.end
    if document.root.flow:
        rest = document.text[end:].lstrip()
        if rest.startswith(","):
            end = document.text.index(",", end) + 1
        return document.text[:start] + document.text[end:].lstrip()
    line_end = document.text.find("\n", end)
    return document.text[:start] + ("" if line_end < 0 else document.text[line_end + 1 :])


def _with_input_size(document: Document, size: int) -> str:
    node = document.root.get("input")
    if isinstance(node, Mapping):
        return with_key(document, node, "size", size)
    return with_key(document, document.root, "input", {"size": size})

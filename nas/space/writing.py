"""Values back into source text: spliced at the holes' marks, so comments and layout survive.

Never through ruamel.yaml's dumper: it wrote invalid YAML when a hole in a flow row with a trailing
comment was replaced, re-indented, and moved comments.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from .document import Document, Mapping, Node, Scalar, Sequence, scalar_of
from .template import (
    Decided,
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

Edits = dict[tuple[int, int], str]

PLAIN_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*")
# Words that a reader of YAML 1.1 takes for true or false.
OLD_BOOLS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false"])
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def filled_text(document: Document, sections: dict[str, Template], values: Plain) -> str:
    """The source with every hole, `!same` and untied row replaced by what fills it."""
    edits: Edits = {}
    writer = _Writer(document.text, edits)
    for key, section in sections.items():
        writer.write(section, values[key])
    return spliced(document.text, edits)


def spliced(text: str, edits: Edits) -> str:
    """The text with each `(start, end)` replaced."""
    parts, last = [], 0
    for (start, end), new in sorted(edits.items()):
        assert start >= last, "two edits of one place"
        glued = " " if new and text[end : end + 1] == "#" else ""  # `}# note`, but not `8# note`
        parts += [text[last:start], new + glued]
        last = end
    return "".join(parts) + text[last:]


class _Writer:
    def __init__(self, text: str, edits: Edits) -> None:
        self.text, self.edits = text, edits

    def write(self, template: Template, value: Any) -> None:
        """Note the edits that turn the template's text into the value's."""
        if isinstance(template, Decided | Same):
            self.edits[template.node.start, template.node.end] = flow_text(value)
        elif isinstance(template, Group):
            self.write_group(template, value)
        elif isinstance(template, Series):
            for item, inner in zip(template.items, value, strict=True):
                self.write(item, inner)
        elif isinstance(template, Rows):
            self.write_rows(template, value)

    def write_group(self, group: Group, value: Plain) -> None:
        for key, item in group.items.items():
            settings = _settings(item, value.get(key))
            if settings is None:
                self.write(item, value[key])
                continue
            assert isinstance(group.node, Mapping)
            gap = ", " if group.node.flow else self.newline(group.node.column)
            pairs = [f"{inner}: {flow_text(value[inner])}" for inner in settings]
            new = gap.join([flow_text(value[key]), *pairs])
            self.edits[item.node.start, item.node.end] = new

    def write_rows(self, rows: Rows, value: list[Plain]) -> None:
        position = 0
        for entry in rows.entries:
            if isinstance(entry, Row):
                self.write(entry, value[position])
                position += 1
                continue
            numbered = [f"{entry.name}_{k}" for k in range(1, len(entry.rows) + 1)]
            made = []
            while position < len(value) and value[position].get("name") in numbered:
                made.append(flow_text(value[position]))
                position += 1
            gap = self.gap(rows.node, entry)
            self.edits[entry.node.start, entry.node.end] = gap.join(made)

    def gap(self, node: Node, entry: Untied) -> str:
        """What stands between two rows of that list."""
        if isinstance(node, Sequence) and node.flow:
            return ", "
        before = self.text[: entry.node.start].rpartition("\n")[2]
        dash = re.search(r"-\s*$", before)
        return self.newline(dash.start() if dash else node.column) + "- "

    def newline(self, column: int) -> str:
        return newline(self.text) + " " * column


def _settings(item: Template, name: Any) -> list[str] | None:
    """The keys that a flat choice brings along; None for other templates."""
    flat = item.target if isinstance(item, Same) else item
    if not isinstance(flat, Flat):
        return None
    inner = flat.contents.get(name)
    return list(inner.items) if inner is not None else []


def newline(text: str) -> str:
    """The line's end that this text uses."""
    return "\r\n" if "\r\n" in text else "\n"


def flow_text(value: Any) -> str:
    """A value in one line of YAML that is YAML 1.1 and 1.2 alike."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {flow_text(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow_text(inner) for inner in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return "null"  # as JSON has it: there is no such number in a file
        digits = repr(value)
        # YAML 1.1 reads 1e-05 as text; it wants the point.
        return digits.replace("e", ".0e") if "e" in digits and "." not in digits else digits
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: object) -> str:
    text = str(value)
    is_word = PLAIN_WORD.fullmatch(text) and text.lower() not in OLD_BOOLS
    if is_word and scalar_of(text) == text:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def block_text(key: str, value: Any, end: str, indent: int = 0) -> str:
    """`key: value` in lines of YAML, mappings as blocks, lists in one line."""
    head = " " * indent + _text(key) + ":"
    if isinstance(value, dict) and value:
        return end.join([head, *(block_text(k, v, end, indent + 2) for k, v in value.items())])
    return f"{head} {flow_text(value)}"


def with_key(document: Document, node: Mapping, key: str, value: Any) -> str:
    """The text with `key: value` in that mapping, in the old value's place or as a new key."""
    text = document.text
    entry = node.entries.get(key)
    if entry is not None and not entry.merged:
        return with_value(document, entry.value, value)
    own = [other for other in node.entries.values() if not other.merged]
    if node.flow:
        if own:
            at = max(other.value.end for other in own)
            return text[:at] + f", {_text(key)}: {flow_text(value)}" + text[at:]
        at = text.index("{", node.start) + 1
        gap = ", " if text[at : node.end - 1].strip() else ""
        return text[:at] + f"{_text(key)}: {flow_text(value)}{gap}" + text[at:]
    column = own[0].key.column if own else node.column
    end = newline(text)
    at = line_end(text, node.end)
    return text[:at] + end + block_text(key, value, end, column) + text[at:]


def with_value(document: Document, node: Node, value: Any) -> str:
    """The text with another value in the place of that node."""
    text = document.text
    empty = " " if isinstance(node, Scalar) and node.start == node.end else ""
    return text[: node.start] + empty + flow_text(value) + text[node.end :]


def with_block(document: Document, key: str, value: Any) -> str:
    """The text with a top-level block replaced, or appended."""
    text, root = document.text, document.root
    entry = root.entries.get(key)
    if entry is None or root.flow:
        return with_key(document, root, key, value)
    block = block_text(key, value, newline(text))
    return text[: entry.key.start] + block + text[entry.value.end :]


def line_end(text: str, position: int) -> int:
    """Where the line ends in which that position lies."""
    at = text.find("\n", position)
    if at < 0:
        return len(text)
    return at - 1 if text[at - 1] == "\r" else at

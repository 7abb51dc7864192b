"""`base: NAME`: a file that states what it changes of another one.

The two become one text before anything is compiled, so that what is filled, exported or kept in a
run folder stands alone. Each line of it remembers the file and line that it came from.

Of the top-level keys that such a file states, `input, defaults, recipe, limits, data` are merged
key by key, the others stand in place of the base's; the rows are the base's.
"""

from __future__ import annotations

from .document import Document, Entry, Mapping, Node, Scalar, compose, walk
from .writing import line_end, newline

BASE = "base"
MERGED = ("input", "defaults", "recipe", "limits", "data")
OWN = ("name", "found")  # say what this file is, so they are never the base's


def base_of(document: Document) -> str | None:
    """The name or path after `base:`; None where there is none. Raises SpaceError."""
    entry = document.root.entries.get(BASE)
    if entry is None:
        return None
    node = entry.value
    if not isinstance(node, Scalar) or node.tag or not isinstance(node.value, str):
        raise document.fault("base must be the name or the path of a file, such as resnet50", node)
    if "network" in document.root.entries:
        raise document.fault(
            "a file with a base has its rows from there, and this one has a 'network' too: "
            "take one of the two out",
            document.root.entries["network"].key,
        )
    for inner in walk(document.root):
        if inner.elsewhere:
            raise document.fault(
                "anchors and merge keys do not reach from a file into its base; "
                "write the values out",
                inner,
            )
    return node.value


def joined(document: Document, base: Document) -> Document:
    """The base with what `document` states. Raises SpaceError."""
    if base.root.flow:
        raise document.fault(
            "its base is written as one {…}: write the base's top-level keys as lines",
            document.root.entries[BASE].value,
        )
    stated = {key: entry for key, entry in document.root.entries.items() if key != BASE}
    made, at = _Joined(document, base), 0
    for key, entry in base.root.entries.items():
        if key not in stated and key not in OWN:
            continue
        made.add(base, at, entry.key.start)
        at = entry.value.end
        own = stated.get(key)
        if own is not None:
            at = made.section(key, entry, own)
    made.add(base, at, len(base.text))
    for key, own in stated.items():
        if key not in base.root.entries:
            made.line()
            made.moved(own, base.root.column)
    made.line()
    return compose("".join(made.parts), document.path, tuple(made.origins))


class _Joined:
    """A text in the making, and the origin of each of its lines."""

    def __init__(self, document: Document, base: Document) -> None:
        self.document, self.base = document, base
        self.parts: list[str] = []
        self.origins = [""]
        self.blank = True  # nothing stands in the present line yet

    def put(self, text: str, source: Document, line: int) -> None:
        """Text that stands, or might stand, in that line of `source`."""
        for offset, part in enumerate(text.split("\n")):
            if offset:
                self.origins.append("")
                self.blank = True
            if self.blank:
                self.origins[-1] = source.where(line + offset)
            self.blank = self.blank and not part.strip()
        self.parts.append(text)

    def add(self, source: Document, start: int, end: int) -> None:
        """A stretch of a file as it is."""
        self.put(source.text[start:end], source, source.text.count("\n", 0, start) + 1)

    def line(self, column: int = 0) -> None:
        """Begin a line, unless one has just begun."""
        if not self.blank:
            self.put(newline(self.base.text), self.base, 1)
        self.put(" " * column, self.base, 1)

    def moved(self, entry: Entry, column: int) -> None:
        """A key with its value from the upper file, at that column."""
        self.put(_shifted(self.document, entry, column), self.document, entry.key.line)

    def section(self, key: str, old: Entry, new: Entry) -> int:
        """A section that both files state; returns where the base goes on."""
        below, above = old.value, new.value
        merges = key in MERGED and isinstance(below, Mapping) and isinstance(above, Mapping)
        if not merges or below.tag or above.tag:
            self.moved(new, self.base.root.column)
            return below.end
        assert isinstance(below, Mapping)
        assert isinstance(above, Mapping)
        if below.flow:
            self._rewritten(old, below, above)
            return below.end
        return self._edited(old, below, above)

    def _rewritten(self, old: Entry, below: Mapping, above: Mapping) -> None:
        """{a: 1, b: 2} of the base, a key a line."""
        column = self.base.root.column + 2
        self.put(f"{self.base.text[old.key.start : old.key.end]}:", self.base, old.key.line)
        for key, entry in (below.entries | above.entries).items():
            self.line(column)
            if key in above.entries:
                self.moved(entry, column)
                continue
            if entry.merged:
                raise self.base.fault(
                    "a merge key (<<) in {…} cannot be joined with another file's keys; "
                    "write the values out",
                    old.value,
                )
            self.put(_shifted(self.base, entry, column), self.base, entry.key.line)

    def _edited(self, old: Entry, below: Mapping, above: Mapping) -> int:
        """A block of the base with other values in place, new keys at its end."""
        own = {key: entry for key, entry in below.entries.items() if not entry.merged}
        column = next(iter(own.values())).key.column if own else below.column
        at = old.key.start
        for key, entry in own.items():
            if key in above.entries:
                self.add(self.base, at, entry.key.start)
                self.moved(above.entries[key], column)
                at = entry.value.end
        end = line_end(self.base.text, below.end)
        self.add(self.base, at, end)
        for key, entry in above.entries.items():
            if key not in own:
                self.line(column)
                self.moved(entry, column)
        return end


def _shifted(source: Document, entry: Entry, column: int) -> str:
    """The text of a key and its value, its further lines moved along with the first."""
    first, *rest = source.text[entry.key.start : entry.value.end].split("\n")
    least = 0 if _is_block(entry.value) else column + 1
    shift = column - entry.key.column
    moved = []
    for line in rest:
        bare = line.lstrip(" ")
        indent = max(len(line) - len(bare) + shift, least)
        moved.append(" " * indent + bare if bare.strip() else bare)
    return "\n".join([first, *moved])


def _is_block(node: Node) -> bool:
    return not getattr(node, "flow", True)

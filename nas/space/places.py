"""Where a row stands in the source: for errors about shapes, which are found after filling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .document import Value
from .template import Decided, Row, Rows, Run, Same, Series, Template, Untied


def line_of(template: Template, path: Sequence[int], decisions: Mapping[str, Value]) -> int:
    """The line of the row at `path` in a list of rows: its number and, for a row within it, the
    number of the branch (where there are branches) and of that row; the nearest known line.
    """
    template = _followed(template, decisions)
    if isinstance(template, Series) and path:
        return line_of(template.items[path[0]], path[1:], decisions)
    if not isinstance(template, Rows) or not path:
        return template.node.line
    row = _row(template, path[0], decisions)
    inner = row.items.get("rows") or row.items.get("branches")
    if len(path) == 1 or inner is None:
        return row.node.line
    return line_of(inner, path[1:], decisions)


def _followed(template: Template, decisions: Mapping[str, Value]) -> Template:
    while isinstance(template, Same | Decided):
        if isinstance(template, Same):
            assert template.target is not None
            template = template.target
        else:
            inner = template.contents.get(decisions[template.hole.name])
            if inner is None:
                break
            template = inner
    return template


def _row(rows: Rows, number: int, decisions: Mapping[str, Value]) -> Row:
    """The row of that number among the filled ones: untied rows are written out there."""
    for entry in rows.entries:
        written: tuple[Row, ...]
        if not isinstance(entry, Untied):
            written = (entry,)
        else:
            times = entry.repeat.fill(Run(lambda hole: decisions[hole.name]))
            written = entry.rows[:times]
        if number < len(written):
            return written[number]
        number -= len(written)
    raise IndexError("no such row")

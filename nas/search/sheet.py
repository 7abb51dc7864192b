"""trials.csv as text, kept line by line: a search of 10,000 trials writes it whole in milliseconds.

Only the rows that changed are spelt again; a new column spells all of them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from ..rundir import TRIAL_COLUMNS


class Sheet:
    """The lines of a table whose rows are known by `trial`; `hidden` keys are left out."""

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        self._hidden = frozenset(hidden)
        self._extra: list[str] = []
        self._known = frozenset(TRIAL_COLUMNS)
        self._lines: dict[int, str] = {}
        self._changed: set[int] = set()

    def change(self, number: int) -> None:
        """The row of this trial is new, or other than before."""
        self._changed.add(number)

    def text(self, rows: Mapping[int, Mapping[str, Any]]) -> str:
        """The whole file, in the order of the numbers."""
        found = {key for number in self._changed for key in rows[number]} - self._hidden
        if not found <= self._known:
            self._extra = sorted(found.union(self._extra) - set(TRIAL_COLUMNS))
            self._known = frozenset(TRIAL_COLUMNS).union(self._extra)
            self._changed.update(rows)
        for number in self._changed:
            self._lines[number] = self._line(rows[number])
        self._changed.clear()
        if list(self._lines) != (order := sorted(self._lines)):
            self._lines = {number: self._lines[number] for number in order}
        return _spelt([*TRIAL_COLUMNS, *self._extra]) + "".join(self._lines.values())

    def _line(self, row: Mapping[str, Any]) -> str:
        return _spelt([row.get(key, "") for key in (*TRIAL_COLUMNS, *self._extra)])


def _spelt(values: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()

"""A file's rows made ready for walking: names, scaling, defaults, and the recipe's dropout.

Rows within rows (`rows`, `branches`) become Rows too, at the end of a longer path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from ..errors import ShapeError, SpaceError
from ..space import Architecture
from .operators import OPERATORS, Operator
from .scaling import CLASSIFIERS, Later, scale_rows, scaled_by

MOST_LAYERS = 10_000  # of a network; the deepest documented one has 1,202
TORCH_NAMES = frozenset(dir(nn.Sequential()))


class Row(NamedTuple):
    """A row ready for walking.

    at        its place in the file: its number, in a list within a row that row's first (and the
              branch's) number before it; an added row has the place of the row that caused it
    settings  what the operator takes; its own copy, in which walking resolves `xK` and `stride`
    repeat    None where the file states none
    """

    at: tuple[int, ...]
    name: str
    operator: Operator
    settings: dict[str, Any]
    repeat: int | None


def table(architecture: Architecture, classes: int) -> list[Row]:
    """The file's rows.

    Raises SpaceError where there are none, or one's name is torch's.
    """
    network = architecture.network
    if not network:
        raise SpaceError("the network has no rows", architecture.where(0))
    divisors: dict[tuple[int, ...], int] = {}
    if architecture.scaling:
        network, divisors = scale_rows(architecture, scaled_by(architecture))
    return _Table(architecture, classes, divisors).rows(network, ())


class _Table:
    def __init__(
        self, architecture: Architecture, classes: int, divisors: Mapping[tuple[int, ...], int]
    ) -> None:
        self._architecture, self._classes, self._divisors = architecture, classes, divisors
        self._stated = architecture.defaults
        self._dropout = architecture.recipe.get("dropout", 0)

    def rows(self, entries: Sequence[Mapping[str, Any]], before: tuple[int, ...]) -> list[Row]:
        names = self._names(entries, before)
        rows = []
        for index, entry in enumerate(entries):
            op = OPERATORS.get(entry["op"])
            settings = op.defaults.copy()
            for source in (self._stated, entry):
                for key, value in source.items():
                    if key in settings:  # name, op, repeat are not; `space` refuses unknown ones
                        settings[key] = value
            at = (*before, index)
            if "classes" in settings:
                settings["classes"] = self._classes
            if settings.get("channels") == "classes":
                settings["channels"] = self._classes
            if op.composite:
                self._nest(settings, at)
            elif op.name in CLASSIFIERS and settings["channels"] is None:
                settings["channels"] = self._classes
                if self._dropout:
                    name, rate = free("dropout", set(names)), {"rate": self._dropout}
                    rows.append(Row(at, name, OPERATORS.get("dropout"), rate, None))
            elif self._divisors and at in self._divisors:
                settings["channels"] = Later(settings["channels"], self._divisors[at])
            rows.append(Row(at, names[index], op, settings, entry.get("repeat")))
        return rows

    def _nest(self, settings: dict[str, Any], at: tuple[int, ...]) -> None:
        if "rows" in settings:
            settings["rows"] = self.rows(settings["rows"], at)
        else:
            lists = settings["branches"]
            settings["branches"] = [self.rows(rows, (*at, k)) for k, rows in enumerate(lists)]

    def _names(self, entries: Sequence[Mapping[str, Any]], before: tuple[int, ...]) -> list[str]:
        """Each row's name; unnamed ones take their operator's, numbered where not unique."""
        names = [row.get("name") or row["op"] for row in entries]
        if not TORCH_NAMES.isdisjoint(names):
            index, name = next(pair for pair in enumerate(names) if pair[1] in TORCH_NAMES)
            raise SpaceError(
                f"row name {name!r} means something else to torch's modules; "
                f"call it {name}_row, for instance",
                self._architecture.where(*before, index),
            )
        if len(set(names)) == len(names):
            return names
        taken = {row["name"] for row in entries if row.get("name")}
        unnamed = [row["op"] for row in entries if not row.get("name")]
        result = []
        for row, name in zip(entries, names, strict=True):
            if not row.get("name") and (name in taken or unnamed.count(name) > 1):
                name = free(f"{name}_1", taken)
            taken.add(name)
            result.append(name)
        return result


def free(name: str, taken: set[str]) -> str:
    """`name`, or with the next free number behind it."""
    stem, number = name.removesuffix("_1"), 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    return name


def units(rows: Sequence[Row]) -> int:
    """How many units have a `drop_path`, repetitions and rows within rows included."""
    count = 0
    for row in rows:
        own = 1 if row.settings.get("drop_path") else 0
        for inner in row.settings.get("branches") or [row.settings.get("rows") or ()]:
            own += units(inner)
        count += own * (row.repeat or 1)
    return count


def need_layers(architecture: Architecture, rows: Sequence[Row]) -> None:
    """Raise ShapeError for more layers than anybody would train or wait for."""
    counts = [_layers(row) for row in rows]
    if sum(counts) > MOST_LAYERS:
        most = rows[counts.index(max(counts))]
        raise ShapeError(
            f"the network has {sum(counts):,} repetitions of rows and layers, and may have "
            f"{MOST_LAYERS:,}: lower the repeats of row {most.name!r}",
            architecture.where(*most.at),
        )


def _layers(row: Row) -> int:
    """How many modules a row comes to: its repetitions, of rows within it all of theirs."""
    own = 1
    if row.operator.composite:
        lists = row.settings.get("branches") or [row.settings.get("rows") or ()]
        own = sum(_layers(inner) for rows in lists for inner in rows)
    elif isinstance(layers := row.settings.get("layers"), int):
        own = layers
    return own * (row.repeat or 1)


def read_later(rows: Sequence[Row]) -> frozenset[str]:
    """Names of the rows whose output a side head reads further down."""
    heads = (row.settings for row in rows if row.operator.aside)
    return frozenset(of for settings in heads if (of := settings.get("of")))


def looks_back(rows: Sequence[Row]) -> bool:
    """Whether some cell takes the output of the row before its own input too."""
    return any(
        "previous" in row.operator.context
        or any(map(looks_back, row.settings.get("branches") or [row.settings.get("rows") or ()]))
        for row in rows
    )

"""What a test says, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .layout import plain_table, section
from .words import percent

MOST_CLASSES = 20  # up to which the whole confusion matrix is shown
MOST_CONFUSED = 10  # pairs shown beyond


def show_evaluation(console: Console, found: Mapping[str, Any]) -> None:
    """Accuracy, per class, confusion matrix (the most confused pairs of many classes)."""
    accuracy = f"{percent(found['accuracy'])} of {found['images']:,} test images of {found['data']}"
    console.print(Text.assemble(("accuracy ", "bold"), accuracy))
    if len(found["classes"]) <= MOST_CLASSES:
        note = "rows: the true class, columns: what the network says"
        section(console, "Confusion", _matrix(found), note)
    else:
        section(console, "Classes", _per_class(found["per_class"]), "worst first")
        section(console, "Most often confused", _confused(found["classes"], found["confusion"]))


def _matrix(found: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("class", no_wrap=True)
    for name in ("right", *_short(found["classes"])):
        table.add_column(name, justify="right", no_wrap=True)
    for place, (name, row) in enumerate(zip(found["classes"], found["confusion"], strict=True)):
        cells = [
            Text(str(count) if count else "·", style="green" if column == place else "")
            for column, count in enumerate(row)
        ]
        table.add_row(name, percent(found["per_class"][name]), *cells)
    return table


def _per_class(shares: Mapping[str, float | None]) -> Table:
    table = plain_table(("class", "right"), left=("class",))
    for name, share in sorted(shares.items(), key=lambda pair: pair[1] or 0.0):
        table.add_row(name, percent(share))
    return table


def _confused(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> Table:
    pairs = [
        (count, classes[true], classes[called])
        for true, row in enumerate(confusion)
        for called, count in enumerate(row)
        if true != called and count
    ]
    table = plain_table(("images", "of class", "called"), left=("of class", "called"))
    for count, true, called in sorted(pairs, reverse=True)[:MOST_CONFUSED]:
        table.add_row(str(count), true, called)
    return table


def _short(names: Sequence[str]) -> list[str]:
    """As many letters of each as tell them apart, three at least where they have them."""
    length = 3
    longest = max(len(name) for name in names)
    while length < longest and len({name[:length] for name in names}) < len(names):
        length += 1
    return [name[:length] for name in names]

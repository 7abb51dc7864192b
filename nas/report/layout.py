"""How tables look: a title, a dim header, no lines, figures never cut."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def plain_table(
    columns: Sequence[str], *, left: Sequence[str] = (), wraps: str | None = None
) -> Table:
    """Columns of figures at the right, those in `left` at the left; only `wraps` may wrap."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in columns:
        right = name not in left
        table.add_column(
            name, justify="right" if right else "left", no_wrap=name != wraps, overflow="fold"
        )
    return table


def facts_grid() -> Table:
    """Words at the left, what they mean at the right."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", min_width=7, no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def section(console: Console, title: str, table: Table, note: str = "") -> None:
    """A blank line, the title, the table."""
    console.print()
    console.print(Text.assemble((title, "bold"), ("  " + note if note else "", "dim")))
    console.print(table)

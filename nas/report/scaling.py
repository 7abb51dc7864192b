"""What `nas scale` says: the grid, the check against what was published, the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from ..units import show_amount, show_bytes
from .layout import plain_table, section
from .words import near, percent

Row = Mapping[str, Any]
FIGURES = ("depth", "width", "pixels", "params", "macs", "memory")


def show_plan(console: Console, plan: Mapping[str, Any]) -> None:
    """The base, the grid of phi = 1, and the check."""
    base = plan["base"]
    console.print(
        f"{plan['name']}: {base['params']:,} parameters, {show_amount(base['macs'])} multiply-adds "
        f"at {_pixels(base)}; memory is of training with {base['batch']} images"
    )
    table = plain_table(("alpha", "beta", "gamma", "product", *FIGURES))
    for row in plan["grid"]:
        ratios = (row["alpha"], row["beta"], row["gamma"], row["product"])
        table.add_row(*(f"{value:.3g}" for value in ratios), *_figures(row))
    fit, built = len(plan["grid"]), plan["grid_points"]
    note = f"alpha · beta² · gamma² = 2 ± 0.1, up to {show_amount(plan['macs'])} multiply-adds"
    section(console, "Grid of phi = 1", table, f"{note}: {fit} of {built} points")
    if fit == 1 < built:
        said = "one point alone fits, so there is nothing to compare: a larger --macs lets more in"
        console.print(Text.assemble(("Note ", "bold"), said), style="yellow")
    unfit = plan["unfit"]
    show_unfit(console, unfit["grid"])
    show_series(console, "With 1.2, 1.1, 1.15 (Tan and Le 2019, section 5.3)", plan["ratios"])
    show_unfit(console, unfit["ratios"])
    if plan["sizes"] or unfit["sizes"]:
        show_series(
            console, "With the published widths, depths and pixels of B0 to B7", plan["sizes"]
        )
        show_unfit(console, unfit["sizes"])


def show_unfit(console: Console, rows: Sequence[Row]) -> None:
    """What cannot be built, a line each with its reason."""
    for row in rows:
        words = ", ".join(f"{name} {value:g}" for name, value in row.items() if name != "reason")
        said = f"{words} cannot be built: {row['reason']}"
        console.print(Text.assemble(("Note ", "bold"), said), style="yellow")


def show_series(console: Console, title: str, rows: Sequence[Row]) -> None:
    """Networks of growing scale, a line each; parameters in full."""
    files = any("file" in row for row in rows)
    columns = ("phi", *FIGURES, *(("file",) if files else ()))
    table = plain_table(columns, left=("file",), wraps="file")
    for row in rows:
        depth, width, pixels, _, *others = _figures(row)
        cells = [str(row["phi"]), depth, width, pixels, f"{row['params']:,}", *others]
        table.add_row(*cells, *((near(row["file"]),) if files else ()))
    section(console, title, table)


def show_trained(
    console: Console, rows: Sequence[Row], untrained: Sequence[Row], budget: str
) -> None:
    """What the trained points of the grid came to, the best first; which were not trained."""
    table = plain_table(("", "alpha", "beta", "gamma", "validation", "runs", "epochs", "macs"))
    for place, row in enumerate(rows):
        ratios = (f"{row[name]:.3g}" for name in ("alpha", "beta", "gamma"))
        mark = "*" if place == 0 else ""
        value, counts = percent(row["validation"]), (str(row["runs"]), str(row["epochs"]))
        table.add_row(mark, *ratios, value, *counts, show_amount(row["macs"]))
    section(console, "Trained points, best first", table, "validation: mean of the runs")
    if not untrained:
        return
    names, of = ("alpha", "beta", "gamma"), len(rows) + len(untrained)
    points = ", ".join("/".join(f"{row[name]:g}" for name in names) for row in untrained)
    said = (
        f"the budget of {budget} trained {len(rows)} of {of} points; not {points}: the same "
        "command with a larger --budget goes on"
    )
    console.print(Text.assemble(("Note ", "bold"), said), style="yellow")


def _figures(row: Row) -> tuple[str, ...]:
    return (
        f"{row['depth']:.3g}", f"{row['width']:.3g}", _pixels(row), show_amount(row["params"]),
        show_amount(row["macs"]), show_bytes(row["memory_bytes"]),
    )  # fmt: skip


def _pixels(row: Row) -> str:
    height, width = row["resolution"]
    return f"{height}" if height == width else f"{height}x{width}"

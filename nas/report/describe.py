"""A network as a table: its rows, what comes out of them, and what they cost.

Handed a Cost, in whatever form: nothing of `models` is imported here, since that takes torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console

from ..units import show_amount, show_bytes
from .layout import plain_table, section


class Row(Protocol):
    """One row's price, as `models.RowCost` has it."""

    @property
    def name(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def params(self) -> int: ...
    @property
    def macs(self) -> int: ...
    @property
    def activations(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def receptive_field(self) -> tuple[int, int]: ...
    @property
    def jump(self) -> tuple[int, int]: ...


class Price(Protocol):
    """A network's price, as `models.Cost` has it."""

    @property
    def params(self) -> int: ...
    @property
    def macs(self) -> int: ...
    @property
    def activations(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def rows(self) -> Sequence[Row]: ...


def described(name: str, price: Price, image: Mapping[str, Any]) -> dict[str, Any]:
    """The object of `nas describe --json`. `image`: size [h, w], channels, classes."""
    last = price.rows[-1] if price.rows else None
    return {
        "name": name,
        "input": dict(image),
        "params": price.params,
        "macs": price.macs,
        "activations": price.activations,
        "memory_bytes": price.memory,
        "batch": price.batch,
        "receptive_field": list(last.receptive_field) if last else [1, 1],
        "rows": [
            {
                "name": row.name,
                "op": row.op,
                "shape": list(row.shape),
                "params": row.params,
                "macs": row.macs,
                "activations": row.activations,
                "memory_bytes": row.memory,
                "receptive_field": list(row.receptive_field),
                "jump": list(row.jump),
            }
            for row in price.rows
        ],
    }


def show_network(console: Console, network: Mapping[str, Any]) -> None:
    """`described` for people."""
    image = network["input"]
    height, width = image["size"]
    title = f"{network['name']} on {height}x{width}x{image['channels']}, {image['classes']} classes"
    figures = ("output", "params", "macs", "activations", "memory", "sees")
    table = plain_table(("row", "op", *figures), left=("row", "op"), wraps="row")
    for row in network["rows"]:
        table.add_row(
            row["name"],
            row["op"],
            "x".join(str(side) for side in row["shape"]),
            *_figures(row),
            "x".join(str(side) for side in row["receptive_field"]),
        )
    table.add_row("total", "", "", *_figures(network), "", style="bold")
    section(console, title, table)
    console.print(
        "memory: of training one image; the total adds parameters, gradients and the optimizer's"
        " state. sees: pixels of the image that one output value depends on.",
        style="dim",
    )


def _figures(priced: Mapping[str, Any]) -> list[str]:
    amounts = [show_amount(priced[key]) for key in ("params", "macs", "activations")]
    return [*amounts, show_bytes(priced["memory_bytes"]).replace(".0 ", " ")]


def show_holes(console: Console, holes: Sequence[Mapping[str, Any]]) -> None:
    """Name, domain and default of every hole."""
    table = plain_table(("hole", "default", "may be"), left=("hole", "may be"), wraps="may be")
    for hole in holes:
        table.add_row(hole["name"], _plain(hole["default"]), hole["domain"])
    section(console, "Holes", table, "the network above fills them with their defaults")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)

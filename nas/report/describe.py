"""A network as the table of the lectures: its rows, what comes out of them, what they cost.

Handed the object of `nas describe --json`: nothing of `models` is imported, since that takes torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from ..units import show_amount, show_bytes
from .layout import facts_grid, plain_table, section

FIGURES = ("output", "memory", "params", "macs", "sees", "jump")


def show_network(console: Console, network: Mapping[str, Any]) -> None:
    """The rows, the totals and what kinds of layers they are spent on."""
    table = plain_table(("row", "op", *FIGURES), left=("row", "op"), wraps="row")
    image = network["input"]
    pixels = [image["channels"], *image["size"]]
    memory = 4 * math.prod(pixels)
    table.add_row("input", "", sides(pixels), _bytes(memory), "", "", "1", "1")
    for row in network["rows"]:
        shape = row["shape"]
        memory += row["forward_bytes"]
        table.add_row(
            row["name"],
            row["op"],
            sides(shape if shape[1:] != [1, 1] else shape[:1]),
            _bytes(row["forward_bytes"]),
            show_amount(row["params"]),
            show_amount(row["macs"]),
            _square(row["receptive_field"]),
            _square(row["jump"]),
        )
    totals = (_bytes(memory), show_amount(network["params"]), show_amount(network["macs"]))
    table.add_row("total", "", "", *totals, "", "", style="bold")
    section(console, f"{network['name']} on {image_words(image)}", table)
    console.print(
        "One image. memory: of the output, in float32; sees: pixels of the image that one output "
        "value depends on; jump: pixels between two neighbours' views.",
        style="dim",
    )
    _show_totals(console, network)
    _show_share(console, network["share"])


def _show_totals(console: Console, network: Mapping[str, Any]) -> None:
    memory, images = network["memory_bytes"], network["batch"]
    grid = facts_grid()
    grid.add_row(
        "parameters", f"{network['params']:,} ({show_bytes(memory['parameters'])} in float32)"
    )
    grid.add_row("multiply-adds", f"{network['macs']:,}")
    grid.add_row("activations", f"{network['activations']:,} output values of convolutions")
    grid.add_row("depth", f"{network['weight_layers']} weight layers on the longest path")
    grid.add_row("sees", f"{sides(network['receptive_field'])} pixels")
    grid.add_row("largest", _largest(network["largest"]))
    grid.add_row(
        "memory",
        f"{show_bytes(memory['forward'])} forward (the image and every row's output), "
        f"{show_bytes(memory['training'])} to train on one image",
    )
    if images > 1:
        # both trainings hold the same parameters: what differs is the images
        each = (memory["batch"] - memory["training"]) / (images - 1)
        grid.add_row(
            "batch",
            f"{show_bytes(memory['batch'])} to train on {images} images: "
            f"{show_bytes(images * each)} of activations and their gradients, "
            f"{show_bytes(memory['training'] - each)} of parameters, gradients and optimizer",
        )
    console.print()
    console.print(grid)


def _largest(largest: Mapping[str, Mapping[str, Any]]) -> str:
    params, macs, output = (largest[key] for key in ("params", "macs", "forward_bytes"))
    return (
        f"{params['name']} with {show_amount(params['params'])} parameters, "
        f"{macs['name']} with {show_amount(macs['macs'])} multiply-adds, "
        f"{output['name']} with {show_bytes(output['forward_bytes'])} of output"
    )


def _show_share(console: Console, share: Mapping[str, Mapping[str, float]]) -> None:
    """As Table 2 of Howard et al. 2017."""
    table = plain_table(("layers", "weights", "multiply-adds"), left=("layers",))
    for kind, of in share.items():
        table.add_row(kind, f"{100 * of['params']:.2f} %", f"{100 * of['macs']:.2f} %")
    note = "weights of convolutions and linear layers; dw: depthwise"
    section(console, "Share", table, note)


def show_holes(
    console: Console,
    holes: Sequence[Mapping[str, Any]],
    note: str = "the network above fills them with their defaults",
) -> None:
    """Name, domain and default of every hole."""
    table = plain_table(("hole", "default", "may be"), left=("hole", "may be"), wraps="may be")
    for hole in holes:
        table.add_row(hole["name"], plain_value(hole["default"]), hole["domain"])
    section(console, "Holes", table, note)


def plain_value(value: Any) -> str:
    """A decision as a file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def image_words(image: Mapping[str, Any]) -> str:
    """ "224x224x3, 1000 classes"."""
    height, width = image["size"]
    return f"{height}x{width}x{image['channels']}, {image['classes']} classes"


def sides(shape: Sequence[int]) -> str:
    """ "64x56x56"."""
    return "x".join(map(str, shape))


def _square(pair: Sequence[int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else sides(pair)


def _bytes(count: int) -> str:
    return show_bytes(count).replace(".0 ", " ")

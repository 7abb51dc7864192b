"""`nas describe`."""

from __future__ import annotations

from typing import Annotated

import typer

from .search import constants
from .streams import console, print_json


def describe(
    architecture: Annotated[str, typer.Argument(help="A name or file; a space by its default.")],
    size: Annotated[
        int | None, typer.Option(min=1, help="Pixels a side; the file's `input` by default.")
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="1 grey, 3 colour.")] = None,
    classes: Annotated[int | None, typer.Option(min=1)] = None,
    batch: Annotated[int, typer.Option(min=1, help="What the memory is for.")] = 1,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Describe a network: its rows and what they cost.

    Output shapes, parameters, multiply-adds, activation memory, receptive field.
    """
    from ..api.describing import describe as describe_file

    asked = {"size": size, "channels": channels, "classes": classes}
    image = {key: value for key, value in asked.items() if value is not None}
    found = describe_file(architecture, image, batch=batch, constants=constants(set_))
    if as_json:
        print_json(found)
        return
    from ..report.describe import show_holes, show_network

    screen = console()
    show_network(screen, found)
    if found["holes"]:
        show_holes(screen, found["holes"])

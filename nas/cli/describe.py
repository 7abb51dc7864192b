"""`nas describe`."""

from __future__ import annotations

from typing import Annotated

import typer

from . import plugins
from .images import ChannelsOption, ClassesOption, SizeOption, asked_image
from .plugins import Plugins
from .search import constants
from .streams import console, print_json


def describe(
    architecture: Annotated[str, typer.Argument(help="A name or file; a space by its default.")],
    size: SizeOption = None,
    channels: ChannelsOption = None,
    classes: ClassesOption = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images in training memory; the recipe's batch size by default."),
    ] = None,
    expand: Annotated[
        bool, typer.Option("--expand", help="A line for every layer, not for every row.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Repeatable.")
    ] = None,
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Describe a network: its rows and what they cost.

    Output shapes, memory, parameters, multiply-adds, receptive field; totals, depth, and the share
    of each kind of layer.
    """
    plugins.load(plugin)
    from ..api.describing import describe as describe_file

    image = asked_image("describe", size, channels, classes)
    found = describe_file(
        architecture, image, batch=batch, expand=expand, constants=constants(set_)
    )
    if as_json:
        print_json(found)
        return
    from ..report.describe import show_holes, show_network

    screen = console()
    show_network(screen, found)
    if found["holes"]:
        show_holes(screen, found["holes"])

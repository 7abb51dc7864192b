"""`nas spaces`."""

from __future__ import annotations

from typing import Annotated

import typer

from .streams import console, print_json


def spaces(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the spaces and networks that come along."""
    from ..api.catalogue import catalogue

    found = catalogue()
    if as_json:
        print_json(found)
        return
    from ..report.overview import show_spaces

    screen = console()
    show_spaces(screen, "Search spaces (nas search --space NAME)", found["spaces"])
    if found["zoo"]:
        title = "Documented networks (nas describe NAME, nas train NAME)"
        show_spaces(screen, title, found["zoo"], searchable=False)
    screen.print(
        "A space of your own is one YAML file: nas search --space ./mine.yaml", style="dim"
    )

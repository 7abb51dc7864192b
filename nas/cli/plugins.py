"""`--plugin`, for every command that reads an architecture file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="A Python file with operators of your own. Repeatable."
    ),
]


def load(plugins: list[Path] | None) -> None:
    """Import them. Raises UserError."""
    if plugins:
        from ..plugins import load_plugins

        load_plugins(plugins)

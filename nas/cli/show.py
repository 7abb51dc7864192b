"""`nas show`."""

from __future__ import annotations

from typing import Annotated

import typer

from .streams import console, print_json


def show(
    run: Annotated[str, typer.Argument(help="A run's folder, or its name in ./runs.")],
    as_json: Annotated[bool, typer.Option("--json", help="As `nas search --json`.")] = False,
) -> None:
    """Show what a run found, or has found so far."""
    from ..report.summary import summary
    from ..rundir import RunDir

    found = summary(RunDir.open(run, without=("space.yaml",)))
    if as_json:
        print_json(found)
        return
    from ..report.tables import show_summary

    show_summary(console(), found)

"""`nas runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .streams import console, print_json


def runs(
    folder: Annotated[Path, typer.Option("--dir", help="Where the runs lie.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the runs of a folder and how they stand."""
    from ..report.overview import run_row, show_runs
    from ..rundir import list_runs

    rows = [run_row(run) for run in list_runs(folder)]
    if as_json:
        print_json({"runs": rows})
    elif rows:
        show_runs(console(), rows)
    else:
        print(
            f"no runs in {folder}; begin one: nas search --space tiny --data digits --budget 2min"
        )

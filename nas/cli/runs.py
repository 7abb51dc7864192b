"""`nas runs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import RunError, UserError
from .streams import console, print_json


def runs(
    folder: Annotated[Path, typer.Option("--dir", help="Where the runs lie.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the runs of a folder and how they stand."""
    from ..report.overview import run_row, show_runs
    from ..rundir import list_runs

    if folder.exists() and not folder.is_dir():
        raise UserError(f"--dir {folder} is no folder; name the one that the runs lie in")
    rows = []
    for run in list_runs(folder):
        try:
            rows.append(run_row(run))
        except RunError as error:  # a damaged one does not hide the others
            print(f"left out: {error}", file=sys.stderr)
    if as_json:
        print_json({"runs": rows})
    elif rows:
        show_runs(console(), rows)
    else:
        print(
            f"no runs in {folder}; begin one: nas search --space tiny --data digits --budget 2min"
        )

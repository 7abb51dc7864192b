"""`nas doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from .streams import console, print_json


def doctor(
    run: Annotated[str, typer.Argument(help="A run's folder, or its name in ./runs.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check a run folder, mend it, and say what was done.

    For folders that a crash, a full disk or a hand has damaged: a torn journal, broken checkpoints,
    deleted trial folders, tables and exports. Exit code 1 where something cannot be mended.
    """
    from ..api.doctor import doctor as examine
    from ..report.words import near

    found = examine(run, dry_run=dry_run)
    if as_json:
        print_json(found.plain())
    else:
        screen = console()
        for finding in found.findings:
            screen.print(_line(finding.where, finding.what, finding.done, dry_run), soft_wrap=True)
        screen.print(_verdict(near(found.run), len(found.findings), found.mended, dry_run))
    if not found.mended:
        raise typer.Exit(1)


def _line(where: str, what: str, done: str | None, dry_run: bool) -> str:
    if done is None:
        return f"{where}: {what}; this cannot be mended"
    return f"{where}: {what}; {'would be mended: ' if dry_run else ''}{done}"


def _verdict(path: str, number: int, mended: bool, dry_run: bool) -> str:
    if not number:
        return f"{path} is well"
    if not mended:
        return (
            f"{path}: not everything can be mended; what is whole stays readable: nas show {path}"
        )
    if dry_run:
        return f"{path} can be mended: nas doctor {path}"
    return f"{path} is mended; a search that was broken off goes on: nas search --resume {path}"

"""`nas doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .streams import console, print_json

if TYPE_CHECKING:
    from ..search.recovery import Finding


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

    screen = console(stderr=as_json)
    found = examine(run, dry_run=dry_run, say=lambda told: screen.print(told, soft_wrap=True))
    if as_json:
        print_json(found.plain())
    else:
        for finding in found.findings:
            screen.print(_line(finding, dry_run), soft_wrap=True)
        screen.print(_verdict(near(found.run), len(found.findings), found.mended, dry_run))
    if not found.mended:
        raise typer.Exit(1)


def _line(finding: Finding, dry_run: bool) -> str:
    if finding.done is None or not dry_run:
        return finding.sentence
    return f"{finding.fault}; would be mended: {finding.done}"


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

"""`nas stop`."""

from __future__ import annotations

from typing import Annotated

import typer

from .streams import print_json


def stop(
    run: Annotated[str, typer.Argument(help="A run's folder, or its name in ./runs.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Stop a running search cleanly.

    It exports the best so far and can be resumed.
    """
    from ..report.words import near
    from ..rundir import RunDir

    folder = RunDir.open(run)
    holder = folder.holder()
    path = near(folder.path)
    if holder is not None:
        folder.ask_to_stop()
    if as_json:
        print_json({"run": str(folder.path), "running": holder is not None, "by": holder})
        return
    if holder is None:
        ended = folder.stages().get("ended")
        more = f"it is finished: nas show {path}" if ended else f"go on: nas search --resume {path}"
        print(f"{path} is not running; {more}")
        return
    print(
        f"asked {path} ({holder}) to stop: its trials stop at their next report, within seconds, "
        f"then the best so far is exported. Go on later: nas search --resume {path}"
    )

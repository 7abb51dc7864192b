"""`nas scale`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from . import STARTED, plugins
from .options import Budgets
from .plugins import Plugins
from .search import together
from .streams import console, print_json, result_alone

if TYPE_CHECKING:
    from rich.console import Console

    from ..api.scaling import Scaling


def scale(
    architecture: Annotated[
        str, typer.Argument(help="A file without holes whose rows state repeat, or a zoo name.")
    ],
    data: Annotated[
        str | None, typer.Option(help="What the grid is trained on: a name or path.")
    ] = None,
    budgets: Budgets = None,
    ratios: Annotated[
        str | None,
        typer.Option(metavar="A,B,G", help="Known alpha,beta,gamma: no grid is trained."),
    ] = None,
    macs: Annotated[
        str | None, typer.Option(help="The most that phi = 1 may take: 800M; 3 times the base.")
    ] = None,
    phi: Annotated[int, typer.Option(min=1, max=20, help="Write phi = 1 … this.")] = 7,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the files; ./runs/scale-<name> by default.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Pixels a side; the file's `input` by default.")
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="1 grey, 3 colour.")] = None,
    classes: Annotated[int | None, typer.Option(min=1)] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="What the memory is for; the recipe's by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the grid's training.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.")] = None,
    trials_at_once: Annotated[int | None, typer.Option(help="As for `nas search`.")] = None,
    plugin: Plugins = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Price the grid; train and write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Scale a network up: depth, width and resolution together.

    EfficientNet's procedure: a small grid over alpha, beta, gamma with alpha · beta² · gamma²
    near 2 at phi = 1, each point trained; then phi = 1 … 7 as files.
    """
    with result_alone(as_json) as result:
        screen = console(stderr=as_json)
        plugins.load(plugin)
        from ..api import scaling

        image = {
            key: value
            for key, value in (("size", size), ("channels", channels), ("classes", classes))
            if value is not None
        }
        budget = together(budgets)
        point = None if ratios is None else scaling.parse_ratios(ratios)
        if not dry_run and point is None and (data is None or budget is None):
            raise UserError(
                "what the grid is to be trained on is missing: give --data and --budget, or known "
                "ratios (--ratios 1.2,1.1,1.15), or --dry-run to price it only"
            )
        work = scaling.prepare(architecture, image, batch=batch, macs=macs)
        found: dict[str, Any] = scaling.plan(work, trains=point is None)
        _show_plan(screen, found)
        if not dry_run:
            folder = out or Path("runs") / f"scale-{work.architecture.name}"
            options = {
                "seed": seed, "device": device, "trials_at_once": trials_at_once,
                "plugins": plugin,
            }  # fmt: skip
            if point is None and data is not None and budget is not None:
                found |= _train(screen, work, data, budget, folder, options)
                point = scaling.ratios_of(found["trained"][0])
            assert point is not None
            found["files"], unfit = scaling.write_files(work, point, folder, phi)
            found["unfit"]["files"] = unfit
            _show_files(screen, point, found["files"], unfit)
        if as_json:
            print_json(found, result)


def _train(
    screen: Console, work: Scaling, data: str, budget: str, folder: Path,
    options: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Train the grid, with the live view of a search."""
    from ..api.scaling import train_grid, untrained
    from ..report.live import watching
    from ..report.scaling import show_trained

    log = folder / "grid" / "log.txt"
    with watching(screen, log, quiet=False, verbose=False) as view:
        run, rows = train_grid(
            work, data=data, budget=budget, out=folder, view=view, started=STARTED, **options
        )
    left = untrained(work, rows)
    show_trained(screen, rows, left, budget)
    return {"run": str(run.path), "trained": rows, "untrained": left}


def _show_plan(screen: Console, found: dict[str, Any]) -> None:
    from ..report.scaling import show_plan

    show_plan(screen, found)


def _show_files(
    screen: Console, point: tuple[float, ...], rows: list[dict[str, Any]],
    unfit: list[dict[str, Any]],
) -> None:  # fmt: skip
    from ..report.scaling import show_series, show_unfit

    alpha, beta, gamma = point
    show_series(screen, f"Written: alpha {alpha:g}, beta {beta:g}, gamma {gamma:g}", rows)
    show_unfit(screen, unfit)

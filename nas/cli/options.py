"""Options that several commands take in the same words."""

from __future__ import annotations

from typing import Annotated

import typer

Constants = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Put a constant there: recipe.epochs=20. Repeatable.",
    ),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="AMOUNT[,…]",
        help="90min, 50gpu-h, 200trials, 1000epochs, or several (90min,200trials): the first one "
        "reached ends it.",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps; a GPU where there is one.")]
TrialsAtOnce = Annotated[
    str | None,
    typer.Option(metavar="N|auto", help="As many as there are devices, or CPUs, by default."),
]
GpusPerTrial = Annotated[
    str | None,
    typer.Option(metavar="X|auto", help="1 by default; 0.25: four trials share a GPU."),
]
CpusPerTrial = Annotated[
    str | None,
    typer.Option(metavar="N|auto", help="CPUs, and threads; an even share of all by default."),
]

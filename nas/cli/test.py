"""`nas test`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import plugins
from .plugins import Plugins
from .streams import console, print_json


def evaluate(
    architecture: Annotated[str, typer.Argument(help="An architecture file: best.yaml.")],
    data: Annotated[str, typer.Option(help="A name, or a path, as for `nas search`.")],
    weights: Annotated[
        Path | None, typer.Option(help="A state_dict; the .pt beside the file by default.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.")] = None,
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Test a trained network on a data set.

    Accuracy, per class, and the confusion matrix, on the test part.
    """
    plugins.load(plugin)
    from ..api.testing import evaluate_file

    found = evaluate_file(architecture, weights=weights, data=data, device=device)
    if as_json:
        print_json(found)
        return
    from ..report.evaluation import show_evaluation

    show_evaluation(console(), found)

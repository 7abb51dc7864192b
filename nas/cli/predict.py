"""`nas predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import plugins
from .plugins import Plugins
from .streams import console, print_json

if TYPE_CHECKING:
    from ..export import Prediction


def predict(
    architecture: Annotated[str, typer.Argument(help="An exported file: best.yaml.")],
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG or .npy files.")],
    weights: Annotated[
        Path | None, typer.Option(help="The .pt beside the file by default.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many labels to show of an image.")] = 3,
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Label images with an exported network."""
    plugins.load(plugin)
    from ..export import load_model

    model = load_model(architecture, weights)
    rows: list[tuple[str, Prediction]] = []
    for path in images:
        found = model.predict(path)
        for place, prediction in enumerate(found):
            name = str(path) if len(found) == 1 else f"{path}[{place}]"
            rows.append((name, prediction))
    if as_json:
        print_json({"predictions": [_object(name, prediction) for name, prediction in rows]})
        return
    from rich.table import Table

    table = Table.grid(padding=(0, 3))
    for name, prediction in rows:
        best = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])[:top]
        table.add_row(name, *(f"{label}  {100 * share:.1f} %" for label, share in best))
    console().print(table)


def _object(name: str, prediction: Prediction) -> dict[str, Any]:
    return {
        "image": name,
        "label": prediction.label,
        "probability": prediction.probability,
        "probabilities": prediction.probabilities,
    }

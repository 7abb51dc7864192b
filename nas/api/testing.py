"""Test an architecture file with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data import ImageData
from ..data import load as load_data
from ..errors import DataError
from ..export import data_section, with_weights
from ..search.request import pick_device
from ..space import find, load, require_architecture
from ..train.evaluation import evaluate


def evaluate_file(
    architecture: str | Path,
    *,
    data: str,
    weights: str | Path | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Accuracy, loss, per class and confusion on the test part of `data`; fit for JSON.

    `weights` None: the .pt beside the file. How images are fed comes from the file's `data:`
    block, or from the data where it has none. Raises UserError.
    """
    loaded = require_architecture(load(architecture))
    device = pick_device(device)
    images = load_data(data)
    section = {**data_section(images), **loaded.data}
    _check_fits(section, images, str(loaded.path))
    source = find(architecture).with_suffix(".pt") if weights is None else Path(weights)
    model = with_weights(loaded, section, source)
    result = evaluate(
        model, images.test.x, images.test.y, mean=model.mean, std=model.std, device=device
    )
    return {
        "architecture": str(find(architecture).absolute()),
        "weights": str(source.absolute()),
        "data": images.name,
        "images": result.n,
        "accuracy": result.accuracy,
        "loss": result.loss if result.loss == result.loss else None,
        "classes": list(images.classes),
        "per_class": {
            name: share if share == share else None
            for name, share in zip(images.classes, result.per_class, strict=True)
        },
        "confusion": result.confusion.tolist(),
    }


def _check_fits(section: dict[str, Any], data: ImageData, path: str) -> None:
    own = data_section(data)
    for key in ("size", "channels", "pixels"):
        if section[key] != own[key]:
            raise DataError(
                f"{path} was trained on images of {key} {section[key]}, those of {data.name} have "
                f"{own[key]}: test it on data like its own"
            )
    if len(section["classes"]) != data.num_classes:
        raise DataError(
            f"{path} knows {len(section['classes'])} classes, {data.name} has {data.num_classes}: "
            "test it on data of the same classes"
        )

"""What `nas describe` says of a file, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..models import Layer, Record, RowCost, record
from ..models.pricing import BYTES
from ..space import Architecture, Space, load
from ..train.recipe import Recipe
from .catalogue import image_of, shown_image
from .planning import default_network


def describe(
    source: str,
    image: Mapping[str, Any],
    *,
    batch: int | None = None,
    expand: bool = False,
    constants: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The object of `nas describe --json`.

    `image`: size, channels, classes; what is left out comes from the file: from `data` where it
    is an export, else from `input`, else 32x32x3 and 10 classes. A space is described by its
    default network. `batch` None takes the recipe's batch size. With `expand`, `rows` holds a
    line for every layer. Raises SpaceError, ShapeError.
    """
    loaded = load(source, constants=constants)
    network = default_network(loaded)
    images = Recipe.from_mapping(network.recipe).batch_size if batch is None else batch
    found = record(network, **image_of(network, image), batch=images)
    holes = loaded.holes if isinstance(loaded, Space) else ()
    return {
        **figures(network, found, shown_image(network, image)),
        "rows": _layers(found) if expand else _rows(found),
        "share": found.share(),
        "largest": _largest(found),
        "about": network.about,
        "holes": [
            {"name": hole.name, "domain": hole.domain(), "default": hole.default} for hole in holes
        ],
        "recipe": dict(network.recipe),
    }


def figures(network: Architecture, found: Record, image: Mapping[str, Any]) -> dict[str, Any]:
    """The totals."""
    price = found.price
    height, width = image["size"]
    values = image["channels"] * height * width + sum(found.outputs)
    return {
        "name": network.name,
        "input": dict(image),
        "params": price.params,
        "macs": price.macs,
        "activations": price.activations,
        "memory_bytes": {
            "parameters": BYTES * price.params,
            "forward": BYTES * values,
            "training": found.by_image + found.by_weight,
            "batch": price.memory,
        },
        "batch": price.batch,
        "receptive_field": list(price.rows[-1].receptive_field),
        "weight_layers": found.weight_layers,
    }


def _rows(found: Record) -> list[dict[str, Any]]:
    return [
        {"name": row.name, "op": row.op, **_line(row), "forward_bytes": BYTES * values,
         "memory_bytes": row.memory}
        for row, values in zip(found.price.rows, found.outputs, strict=True)
    ]  # fmt: skip


def _layers(found: Record) -> list[dict[str, Any]]:
    return [
        {"name": layer.name, "op": layer.kind, **_line(layer), "forward_bytes": _bytes(layer)}
        for layer in found.layers
    ]


def _line(line: RowCost | Layer) -> dict[str, Any]:
    return {
        "shape": list(line.shape),
        "params": line.params,
        "macs": line.macs,
        "activations": line.activations,
        "receptive_field": list(line.receptive_field),
        "jump": list(line.jump),
    }


def _largest(found: Record) -> dict[str, dict[str, Any]]:
    """The layer with the most parameters, the most multiply-adds, the largest output."""
    key = {"params": lambda layer: layer.params, "macs": lambda layer: layer.macs,
           "forward_bytes": _bytes}  # fmt: skip
    return {
        word: {"name": layer.name, word: of(layer)}
        for word, of in key.items()
        for layer in [max(found.layers, key=of)]
    }


def _bytes(layer: Layer) -> int:
    channels, height, width = layer.shape
    return BYTES * channels * height * width

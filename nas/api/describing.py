"""What `nas describe` says of a file, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..models import cost
from ..report.describe import described
from ..space import Space, load
from .catalogue import image_of
from .forecast import default_network


def describe(
    source: str,
    image: Mapping[str, Any],
    *,
    batch: int = 1,
    constants: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The object of `nas describe --json`.

    `image`: size, channels, classes; what is left out comes from the file: from `data` where it
    is an export, else from `input`, else 32x32x3 and 10 classes. A space is described by its
    default network. Raises SpaceError, ShapeError.
    """
    loaded = load(source, constants=constants)
    network = default_network(loaded)
    exported = network.data
    known: dict[str, Any] = {key: exported[key] for key in ("size", "channels") if key in exported}
    if "classes" in exported:
        known["classes"] = len(exported["classes"])
    assumed = {**image_of(loaded), **known, **image}
    size = assumed["size"]
    assumed["size"] = [size, size] if isinstance(size, int) else list(size)
    price = cost(
        network,
        classes=assumed["classes"],
        channels=assumed["channels"],
        size=tuple(assumed["size"]),
        batch=batch,
    )
    holes = loaded.holes if isinstance(loaded, Space) else ()
    return {
        **described(network.name, price, assumed),
        "about": network.about,
        "holes": [
            {"name": hole.name, "domain": hole.domain(), "default": hole.default} for hole in holes
        ],
        "recipe": dict(network.recipe),
    }

"""The spaces and networks that come along, with their size."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ShapeError
from ..models import cost
from ..models.image import image_size
from ..space import Architecture, Space, count, draw, fill, load, shipped
from .planning import default_network

DRAWS = 200  # seeded, for the range of parameters
IMAGE = {"size": 32, "channels": 3, "classes": 10}  # where a file states no `input`


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """`spaces` and `zoo`: name, about, number of architectures, smallest and largest params."""
    folder = shipped()
    return {
        "spaces": [_entry(file) for file in sorted(folder.glob("*.yaml"))],
        "zoo": [_entry(file) for file in sorted((folder / "zoo").glob("*.yaml"))],
    }


def image_of(network: Architecture, asked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """size, channels and classes for `cost`: what is `asked`, else what the file assumes.

    That is `data` of an export, else `input`, else IMAGE. A size that `input` and `scaling` give
    is left at None: they are not images that were given, which gamma would scale up once more.
    """
    exported, known = network.data, {**IMAGE, **network.input}
    if "size" in network.input or "resolution" in network.scaling:
        known["size"] = None
    known.update({key: exported[key] for key in ("size", "channels") if key in exported})
    if "classes" in exported:
        known["classes"] = len(exported["classes"])
    known.update(asked or {})
    if known["size"] is not None:
        known["size"] = image_size(network, known["size"])
    return known


def shown_image(network: Architecture, asked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`image_of`, fit for JSON: its size is [h, w]."""
    known = image_of(network, asked)
    return {**known, "size": list(image_size(network, known["size"]))}


def _entry(file: Path) -> dict[str, Any]:
    loaded = load(file)
    first = default_network(loaded)
    networks = [first]
    if isinstance(loaded, Space):
        source = random.Random(0)
        networks += [fill(loaded, draw(loaded, source)) for _ in range(DRAWS)]
    prices = []
    for network in networks:
        try:
            prices.append(cost(network, **image_of(network)))
        except ShapeError:  # of a draw: the search refuses it as well
            continue
    return {
        "name": file.stem,
        "about": loaded.about,
        "file": str(file),
        "architectures": count(loaded) if isinstance(loaded, Space) else 1,
        "holes": len(loaded.holes) if isinstance(loaded, Space) else 0,
        "params": [min(p.params for p in prices), max(p.params for p in prices)],
        "macs": prices[0].macs,
    }

"""The spaces and networks that come along, with their size."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ShapeError
from ..models import cost
from ..models.image import image_size, resized
from ..space import Architecture, Space, count, draw, fill, load, shipped
from .planning import default_network

DRAWS = 200  # with seed 0, for the range of parameters; `nas spaces NAME` draws ten times as many
MOST = (0.05, 0.95)  # least and most hang on the number of draws, these quantiles hardly do
IMAGE = {"size": 32, "channels": 3, "classes": 10}  # where a file states no `input`


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """`spaces` and `zoo`: name, about, number of architectures, params and macs.

    params  of a space what 90 % of its draws lie between (those that build, whatever the limits),
            of a network its own, twice
    macs    of the default network
    """
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


def stated_image(network: Architecture, asked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`shown_image` before the file's scaling, which may give each network a size of its own."""
    known = shown_image(network, asked)
    size = None if asked and "size" in asked else network.input.get("size")
    if size is not None and "size" not in network.data:
        known["size"] = [size, size] if isinstance(size, int) else list(size)
    return known


def resolution(network: Architecture, asked: Mapping[str, Any] | None = None) -> list[int]:
    """[h, w] that a network is priced at: of its images, or of what its scaling makes of them."""
    size = image_of(network, asked)["size"]
    return list(resized(network, size) or image_size(network, size))


def _entry(file: Path) -> dict[str, Any]:
    loaded = load(file)
    first = default_network(loaded)
    price = cost(first, **image_of(first))
    ranked = _params(loaded) if isinstance(loaded, Space) else []
    return {
        "name": file.stem,
        "about": loaded.about,
        "file": str(file),
        "architectures": count(loaded) if isinstance(loaded, Space) else 1,
        "holes": len(loaded.holes) if isinstance(loaded, Space) else 0,
        "params": [quantile(ranked or [price.params], share) for share in MOST],
        "macs": price.macs,
        "draws": DRAWS if isinstance(loaded, Space) else 0,
    }


def _params(space: Space) -> list[int]:
    """Parameters of networks at random, ascending; those that do not build are left out."""
    source, found = random.Random(0), []
    for _ in range(DRAWS):
        network = fill(space, draw(space, source))
        try:
            found.append(cost(network, **image_of(network)).params)
        except ShapeError:  # the search refuses it as well
            continue
    return sorted(found)


def quantile(ranked: Sequence[int], share: float) -> int:
    """The value below which that share of ascending ones lies, one of them."""
    return ranked[round(share * (len(ranked) - 1))]

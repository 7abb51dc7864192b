"""What a space holds: its holes, how many networks, and what they cost: `nas spaces NAME`."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ShapeError, SpaceError, UserError
from ..models import Cost, cost
from ..models.scaling import factors
from ..models.tally import Misfit
from ..space import Architecture, Space, count, draw, fill, load
from ..train.recipe import Recipe
from .catalogue import image_of, quantile, resolution, stated_image
from .extremes import furthest

DRAWS = 2000
FIGURES = ("params", "macs", "memory")
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
BINS = 20  # of a histogram, of equal width on a logarithmic scale


@dataclass(frozen=True)
class Drawn:
    """A network of the space and its price, or why it has none."""

    network: Architecture
    price: Cost | None
    misfit: ShapeError | None = None


def survey(
    source: str,
    image: Mapping[str, Any],
    *,
    seed: int = 0,
    constants: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The object of `nas spaces NAME --json`.

    `image`: size, channels, classes; what is left out comes from the file. Networks are priced,
    none is built. Raises SpaceError, and UserError for a file without holes.
    """
    space = load(source, constants=constants)
    if not isinstance(space, Space):
        raise UserError(
            f"{space.path} has no holes, so it is one network and no space: nas describe {source}"
        )
    first = fill(space, space.default())
    default, drawn = price_of(first, image), draws(space, image, seed)
    built = [one for one in drawn if one.price is not None]
    within = [one for one in built if not over(one, space.limits)]
    return {
        "name": space.name,
        "about": space.about,
        "file": space.path,
        "input": stated_image(first, image),
        "architectures": count(space),
        "holes": [
            {"name": hole.name, "domain": hole.domain(), "default": hole.default}
            for hole in space.holes
        ],
        "limits": dict(space.limits),
        "draws": len(drawn),
        "seed": seed,
        "builds": len(built) / len(drawn),
        "within_limits": len(within) / len(drawn),
        "misfits": [
            {
                "where": error.where,
                "message": message_of(error),
                "share": times / len(drawn),
                "by_rule": any(one.misfit is error and refused(one) for one in drawn),
            }
            for error, times in misfits(drawn)[:3]
        ],
        "distribution": {
            key: _distribution([getattr(one.price, key) for one in built]) for key in FIGURES
        },
        "default": None if default.price is None else network_figures(default, image),
        **_ends(space, image, built if default.price is None else [*built, default]),
    }


def draws(space: Space, image: Mapping[str, Any], seed: int, number: int = DRAWS) -> list[Drawn]:
    """Networks at random, priced."""
    source = random.Random(seed)
    return [price_of(fill(space, draw(space, source)), image) for _ in range(number)]


def price_of(network: Architecture, image: Mapping[str, Any]) -> Drawn:
    """A network's price for training with its own batch size."""
    batch = Recipe.from_mapping(network.recipe).batch_size
    try:
        return Drawn(network, cost(network, **image_of(network, image), batch=batch))
    except ShapeError as error:
        return Drawn(network, None, error)


def over(drawn: Drawn, limits: Mapping[str, float]) -> list[str]:
    """The limits that a network breaks; `latency` is not known of one that is only priced."""
    price = drawn.price
    keys = [key for key in FIGURES if key in limits]
    return [key for key in keys if price is not None and price.limited(key) > limits[key]]


def refused(drawn: Drawn) -> bool:
    """Whether it is the file itself that keeps this network out, by the `growth` of its scaling."""
    scaling = dict(drawn.network.scaling)
    if drawn.misfit is None or scaling.pop("growth", None) is None:
        return False
    return _scales(scaling) and not _scales(drawn.network.scaling)


def _scales(scaling: Mapping[str, Any]) -> bool:
    try:
        factors(scaling, None)
    except Misfit:
        return False
    return True


def misfits(drawn: Sequence[Drawn]) -> list[tuple[ShapeError, int]]:
    """Why networks do not fit the image and how many, the commonest first.

    Sentences that differ in their numbers alone are one reason, told by its first.
    """
    found: dict[str, list[ShapeError]] = {}
    for one in drawn:
        if one.misfit is not None:
            found.setdefault(re.sub(r"\d+(\.\d+)?", "0", str(one.misfit)), []).append(one.misfit)
    ranked = sorted(found.values(), key=len, reverse=True)
    return [(errors[0], len(errors)) for errors in ranked]


def message_of(error: SpaceError) -> str:
    """What it says, without the file:line that it says first."""
    return str(error).removeprefix(f"{error.where}: ")


def network_figures(drawn: Drawn, image: Mapping[str, Any]) -> dict[str, Any]:
    """What one of the networks costs, at which size, and the decisions that spell it."""
    return {
        **{key: getattr(drawn.price, key) for key in FIGURES},
        "resolution": resolution(drawn.network, image),
        "decisions": dict(drawn.network.decisions or {}),
    }


def _ends(space: Space, image: Mapping[str, Any], built: Sequence[Drawn]) -> dict[str, Any]:
    """The smallest and the largest network that the draws lead to, by parameters."""
    if not built:
        return {"smallest": None, "largest": None}
    by_size = sorted(built, key=lambda one: _size(one) or (0, 0))

    def end(start: Drawn, sign: int) -> dict[str, Any]:
        found = furthest(space, start.network, lambda one: _size(price_of(one, image)), sign)
        return network_figures(price_of(found, image), image)

    return {"smallest": end(by_size[0], -1), "largest": end(by_size[-1], 1)}


def _size(one: Drawn) -> tuple[int, int] | None:
    return None if one.price is None else (one.price.params, one.price.macs)


def _distribution(values: Sequence[int]) -> dict[str, Any]:
    """Quantiles, and a histogram on a logarithmic scale from the least to the most."""
    if not values:
        return {"quantiles": [], "histogram": []}
    ranked = sorted(values)
    quantiles = [{"share": share, "value": quantile(ranked, share)} for share in QUANTILES]
    low, ratio = max(1, ranked[0]), max(1, ranked[-1]) / max(1, ranked[0])
    histogram = [0] * BINS
    for value in ranked:
        place = math.log(max(1, value) / low) / math.log(ratio) if ratio > 1 else 0.0
        histogram[min(BINS - 1, int(BINS * place))] += 1
    return {"quantiles": quantiles, "histogram": histogram}

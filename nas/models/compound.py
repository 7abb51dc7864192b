"""EfficientNet's procedure in figures: which ratios to try, and what a network becomes by them.

Tan and Le 2019, section 3.3: depth alpha^phi, width beta^phi, resolution gamma^phi, with
alpha · beta² · gamma² near 2, so that phi doubles the multiply-adds each time.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..errors import ShapeError, SpaceError
from ..space import Architecture
from .pricing import cost
from .scaling import Factors, deepens, factors
from .tally import Misfit


class Ratios(NamedTuple):
    """What phi = 1 multiplies: depth by alpha, width by beta, resolution by gamma."""

    alpha: float
    beta: float
    gamma: float

    @property
    def product(self) -> float:
        """alpha · beta² · gamma²: how often the multiply-adds grow by."""
        return self.alpha * self.beta**2 * self.gamma**2


PUBLISHED_RATIOS = Ratios(1.2, 1.1, 1.15)  # section 5.3
# (width, depth, resolution) of B0 to B7, as the authors released them
PUBLISHED_SIZES = (
    (1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 300),
    (1.4, 1.8, 380), (1.6, 2.2, 456), (1.8, 2.6, 528), (2.0, 3.1, 600),
)  # fmt: skip
ALPHAS = (1.0, 1.1, 1.2, 1.3, 1.4)
BETAS = (1.0, 1.1, 1.2, 1.3)
GAMMAS = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)
TARGET, TOLERANCE = 2.0, 0.1  # of the product
LARGEST_PHI = 7


@dataclass(frozen=True)
class Scaled:
    """A network by its scaling; `memory` in bytes, of training with `batch` images."""

    scaling: Mapping[str, float]
    depth: float
    width: float
    resolution: tuple[int, int]
    params: int
    macs: int
    memory: int
    batch: int


def grid() -> tuple[Ratios, ...]:
    """The small grid of phi = 1: every combination whose product is 2 ± 0.1."""
    points = itertools.starmap(Ratios, itertools.product(ALPHAS, BETAS, GAMMAS))
    return tuple(point for point in points if abs(point.product - TARGET) <= TOLERANCE)


def base_of(architecture: Architecture) -> Architecture:
    """The network itself, where it can be scaled. Raises SpaceError."""
    if architecture.scaling:
        raise SpaceError(
            "has a scaling of its own: scale the network that it was made from, or take the "
            "section out",
            architecture.path,
        )
    if not deepens(architecture.network):
        raise SpaceError(
            "has no row with a repeat, so alpha would scale nothing: write repeat: 1 into the "
            "rows that may be repeated",
            architecture.path,
        )
    return architecture


def scaled_text(architecture: Architecture, scaling: Mapping[str, float]) -> str:
    """The file with that `scaling` section."""
    return architecture.with_section("scaling", dict(scaling))


def scaled(
    architecture: Architecture, scaling: Mapping[str, float], image: Mapping[str, Any], batch: int
) -> Scaled:
    """The figures under `{phi, alpha, beta, gamma}` or `{depth, width, resolution}`.

    `image`: size [h, w], channels and classes of the base; the resolution follows from it.
    Raises ShapeError.
    """
    height, width = image["size"]
    try:
        by = factors(scaling, height)
        if "resolution" in scaling:
            height = width = int(scaling["resolution"])
        else:
            height, width = (factors(scaling, side).resolution or side for side in (height, width))
    except Misfit as misfit:
        raise ShapeError(f"scaling: {misfit}", architecture.path) from misfit
    price = cost(
        _under(architecture, by),
        classes=image["classes"],
        channels=image["channels"],
        size=(height, width),
        batch=batch,
    )
    return Scaled(
        dict(scaling), by.depth, by.width, (height, width),
        price.params, price.macs, price.memory, batch,
    )  # fmt: skip


def _under(architecture: Architecture, by: Factors) -> Architecture:
    """The network with these factors. Its text stays, so that errors name the user's own lines."""
    if by.depth == by.width == 1:
        return architecture
    scaling = {"depth": by.depth, "width": by.width}
    return replace(architecture, values={**architecture.values, "scaling": scaling})

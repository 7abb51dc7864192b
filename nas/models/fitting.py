"""Another width of a scaled network that does not fit: what an error can name as a way out."""

from __future__ import annotations

from dataclasses import replace

from ..errors import ShapeError
from ..space import Architecture
from .scaling import scaled_by
from .tally import Tally
from .walk import walk

STEP, TRIED = 0.05, 20  # of the width, in each direction


def with_fitting_width(
    error: ShapeError, architecture: Architecture, classes: int, image: tuple[int, int, int]
) -> ShapeError:
    """The error, and where another width near by would fit, which.

    image  (channels, height, width) of what the network takes, resized or not
    """
    try:
        by = scaled_by(architecture)
    except ShapeError:  # which is then the error itself
        return error
    if by.depth == by.width == 1:
        return error
    steps = (sign * number * STEP for number in range(1, TRIED + 1) for sign in (1, -1))
    for width in (round(by.width + step, 2) for step in steps):
        scaling = {"depth": by.depth, "width": width}
        other = replace(architecture, values={**architecture.values, "scaling": scaling})
        if width > 0 and _fits(other, classes, image):
            longer = ShapeError(f"{error}; width {width:g} would fit")
            longer.where = error.where
            return longer
    return error


def _fits(architecture: Architecture, classes: int, image: tuple[int, int, int]) -> bool:
    try:
        walk(architecture, classes, Tally(*image))
    except ShapeError:
        return False
    return True

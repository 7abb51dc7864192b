"""The size of the images: what the file assumes, and what would fit where one does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ShapeError, UserError
from ..space import Architecture, Space
from .fitting import with_fitting_width
from .scaling import scaled_by, shown
from .tally import Misfit, Tally
from .walk import walk

MOST_SCANNED = 300  # pixels, where no larger image is sure to fit
LARGEST_TRIED = 1024  # pixels; how far to look for an image size that would fit


def check_asked(architecture: object, classes: object, channels: object) -> None:
    """What `build` is called with. Raises UserError."""
    if not isinstance(architecture, Architecture):
        kind = "a space: fill it first" if isinstance(architecture, Space) else repr(architecture)
        raise UserError(
            f"an Architecture is wanted, such as nas.load makes of a file without holes, not {kind}"
        )
    for name, value in (("classes", classes), ("channels", channels)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} is {value!r}, and must be a whole number of at least 1")


def image_size(architecture: Architecture, size: int | tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) of the images: `size`, else what the file's `input` and `scaling` say."""
    if size is not None:
        height, width = _pair(size)
    elif "resolution" in architecture.scaling:
        height = width = architecture.scaling["resolution"]
    elif "size" in architecture.input:
        height, width = _scaled(architecture, _pair(architecture.input["size"]))
    else:
        raise UserError(
            "the size of the images is not known: pass size=32, or write input: {size: 32} "
            "into the file"
        )
    if height < 1 or width < 1:
        raise UserError(f"the size of the images is {height}x{width}: at least 1x1 is needed")
    return height, width


def resized(
    architecture: Architecture, size: int | tuple[int, int] | None
) -> tuple[int, int] | None:
    """(height, width) that given images are resampled to first; None: they are taken as they are.

    gamma of `scaling: {phi, …}` is a ratio to whatever images there are. Where none are given
    (`size` None) the file's own `input` is scaled, and such images are assumed.
    """
    if size is None or "phi" not in architecture.scaling:
        return None
    images = _pair(size)
    scaled = _scaled(architecture, images)
    return None if scaled == images else scaled


def _scaled(architecture: Architecture, size: tuple[int, int]) -> tuple[int, int]:
    sides = [scaled_by(architecture, side).resolution or side for side in size]
    return sides[0], sides[1]


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if isinstance(size, Sequence) and [type(side) for side in size] == [int, int]:
        return size[0], size[1]
    raise UserError(f"the size of the images is {size!r}: it is pixels, 32 or (height, width)")


def with_fitting_size(
    error: ShapeError,
    architecture: Architecture,
    classes: int,
    channels: int,
    size: tuple[int, int],
    resize: tuple[int, int] | None,
) -> ShapeError:
    """The error, and where a larger image would help, the smallest one that fits: square, or less
    in height or width where that is enough.

    Else, of a scaled network, the width that would fit.
    resize  what images of `size` are resampled to first
    """
    if not isinstance(error.__cause__, Misfit):
        return error
    if not error.__cause__.small:
        return with_fitting_width(error, architecture, classes, (channels, *(resize or size)))

    def fits(height: int, width: int | None = None) -> bool:
        sides = height, height if width is None else width
        try:
            walk(
                architecture,
                classes,
                Tally(channels, *sides),
                resize=resized(architecture, sides),
            )
        except ShapeError:
            return False
        return True

    low, high = min(size), 2 * max(size)
    while high <= LARGEST_TRIED and not fits(high):
        low, high = high, 2 * high
    remedy = error.__cause__.remedy
    text = f"{error}; the image is {size[0]}x{size[1]}{_by_scaling(architecture, resize)}"
    if high > LARGEST_TRIED:  # a network for one size alone, such as LeNet-5's 32
        high = next((side for side in range(1, MOST_SCANNED) if fits(side)), high)
        if high < MOST_SCANNED:
            return _with_place(f"{text}: {high}x{high} fits", error)
        tried = f": none of the sizes tried fits, up to {low}x{low}" if low > max(size) else ""
        return _with_place(f"{text}{tried}; {remedy}", error)
    side = _least(fits, low, high)
    height, width = side, side
    if side > 1:  # wide kernels need little height
        if fits(side - 1, side):
            height = _least(lambda h: fits(h, side), 0, side - 1)
        if fits(height, side - 1):
            width = _least(lambda w: fits(height, w), 0, side - 1)
    text += f": at least {height}x{width} fits, or {remedy}"
    return _with_place(text, error)


def _least(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest side that fits, between one that does not and one that does."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _by_scaling(architecture: Architecture, resize: tuple[int, int] | None) -> str:
    """What the file's own scaling has to do with the image, in words."""
    if not architecture.scaling:
        return ""
    brought = f" brings it to {resize[0]}x{resize[1]}" if resize else ""
    return f" ({shown(architecture)}{brought})"


def _with_place(text: str, error: ShapeError) -> ShapeError:
    longer = ShapeError(text)
    longer.where = error.where
    return longer

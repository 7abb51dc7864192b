"""What a reader hands over: images and labels as the files gave them, not yet checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

LAYOUTS = ("NCHW", "NHWC")
CHANNELS = (1, 3, 4)  # grey, colour, colour with a fourth band


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the test images: x (N, C, H, W), y (N,) or (N, 1), and for messages the
    file (or file and key) that each came from."""

    x: NDArray[Any]
    y: NDArray[Any]
    x_from: str
    y_from: str


@dataclass(frozen=True, eq=False)
class Parts:
    """Both parts, and the names of the classes where the files or the set itself tell them."""

    train: Part
    test: Part
    classes: tuple[str, ...] | None = None


def channels_first(x: NDArray[Any], where: str, layout: str | None = None) -> NDArray[Any]:
    """A view (N, C, H, W) of images (N, H, W), (N, H, W, C) or (N, C, H, W).

    Without a stated `layout` ("NCHW" or "NHWC") the channels are the second or the last axis,
    whichever has 1, 3 or 4 entries. Raises DataError where both have or neither has: a guess
    would turn images into noise that still trains, a little.
    """
    if x.ndim == 3:
        return x[:, np.newaxis]  # (N, 1, H, W)
    if x.ndim != 4:
        raise DataError(
            f"{where}: the array has shape {x.shape}, but images are (N, H, W), (N, H, W, C) or"
            " (N, C, H, W): reshape it"
        )
    second, last = x.shape[1] in CHANNELS, x.shape[3] in CHANNELS
    if layout is None and second == last:
        raise DataError(
            f"{where}: in the shape {x.shape} {'both' if second else 'neither'} of the second and"
            " the last axis could be the channels (1, 3 or 4): save the images in an .npz file"
            " that states layout='NCHW' or layout='NHWC'"
        )
    if layout == "NCHW" or (layout is None and second):
        return x
    return x.transpose(0, 3, 1, 2)  # (N, C, H, W)

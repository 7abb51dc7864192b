"""Mean and spread of every channel, in blocks: no float copy of the whole set is ever made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_VALUES = 2_000_000  # 16 MB as float64


def blocks(x: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """`x` in runs of whole images of about two million values each, as views."""
    images = max(1, BLOCK_VALUES // max(1, x[:1].size))
    for start in range(0, len(x), images):
        yield x[start : start + images]


def channel_statistics(x: NDArray[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of images (N, C, H, W).

    uint8 is scaled to [0, 1], float32 is taken as it is. A constant channel gets 1 as its
    deviation, so that (x - mean) / std is 0 there and not NaN.
    """
    mean, std = _of_bytes(x) if x.dtype == np.uint8 else _of_floats(x)
    return tuple(float(m) for m in mean), tuple(float(s) if s > 0 else 1.0 for s in std)


def _of_bytes(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    # A histogram is exact, and needs one pass.
    counts = np.zeros((x.shape[1], 256), np.int64)  # (C, 256)
    for block in blocks(x):
        for channel in range(x.shape[1]):
            counts[channel] += np.bincount(block[:, channel].ravel(), minlength=256)
    values, total = np.arange(256), counts.sum(axis=1)
    mean = counts @ values / total
    variance = (counts * (values - mean[:, np.newaxis]) ** 2).sum(axis=1) / total
    return mean / 255, np.sqrt(variance) / 255


def _of_floats(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    # Two passes: the sum of squares minus the squared mean cancels where the mean is large.
    axes, each = (0, 2, 3), len(x) * x.shape[2] * x.shape[3]
    mean = sum(block.sum(axis=axes, dtype=np.float64) for block in blocks(x)) / each  # (C,)
    offset = np.asarray(mean)[np.newaxis, :, np.newaxis, np.newaxis]
    squares = sum(((block - offset) ** 2).sum(axis=axes) for block in blocks(x))
    # Rounding of the mean leaves a constant channel with a tiny deviation: look at its ends.
    constant = x.min(axis=axes) == x.max(axis=axes)
    return np.asarray(mean), np.where(constant, 0.0, np.sqrt(squares / each))

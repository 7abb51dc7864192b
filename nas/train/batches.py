"""A part of the data on the device, normalised batch by batch there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError

Array = np.ndarray | Tensor


def shared_tensor(array: Array) -> Tensor:
    """The array as a tensor over the same memory, read-only arrays too.

    Ray's object store hands out read-only arrays, of which `torch.from_numpy` warns. A copy
    would cost every trial the size of the data; nothing here writes into it. The stride of an axis
    of length 1, such as the channels of grey images, says nothing of the values, but convolutions
    pick their kernels by it: it is the same here wherever the array comes from.
    """
    if isinstance(array, Tensor):
        return array
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(np.ascontiguousarray(array).reshape(-1).reshape(array.shape))


def cuts(count: int, batch_size: int) -> list[tuple[int, int]]:
    """Where to cut `count` images into training batches: (start, stop) of each.

    The last, incomplete batch is kept, unless it is a single image: batch norm needs two values.
    """
    bounds = [(at, min(at + batch_size, count)) for at in range(0, count, batch_size)]
    if len(bounds) > 1 and bounds[-1][1] - bounds[-1][0] == 1:
        bounds.pop()
    return bounds


class Batches:
    """Images and labels on a device; `take` gives normalised float batches.

    images (N, C, H, W) uint8, scaled to [0, 1] and then normalised, or floats, normalised only
    labels (N,) whole numbers; None where there are none
    mean, std of each channel (a constant channel's std of 0 counts as 1)
    """

    def __init__(
        self,
        images: Array,
        labels: Array | None,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
    ) -> None:
        _check(images, labels, mean, std)
        pixels = shared_tensor(images)
        bytes_ = pixels.dtype == torch.uint8
        self.images = (pixels if bytes_ else pixels.to(torch.float32)).to(device)
        self.labels = None if labels is None else shared_tensor(labels).to(device, torch.int64)
        spread = np.where(np.asarray(std, float) > 0, std, 1.0)
        scale = 1.0 / (spread * (255.0 if bytes_ else 1.0))
        shape = (1, len(mean), 1, 1)
        self._scale = torch.tensor(scale, dtype=torch.float32, device=device).view(shape)
        shift = -np.asarray(mean, float) / spread
        self._shift = torch.tensor(shift, dtype=torch.float32, device=device).view(shape)
        # cuDNN's kernels are faster on channels-last images; the CPU's differ by the network
        on_cuda = device.type == "cuda"
        self.layout = torch.channels_last if on_cuda else torch.contiguous_format

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images of these rows, normalised (n, C, H, W), and their labels (n,)."""
        assert self.labels is not None
        return self._normalised(self.images.index_select(0, rows)), self.labels[rows]

    def slice(self, start: int, stop: int) -> Tensor:
        """The images from `start` to `stop`, normalised (n, C, H, W)."""
        return self._normalised(self.images[start:stop])

    def _normalised(self, pixels: Tensor) -> Tensor:
        # (x / 255 - mean) / std in two passes over the batch; a uint8 becomes a float in the first
        return (pixels * self._scale).add_(self._shift).contiguous(memory_format=self.layout)


def _check(
    images: Array, labels: Array | None, mean: Sequence[float], std: Sequence[float]
) -> None:
    if images.ndim != 4 or len(images) == 0:
        raise DataError(f"images of shape {tuple(images.shape)}: wanted (N, C, H, W), N at least 1")
    if labels is not None and len(labels) != len(images):
        raise DataError(f"{len(images)} images, but {len(labels)} labels: there must be one each")
    channels = images.shape[1]
    if len(mean) != channels or len(std) != channels:
        raise DataError(
            f"{len(mean)} means and {len(std)} standard deviations for images of {channels} "
            "channels: there must be one for each channel"
        )

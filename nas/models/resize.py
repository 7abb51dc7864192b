"""Images at another resolution: what compound scaling's gamma does to data of a given size."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .operators import operator
from .settings import Kernel
from .tally import Tally


@operator("resize")
class Resize(nn.Module):
    """The map resampled to `size` pixels, bilinear (EfficientNet's resolution: Tan and Le 2019).

    Where a network is scaled up by `scaling: {phi, …}` and the images are given, `build` puts
    this row first, so that gamma has its effect on any data set.
    """

    def __init__(self, size: Kernel) -> None:
        super().__init__()
        self.size = _pair(size)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return F.interpolate(x, self.size, mode="bilinear")  # (N, C, *size)

    @staticmethod
    def cost(tally: Tally, size: Any) -> None:
        tally.need_image()
        height, width = tally.height, tally.width
        tally.height, tally.width = _pair(size)
        if tally.height != height:
            tally.view_h += tally.jump_h  # two neighbours are mixed
            tally.jump_h = max(1, round(tally.jump_h * height / tally.height))
        if tally.width != width:
            tally.view_w += tally.jump_w
            tally.jump_w = max(1, round(tally.jump_w * width / tally.width))
        tally.keep()
        tally.largest = max(tally.largest, tally.channels * tally.height * tally.width)
        tally.activated = False


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))

"""The first layers, by the size of the image."""

from __future__ import annotations

from typing import Any, Literal, cast

from torch import Tensor, nn

from .conv import Conv
from .operators import operator
from .settings import ActName, Channels, Norm
from .tally import Tally

SMALL_BELOW = 64  # pixels; between the data sets of 28-32 and those of 224


@operator("stem")
class Stem(nn.Module):
    """The first layers: one 3x3 convolution (small) or 7x7 and pooling, both stride 2 (imagenet).

    He et al. 2015, section 4.2 and Table 1. `auto` takes small below 64 pixels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        kind: Literal["auto", "small", "imagenet"] = "auto",
        norm: Norm = "batch",
        act: ActName = "relu",
        size: tuple[int, int] = (224, 224),
    ) -> None:
        super().__init__()
        small = _is_small(kind, *size)
        self.conv = Conv(
            in_channels, channels, 3 if small else 7, 1 if small else 2, norm=norm, act=act
        )
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        x = self.conv(x)  # (N, channels, H, W), imagenet: (N, channels, H / 2, W / 2)
        return cast(Tensor, self.pool(x))  # imagenet: (N, channels, H / 4, W / 4)

    @staticmethod
    def cost(tally: Tally, channels: int, kind: str, norm: Any, act: str) -> None:
        if _is_small(kind, tally.height, tally.width):
            Conv.cost(tally, channels, 3, norm=norm, act=act)
            return
        Conv.cost(tally, channels, 7, 2, norm=norm, act=act)
        tally.window(3, 2, 1, "same")
        for _ in range(3):  # the result, and where each maximum came from, in 64 bits
            tally.keep()


def _is_small(kind: str, height: int, width: int) -> bool:
    return min(height, width) < SMALL_BELOW if kind == "auto" else kind == "small"

"""Network in Network's layer: a small perceptron slides over the map instead of a linear filter."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from .conv import Conv
from .gated import gated_operator
from .settings import ActName, Channels, Kernel, Norm, Padding, Stride, Widths
from .tally import Tally


@gated_operator("mlpconv")
class MlpConv(nn.Module):
    """A convolution and two 1x1 convolutions, each with its activation (Lin et al. 2013).

    width  channels of the convolution and of the first 1x1: one number for both, or [a, b]; left
           out: `channels`
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        kernel: Kernel = 3,
        stride: Stride = 1,
        padding: Padding = "same",
        width: Widths = None,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        wide, mixed = _widths(width, channels)
        self.conv = Conv(in_channels, wide, kernel, stride, padding, norm=norm, act=act)
        self.mix1 = Conv(wide, mixed, 1, norm=norm, act=act)
        self.mix2 = Conv(mixed, channels, 1, norm=norm, act=act)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        x = self.conv(x)  # (N, width, H / stride, W / stride)
        x = self.mix1(x)  # (N, width, H / stride, W / stride)
        return cast(Tensor, self.mix2(x))  # (N, channels, H / stride, W / stride)

    @staticmethod
    def cost(
        tally: Tally, channels: int, kernel: Any, stride: Any, padding: Any, width: Any, norm: Any,
        act: str,
    ) -> None:  # fmt: skip
        wide, mixed = _widths(width, channels)
        Conv.cost(tally, wide, kernel, stride, padding, norm=norm, act=act)
        Conv.cost(tally, mixed, 1, norm=norm, act=act)
        Conv.cost(tally, channels, 1, norm=norm, act=act)


def _widths(width: Any, channels: int) -> tuple[int, int]:
    if width is None:
        return channels, channels
    return (width, width) if isinstance(width, int) else (width[0], width[1])

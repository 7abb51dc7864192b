"""The inverted residual: wide inside, narrow and linear at its ends."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from .conv import Conv
from .drop_path import make_drop_path
from .operators import operator
from .settings import (
    ActName,
    Channels,
    Count,
    DropRate,
    Norm,
    OddKernel,
    SqueezeExcite,
    Stride,
    Width,
)
from .squeeze_excite import cost_of_se, make_se
from .tally import Misfit, Tally, is_none


@operator("mbconv")
class MBConv(nn.Module):
    """1x1 convolution up, depthwise, linear 1x1 down, beside a shortcut (Sandler et al. 2018).

    No activation follows the 1x1 down: it would lose what a narrow map holds (section 3.2).

    expansion  the inner width is the input's x expansion; where the two are equal, the 1x1 up is
               left out
    width      the inner width itself, in place of `expansion` (MobileNetV3: Howard et al. 2019)
    kernel     of the depthwise convolution, which takes the stride too
    se         squeeze-and-excitation after it (MnasNet: Tan et al. 2018); EfficientNet and MnasNet
               squeeze to a share of the block's input: {ratio: 0.25, of: input}
    drop_path  stochastic depth, beside a shortcut (EfficientNet: Tan and Le 2019)
    The shortcut stands where channels and size stay.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        stride: Stride = 1,
        kernel: OddKernel = 3,
        expansion: Count = 6,
        width: Width = None,
        se: SqueezeExcite = 0.0,
        norm: Norm = "batch",
        act: ActName = "relu6",
        drop_path: DropRate = 0.0,
        depth: float = 1.0,
    ) -> None:
        super().__init__()
        inner = width or in_channels * expansion
        same: dict[str, Any] = {"norm": norm, "act": act}
        up = inner != in_channels
        self.expand = Conv(in_channels, inner, 1, **same) if up else nn.Identity()
        self.depthwise = Conv(inner, inner, kernel, stride, groups=inner, **same)
        self.se = make_se(se, inner, in_channels)
        self.project = Conv(inner, channels, 1, norm=norm, act="none")
        self.shortcut = stride == 1 and in_channels == channels
        self.drop_path = make_drop_path(drop_path if self.shortcut else 0, depth)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        y = self.expand(x)  # (N, width, H, W)
        y = self.depthwise(y)  # (N, width, H / stride, W / stride)
        y = self.se(y)
        y = self.project(y)  # (N, channels, H / stride, W / stride)
        return cast(Tensor, x + self.drop_path(y) if self.shortcut else y)

    @staticmethod
    def cost(
        tally: Tally, channels: int, stride: Any, kernel: int, expansion: int, width: int | None,
        se: Any, norm: Any, act: str, drop_path: float,
    ) -> None:  # fmt: skip
        before, bare = tally.channels, is_none(norm)
        inner = width or before * expansion
        if kernel % 2 == 0:
            raise Misfit(f"kernel {kernel} would change the size: take an odd one")
        if inner != before:
            tally.conv(inner, 1, bias=bare)
            tally.norm_act(norm, act)
        tally.conv(inner, kernel, stride, inner, bias=bare)
        tally.norm_act(norm, act)
        if se:
            cost_of_se(tally, se, before)
        tally.conv(channels, 1, bias=bare, kept=not bare)
        tally.norm_act(norm, "none")
        tally.keep()  # the sum, or the norm's output

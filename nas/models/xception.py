"""Xception's block: depthwise separable convolutions beside a shortcut."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from .conv import Conv, make_conv
from .norm_act import make_act
from .operators import operator
from .settings import ActName, Channels, Count, Norm, OddKernel, SqueezeExcite, Stride
from .squeeze_excite import cost_of_se, make_se
from .tally import Misfit, Tally, is_none


@operator("xception_block")
class XceptionBlock(nn.Module):
    """Activation, depthwise, 1x1, norm, `layers` times, beside a shortcut (Chollet 2016).

    Nothing stands between the depthwise and the 1x1 convolution (section 4.7 finds that better).
    The stride is a 3x3 max pooling at the end; the shortcut is projected by a 1x1 convolution
    where channels or size change (Fig. 5).

    layers           how many separable convolutions
    grow_first       which of them changes the channels: the first (true) or the last
    start_with_relu  whether an activation opens the block; the first block after the stem, which
                     has just activated, has none
    se               squeeze-and-excitation of the branch, before the sum
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        stride: Stride = 1,
        kernel: OddKernel = 3,
        layers: Count = 2,
        grow_first: bool = True,
        start_with_relu: bool = True,
        se: SqueezeExcite = 0.0,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        projects = stride != 1 or in_channels != channels
        self.shortcut = (
            Conv(in_channels, channels, 1, stride, norm=norm, act="none") if projects else None
        )
        self.branch = nn.Sequential()
        before = in_channels
        for number, width in enumerate(_widths(in_channels, channels, layers, grow_first)):
            if number or start_with_relu:  # the first one's input goes through the shortcut too
                self.branch.append(make_act(act, in_place=number > 0))
            self.branch.append(make_conv(before, before, kernel, groups=before))
            self.branch.append(Conv(before, width, 1, norm=norm, act="none"))
            before = width
        steps = stride if isinstance(stride, int) else tuple(stride)
        self.pool = nn.Identity() if stride == 1 else nn.MaxPool2d(3, steps, 1)
        self.se = make_se(se, channels, in_channels)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        y = self.branch(x)  # (N, channels, H, W)
        y = self.se(self.pool(y))  # (N, channels, H / stride, W / stride)
        return cast(Tensor, y + (x if self.shortcut is None else self.shortcut(x)))

    @staticmethod
    def cost(
        tally: Tally, channels: int, stride: Any, kernel: int, layers: int, grow_first: bool,
        start_with_relu: bool, se: Any, norm: Any, act: str,
    ) -> None:  # fmt: skip
        before, bare = tally.channels, is_none(norm)
        if kernel % 2 == 0:
            raise Misfit(f"kernel {kernel} would change the size: take an odd one")
        if start_with_relu:
            tally.norm_act("none", act, in_place=False)
        for number, width in enumerate(_widths(before, channels, layers, grow_first), 1):
            last = number == layers
            tally.conv(tally.channels, kernel, 1, tally.channels)
            tally.conv(width, 1, bias=bare, kept=not (bare and last))
            tally.norm_act(norm, "none" if last else act)
        if stride != 1:
            tally.keep()  # what is pooled
            tally.window(3, stride, 1, "same")
            tally.keep()  # where each maximum came from, in 64-bit whole numbers
            tally.keep()
        if se:
            cost_of_se(tally, se, before)
        if stride != 1 or before != channels:
            pixels = tally.height * tally.width
            tally.pointwise(before, channels, pixels, bias=bare, norm=norm)
        tally.keep()  # the sum
        tally.activated = False


def _widths(before: int, channels: int, layers: int, grow_first: bool) -> list[int]:
    """The output channels of each separable convolution."""
    return [channels] * layers if grow_first else [before] * (layers - 1) + [channels]

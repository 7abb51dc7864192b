"""SqueezeNet's module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .conv import Conv
from .operators import operator
from .settings import ActName, Channels, Norm, OddKernel, Share, SqueezeExcite, Stride, Width
from .squeeze_excite import cost_of_se, make_se
from .tally import Misfit, Tally, is_none


@operator("fire")
class Fire(nn.Module):
    """1x1 convolution down, then 1x1 and 3x3 up in parallel, concatenated (Iandola et al. 2016).

    ratio   the squeezed width, as a share of the output channels
    width   the squeezed width itself, in place of `ratio`
    share   of the output channels that come from the 3x3 convolution (the paper's pct_3x3)
    kernel  of that convolution
    stride  of both parallel ones; the paper has none, and pools between modules
    se      squeeze-and-excitation of the concatenated map
    The paper's network has no norm: `norm: none`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        stride: Stride = 1,
        kernel: OddKernel = 3,
        ratio: Share = 0.125,
        width: Width = None,
        share: Share = 0.5,
        se: SqueezeExcite = 0.0,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        squeezed, wide = width or _part(channels, ratio), _part(channels, share)
        same: dict[str, Any] = {"norm": norm, "act": act}
        self.squeeze = Conv(in_channels, squeezed, 1, **same)
        self.expand1 = Conv(squeezed, channels - wide, 1, stride, **same)
        self.expand3 = Conv(squeezed, wide, kernel, stride, **same)
        self.se = make_se(se, channels, in_channels)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        x = self.squeeze(x)  # (N, width, H, W)
        y = torch.cat([self.expand1(x), self.expand3(x)], 1)  # (N, channels, H / stride, …)
        gated: Tensor = self.se(y)
        return gated

    @staticmethod
    def cost(
        tally: Tally, channels: int, stride: Any, kernel: int, ratio: float, width: int | None,
        share: float, se: Any, norm: Any, act: str,
    ) -> None:  # fmt: skip
        before, bare = tally.channels, is_none(norm)
        squeezed, wide = width or _part(channels, ratio), _part(channels, share)
        if kernel % 2 == 0:
            raise Misfit(f"kernel {kernel} would change the size beside the 1x1: take an odd one")
        if not squeezed or not 0 < wide < channels:
            raise Misfit(
                f"{channels} channels with ratio {ratio} and share {share} make {squeezed} "
                f"squeezed, {channels - wide} by 1x1 and {wide} by {kernel}x{kernel}: each must be "
                "at least 1"
            )
        tally.conv(squeezed, 1, bias=bare)
        tally.norm_act(norm, act)
        start = tally.place()
        tally.conv(channels - wide, 1, stride, bias=bare)
        tally.norm_act(norm, act, copied=True)
        end = tally.place()
        tally.go(start)
        tally.conv(wide, kernel, stride, bias=bare)
        tally.norm_act(norm, act, copied=True)
        tally.join([end, tally.place()], "concat")
        if se:
            cost_of_se(tally, se, before)


def _part(channels: int, share: float) -> int:
    return int(channels * share + 0.5)

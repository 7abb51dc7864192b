"""Highway layers (Srivastava et al. 2015)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from .conv import Conv, make_conv
from .gated import gated_operator
from .settings import ActName, Norm, OddKernel, SameChannels, Stride
from .shortcuts import PadShortcut
from .tally import Misfit, Tally


@gated_operator("highway")
class Highway(nn.Module):
    """A gate T mixes a convolution and its input: y = H(x)·T(x) + x·(1 - T(x)) (Srivastava 2015).

    H is a convolution with its activation, T one with a sigmoid. Where channels or stride differ,
    x is sub-sampled and padded with zeros (section 2.1; the paper's own networks put a plain
    convolution there).

    gate_bias  the gate's bias at the start; below 0, layers begin by carrying their input along
    norm, act  of H; the gate has none
    """

    def __init__(
        self,
        in_channels: int,
        channels: SameChannels = None,
        kernel: OddKernel = 3,
        stride: Stride = 1,
        gate_bias: float = -2.0,
        norm: Norm = "none",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        channels = channels or in_channels
        self.transform = Conv(in_channels, channels, kernel, stride, norm=norm, act=act)
        self.gate = make_conv(in_channels, channels, kernel, stride, bias=True)
        nn.init.constant_(cast(Tensor, self.gate.bias), gate_bias)
        same = stride == 1 and channels == in_channels
        self.carry = nn.Identity() if same else PadShortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        h = self.transform(x)  # (N, channels, H / stride, W / stride)
        t = torch.sigmoid(self.gate(x))  # (N, channels, H / stride, W / stride)
        return cast(Tensor, h * t + self.carry(x) * (1 - t))

    @staticmethod
    def cost(
        tally: Tally, channels: int | None, kernel: int, stride: Any, gate_bias: float,
        norm: Any, act: str,
    ) -> None:  # fmt: skip
        before = tally.channels
        channels = channels or before
        if kernel % 2 == 0:
            raise Misfit(f"kernel {kernel} would change the size beside the input: take an odd one")
        if before > channels:
            raise Misfit(
                f"cannot carry {before} channels on in {channels}, it only adds zeros: take at "
                f"least {before} channels, or a convolution before it"
            )
        start = tally.place()
        tally.conv(channels, kernel, stride, bias=True)  # T, kept after its sigmoid
        tally.go(start)
        Conv.cost(tally, channels, kernel, stride, norm=norm, act=act)
        tally.keep()  # 1 - T
        tally.keep()  # the sum
        if stride != 1 or before != channels:
            tally.keep()  # the padded input
        tally.activated = False

"""Transposed convolution: a map grows."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from .norm_act import make_act, make_norm
from .operators import operator
from .settings import ActName, Bias, Channels, Count, Kernel, Norm, PoolPadding, Stride
from .tally import MOST_CHANNELS, Misfit, Tally, channels_fault, groups_fault, is_none


@operator("transposed_conv")
class TransposedConv(nn.Module):
    """A convolution's gradient as a layer: each value spreads over a window (Zeiler et al. 2010).

    stride   how much the map grows
    padding  same (stride times the input's size), valid (a value for all that is reached), or
             pixels cut off each side of that
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        kernel: Kernel = 3,
        stride: Stride = 2,
        padding: PoolPadding = "same",
        dilation: Count = 1,
        groups: Count = 1,
        bias: Bias = None,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        sides, steps = _pair(kernel), _pair(stride)
        cuts = [_cut(*pair, dilation) for pair in zip(sides, steps, _pair(padding), strict=True)]
        self.conv = nn.ConvTranspose2d(
            in_channels, channels, sides, steps, (cuts[0][0], cuts[1][0]),
            (cuts[0][1], cuts[1][1]), groups, is_none(norm) if bias is None else bias, dilation,
        )  # fmt: skip
        # He normal, fan in: so many weights meet in one output value on average
        fan_in = in_channels / groups * sides[0] * sides[1] / (steps[0] * steps[1])
        with torch.no_grad():
            self.conv.weight.normal_(0, (2 / fan_in) ** 0.5)
            if self.conv.bias is not None:
                self.conv.bias.zero_()
        self.norm = make_norm(channels, norm)
        self.act = make_act(act)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        x = self.conv(x)  # (N, channels, H * stride, W * stride)
        return cast(Tensor, self.act(self.norm(x)))

    @staticmethod
    def cost(
        tally: Tally, channels: int, kernel: Any, stride: Any, padding: Any, dilation: int,
        groups: int, bias: bool | None, norm: Any, act: str,
    ) -> None:  # fmt: skip
        tally.need_image()
        before, (kernel_h, kernel_w), (stride_h, stride_w) = (
            tally.channels, _pair(kernel), _pair(stride)
        )  # fmt: skip
        pad_h, pad_w = _pair(padding)
        if before % groups or channels % groups:
            raise Misfit(groups_fault(groups, before, channels))
        if channels > MOST_CHANNELS:
            raise Misfit(channels_fault(channels))
        weights = before // groups * channels * kernel_h * kernel_w
        tally.params += weights
        macs = weights * tally.height * tally.width  # every input value meets each weight
        tally.macs += macs
        tally.height = _grown(tally.height, kernel_h, stride_h, pad_h, dilation)
        tally.width = _grown(tally.width, kernel_w, stride_w, pad_w, dilation)
        tally.need_kernel(kernel_h, kernel_w, dilation)
        # at most: a value sees the inputs that its window's taps fall on
        tally.view_h += dilation * (kernel_h - 1) // stride_h * tally.jump_h
        tally.view_w += dilation * (kernel_w - 1) // stride_w * tally.jump_w
        tally.jump_h = -(-tally.jump_h // stride_h)
        tally.jump_w = -(-tally.jump_w // stride_w)
        tally.channels, tally.activated = channels, False
        own = channels if (is_none(norm) if bias is None else bias) else 0
        tally.params += own
        values = channels * tally.height * tally.width
        tally.activations += values
        tally.largest = max(tally.largest, values)
        tally.keep()
        shape, seen = (channels, tally.height, tally.width), ((1, 1), (1.0, 1.0))
        tally.measured([("transposed_conv", shape, weights + own, macs, values, weights, *seen)], 1)
        tally.norm_act(norm, act)
        if act == "none" and not is_none(norm):
            tally.keep()


def _pair(value: Any) -> tuple[Any, Any]:
    return (value, value) if isinstance(value, int | str) else (value[0], value[1])


def _cut(kernel: int, stride: int, padding: Any, dilation: int) -> tuple[int, int]:
    """What torch cuts off each side, and adds at the end again. Raises Misfit."""
    if padding == "valid":
        return 0, 0
    if padding != "same":
        return padding, 0
    over = dilation * (kernel - 1) + 1 - stride
    cut = (over + 1) // 2 if over > 0 else 0
    added = 2 * cut - over
    if added >= max(stride, dilation):
        raise Misfit(
            f"kernel {kernel} cannot keep the size at stride {stride}: take an odd one"
        )  # fmt: skip
    return cut, added


def _grown(size: int, kernel: int, stride: int, padding: Any, dilation: int) -> int:
    cut, added = _cut(kernel, stride, padding, dilation)
    grown = (size - 1) * stride - 2 * cut + dilation * (kernel - 1) + 1 + added
    if grown < 1:
        raise Misfit(
            f"padding {padding} cuts away all that kernel {kernel}, stride {stride} make of "
            f"{size} pixels",
            small=True,
        )
    return grown

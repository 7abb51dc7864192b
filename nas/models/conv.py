"""Convolutions with their normalisation and activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .connections import ConnectedConv2d, connected_cost, connection_table
from .norm_act import make_act, make_norm
from .operators import operator
from .settings import (
    ActName,
    Bias,
    Channels,
    Connections,
    Count,
    Kernel,
    Norm,
    Padding,
    SameChannels,
    Stride,
)
from .tally import Misfit, Tally, is_none


class SameTFConv2d(nn.Conv2d):
    """nn.Conv2d with TensorFlow's "SAME": output ceil(size / stride), the odd pixel at the end."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (3, 2):
            size, side = x.shape[axis], axis - 2
            stride, reach = self.stride[side], self.dilation[side] * (self.kernel_size[side] - 1)
            short = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
            pads += [short // 2, short - short // 2]
        return super().forward(F.pad(x, pads))


def make_conv(
    in_channels: int,
    channels: int,
    kernel: Any,
    stride: Any = 1,
    *,
    padding: Any = "same",
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """nn.Conv2d, initialised He normal, fan out (He et al. 2015): variance 2 / (kernel² · channels
    / groups). The groups count, as in EfficientNet; torch's own fan leaves them out.
    """
    kind = SameTFConv2d if padding == "same_tf" else nn.Conv2d
    size, step, pads = window(kernel, stride, padding, dilation)
    conv = kind(in_channels, channels, size, step, pads, dilation, groups, bias)
    fan_out = size[0] * size[1] * channels / groups
    with torch.no_grad():
        conv.weight.normal_(0, (2 / fan_out) ** 0.5)
        if conv.bias is not None:
            conv.bias.zero_()
    return conv


def window(kernel: Any, stride: Any, padding: Any, dilation: int) -> tuple[Any, Any, Any]:
    """Kernel, stride and padding as torch's convolutions take them."""
    size = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
    step = stride if isinstance(stride, int) else tuple(stride)
    if padding == "same":
        return size, step, tuple(dilation * (side - 1) // 2 for side in size)
    if isinstance(padding, int | str):
        return size, step, padding if isinstance(padding, int) else 0
    return size, step, tuple(padding)


@operator("conv")
class Conv(nn.Module):
    """A convolution, batch normalisation and an activation (order post), or norm, act, conv (pre).

    LeCun et al. 1998; batch normalisation after Ioffe and Szegedy 2015. There is no bias where a
    norm follows: batch norm would subtract it again.

    connections  which input maps each output map takes: LeNet-5's table, or a list of lists
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        kernel: Kernel = 3,
        stride: Stride = 1,
        padding: Padding = "same",
        dilation: Count = 1,
        groups: Count = 1,
        bias: Bias = None,
        norm: Norm = "batch",
        act: ActName = "relu",
        order: Literal["post", "pre"] = "post",
        connections: Connections = None,
    ) -> None:
        super().__init__()
        self.order = order
        with_bias = is_none(norm) if bias is None else bias
        if order == "pre":
            self.norm = make_norm(in_channels, norm)
            self.act = make_act(act, in_place=not is_none(norm))
        if connections is None:
            self.conv = make_conv(
                in_channels, channels, kernel, stride,
                padding=padding, dilation=dilation, groups=groups, bias=with_bias,
            )  # fmt: skip
        else:
            maps, where = connection_table(connections), window(kernel, stride, padding, dilation)
            self.conv = ConnectedConv2d(in_channels, maps, *where, dilation, with_bias)
        if order == "post":
            self.norm = make_norm(channels, norm)
            self.act = make_act(act)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        if self.order == "pre":
            x = self.act(self.norm(x))
            return cast(Tensor, self.conv(x))  # (N, channels, H / stride, W / stride)
        x = self.conv(x)  # (N, channels, H / stride, W / stride)
        return cast(Tensor, self.act(self.norm(x)))

    @staticmethod
    def cost(
        tally: Tally,
        channels: int,
        kernel: Any = 3,
        stride: Any = 1,
        padding: Any = "same",
        dilation: int = 1,
        groups: int = 1,
        bias: bool | None = None,
        norm: str | Mapping[str, Any] = "batch",
        act: str = "relu",
        order: str = "post",
        connections: Any = None,
    ) -> None:
        with_bias = is_none(norm) if bias is None else bias
        if order == "pre":
            tally.norm_act(norm, act, in_place=not is_none(norm))
            tally.pending = False
        if connections is None:
            tally.conv(
                channels, kernel, stride, groups, dilation=dilation, padding=padding, bias=with_bias
            )
        else:
            connected_cost(
                tally, connections, channels, kernel, stride, padding, dilation, groups, with_bias
            )
        if order == "post":
            tally.norm_act(norm, act)
            if act == "none" and not is_none(norm):
                tally.keep()


@operator("pointwise")
class Pointwise(Conv):
    """A 1x1 convolution: mixes channels, looks at one pixel (Lin et al. 2013)."""

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        stride: Stride = 1,
        groups: Count = 1,
        bias: Bias = None,
        norm: Norm = "batch",
        act: ActName = "relu",
        order: Literal["post", "pre"] = "post",
    ) -> None:
        super().__init__(
            in_channels, channels, 1, stride,
            groups=groups, bias=bias, norm=norm, act=act, order=order,
        )  # fmt: skip

    @staticmethod
    def cost(tally: Tally, channels: int, **settings: Any) -> None:  # type: ignore[override]
        Conv.cost(tally, channels, 1, **settings)


@operator("depthwise")
class Depthwise(Conv):
    """A convolution of each channel by itself (Chollet 2016; MobileNet, Howard et al. 2017).

    `channels` must be a multiple of the input's (each input channel then gives several).
    """

    def __init__(
        self,
        in_channels: int,
        channels: SameChannels = None,
        kernel: Kernel = 3,
        stride: Stride = 1,
        padding: Padding = "same",
        dilation: Count = 1,
        bias: Bias = None,
        norm: Norm = "batch",
        act: ActName = "relu",
        order: Literal["post", "pre"] = "post",
    ) -> None:
        super().__init__(
            in_channels, channels or in_channels, kernel, stride, padding, dilation,
            groups=in_channels, bias=bias, norm=norm, act=act, order=order,
        )  # fmt: skip

    @staticmethod
    def cost(tally: Tally, channels: int | None, **settings: Any) -> None:  # type: ignore[override]
        before = tally.channels
        if channels and channels % before:
            near = max(1, round(channels / before)) * before
            raise Misfit(
                f"channels {channels} must be a multiple of its {before} input channels, such as "
                f"{near}; a pointwise row behind it may have any number"
            )
        Conv.cost(tally, channels or before, groups=before, **settings)

"""The operations that searched cells are made of: what an edge of a cell's graph does.

Zoph et al. 2017 (NASNet), section 3, list them; Real et al. 2018 (AmoebaNet), Liu et al. 2018
(DARTS) and Dong and Yang 2020 (NAS-Bench-201) take some of the same. A convolution stands between
an activation and a norm; a separable one is applied twice. Where channels or size change, `skip`
becomes a 1x1 convolution, and a pool is followed by one, as in the authors' code.

A cell asks for the price of few different operations many times: `price` remembers them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv import make_conv
from .norm_act import make_act, make_norm
from .tally import Misfit, Tally, is_none

CellPadding: TypeAlias = Literal["same", "same_tf"]


class Layer(NamedTuple):
    """One convolution of an operation.

    separable  depthwise, then 1x1
    eighths    its output channels, in eighths of the operation's
    """

    kernel: int | tuple[int, int]
    dilation: int = 1
    separable: bool = False
    eighths: int = 8

    def width(self, channels: int) -> int:
        """Its output channels in an operation of so many."""
        return channels if self.eighths == 8 else max(1, channels * self.eighths // 8)


def _narrow(height: int, eighths: int) -> tuple[Layer, ...]:
    """1xn, then nx1, between two 1x1 convolutions that narrow and widen."""
    rows, columns = Layer((1, height), eighths=eighths), Layer((height, 1), eighths=eighths)
    return (Layer(1, eighths=eighths), rows, columns, Layer(1))


CONVOLUTIONS: dict[str, tuple[Layer, ...]] = {
    "conv_1x1": (Layer(1),),
    "conv_3x3": (Layer(3),),
    # the widths of AmoebaNet's code, with which AmoebaNet-A has its published 86.7 M parameters
    "conv_1x3_3x1": _narrow(3, eighths=3),
    "conv_1x7_7x1": _narrow(7, eighths=2),
    "dil_conv_3x3": (Layer(3, dilation=2),),
    "sep_conv_3x3": (Layer(3, separable=True),) * 2,
    "sep_conv_5x5": (Layer(5, separable=True),) * 2,
    "sep_conv_7x7": (Layer(7, separable=True),) * 2,
}
POOLS = {"avg_pool_3x3": 3, "max_pool_3x3": 3, "max_pool_5x5": 5, "max_pool_7x7": 7}
OPERATIONS = ("none", "skip", *CONVOLUTIONS, *POOLS)
LARGEST_KERNEL = 7  # what any of them spans


def need_kernels(tally: Tally, names: Iterable[str]) -> None:
    """Raise Misfit where a convolution has a kernel larger than the network's images."""
    for name in names:
        for layer in CONVOLUTIONS.get(name, ()):
            kernel = layer.kernel
            sides = (kernel, kernel) if isinstance(kernel, int) else kernel
            tally.need_kernel(*sides, layer.dilation)


# ---------------------------------------------------------------------------------- modules
def make_operation(
    name: str,
    in_channels: int,
    channels: int,
    stride: int = 1,
    *,
    padding: str = "same",
    norm: Any = "batch",
    act: str = "relu",
) -> nn.Module:
    """The operation of that name. It leaves its input as it is: others read it too."""
    if name == "none":
        return Zero(channels, stride)
    if name == "skip":
        if stride == 1 and in_channels == channels:
            return nn.Identity()
        name = "conv_1x1"
    if name in CONVOLUTIONS:
        layers = CONVOLUTIONS[name]
        return _convolutions(layers, in_channels, channels, stride, padding, norm, act)
    steps = [_pool(name, stride, padding)]
    if in_channels != channels:
        steps += _convolution(Layer(1), in_channels, channels, 1, padding, norm)
    return steps[0] if len(steps) == 1 else nn.Sequential(*steps)


def _convolutions(
    layers: tuple[Layer, ...],
    before: int,
    channels: int,
    stride: int,
    padding: str,
    norm: Any,
    act: str,
) -> nn.Sequential:
    steps: list[nn.Module] = []
    for number, layer in enumerate(layers):
        width, by = layer.width(channels), _stride(layers, number, stride)
        steps.append(make_act(act, in_place=number > 0))
        steps += _convolution(layer, before, width, by, padding, norm)
        before = width
    return nn.Sequential(*steps)


def _convolution(
    layer: Layer, before: int, channels: int, stride: Any, padding: str, norm: Any
) -> list[nn.Module]:
    """One convolution and its norm; a bias only where there is no norm."""
    kernel, dilation, separable, _ = layer
    padding = "same" if stride == 1 else padding  # there the two are one
    bias = is_none(norm)
    if not separable:
        conv = make_conv(
            before, channels, kernel, stride, padding=padding, dilation=dilation, bias=bias
        )
        return [conv, make_norm(channels, norm)]
    deep = make_conv(before, before, kernel, stride, padding=padding, groups=before)
    return [deep, make_conv(before, channels, 1, bias=bias), make_norm(channels, norm)]


def _stride(layers: tuple[Layer, ...], number: int, stride: int) -> Any:
    """The stride of one layer: the first takes it, of 1xn and nx1 each on its window's axis."""
    kernel = layers[number].kernel
    if stride > 1 and not isinstance(kernel, int):
        return tuple(stride if side > 1 else 1 for side in kernel)
    narrow = len(layers) == 4
    return stride if number == 0 and not narrow else 1


def _pool(name: str, stride: int, padding: str) -> nn.Module:
    """'Same' pooling. The padding is no part of a mean, but for stride and `same_tf` together,
    where the public reference of NASNet-A counts it.
    """
    kernel = POOLS[name]
    if padding == "same_tf" and stride > 1:
        return SameTFPool(kernel, stride, "avg" in name)
    if "avg" in name:
        return nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
    return nn.MaxPool2d(kernel, stride, kernel // 2)


class Zero(nn.Module):
    """No connection: zeros of the shape that the others have."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        # times 0, and not new zeros: what lies before it gets gradients, of zeros
        y = x[:, :1, :: self.stride, :: self.stride] * 0
        return y.expand(-1, self.channels, -1, -1)  # (N, channels, H / stride, W / stride)


class SameTFPool(nn.Module):
    """Pooling with TensorFlow's "SAME": output ceil(size / stride), the odd pixel at the end."""

    def __init__(self, kernel: int, stride: int, average: bool) -> None:
        super().__init__()
        self.kernel, self.stride, self.average = kernel, stride, average

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        pads: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            short = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
            pads += [short // 2, short - short // 2]
        if self.average:
            return F.avg_pool2d(F.pad(x, pads), self.kernel, self.stride)
        return F.max_pool2d(F.pad(x, pads, value=float("-inf")), self.kernel, self.stride)


class FactorizedReduction(nn.Module):
    """Shrinks a map and loses no row: two 1x1 convolutions, the second a pixel further, joined.

    Zoph et al. 2017, for the output before a cell's input where it is larger. `stride` 2 looks at
    every pixel row once.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, norm: Any, act: str) -> None:
        super().__init__()
        half, bias = channels // 2, is_none(norm)
        self.act = make_act(act, in_place=False)
        self.conv1 = make_conv(in_channels, half, 1, stride, bias=bias)
        self.conv2 = make_conv(in_channels, channels - half, 1, stride, bias=bias)
        self.norm = make_norm(channels, norm)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        x = self.act(x)
        shifted = F.pad(x, (-1, 1, -1, 1))  # one pixel up and left, zeros behind
        y = torch.cat([self.conv1(x), self.conv2(shifted)], 1)  # (N, channels, H / s, W / s)
        return cast(Tensor, self.norm(y))


# ----------------------------------------------------------------------------------- prices
class Price(NamedTuple):
    """What one operation adds to a Tally; `reach`: how much further it sees, in its pixels."""

    params: int
    buffers: int
    macs: int
    activations: int
    kept: int
    largest: int
    reach_h: int
    reach_w: int

    def book(self, tally: Tally) -> None:
        """Add the sums to a tally; where it stands is the cell's business."""
        tally.params += self.params
        tally.buffers += self.buffers
        tally.macs += self.macs
        tally.activations += self.activations
        tally.kept += self.kept
        if self.largest > tally.largest:
            tally.largest = self.largest


@lru_cache(maxsize=16_384)
def price(
    name: str,
    shape: tuple[int, int, int],
    channels: int,
    stride: int,
    padding: str,
    norm: str,
    act: str,
) -> Price:
    """The price of `make_operation` on an input of that (channels, height, width).

    norm  its kind; what else a norm may state costs nothing
    """
    tally = Tally(*shape)
    count_operation(tally, name, channels, stride, padding, norm, act)
    return _priced(tally, shape)


def count_operation(
    tally: Tally, name: str, channels: int, stride: int, padding: str, norm: str, act: str
) -> None:
    """Move a tally over `make_operation`. Raises Misfit where the image is too small for it."""
    before = tally.channels
    if name == "none":
        tally.window(1, stride, 1, "same")
        tally.channels = channels
        return
    if name == "skip" and (stride != 1 or before != channels):
        name = "conv_1x1"
    if name in CONVOLUTIONS:
        layers = CONVOLUTIONS[name]
        for number, layer in enumerate(layers):
            tally.norm_act("none", act, in_place=number > 0)
            by = _stride(layers, number, stride)
            _count_convolution(tally, layer, layer.width(channels), by, padding, norm)
    elif name in POOLS:
        tally.window(POOLS[name], stride, 1, "same")
        for _ in range(1 if "avg" in name else 3):  # a maximum's place is a 64-bit whole number
            tally.keep()
        if before != channels:
            _count_convolution(tally, Layer(1), channels, 1, padding, norm)


def _count_convolution(
    tally: Tally, layer: Layer, channels: int, stride: Any, padding: str, norm: str
) -> None:
    kernel, dilation, separable, _ = layer
    padding = "same" if stride == 1 else padding
    if separable:
        tally.conv(tally.channels, kernel, stride, tally.channels, padding=padding)
        kernel, stride = 1, 1
    bias = norm == "none"
    tally.conv(channels, kernel, stride, dilation=dilation, padding=padding, bias=bias)
    tally.norm_act(norm, "none")


@lru_cache(maxsize=1_024)
def reduction_price(
    shape: tuple[int, int, int], channels: int, stride: int, norm: str, act: str
) -> Price:
    """The price of a FactorizedReduction. Raises Misfit where it has no two channels."""
    tally = Tally(*shape)
    count_reduction(tally, channels, stride, norm, act)
    return _priced(tally, shape)


def count_reduction(tally: Tally, channels: int, stride: int, norm: str, act: str) -> None:
    """Move a tally over a FactorizedReduction."""
    if channels < 2:
        raise Misfit("width 1 cannot be halved between the two paths of a reduction: at least 2")
    further_h, further_w = tally.jump_h, tally.jump_w
    tally.norm_act("none", act, in_place=False)
    tally.keep()  # the shifted map
    tally.conv(channels, 1, stride, bias=norm == "none")
    tally.keep()  # the joined halves
    tally.view_h += further_h
    tally.view_w += further_w
    tally.norm_act(norm, "none")


def _priced(tally: Tally, shape: tuple[int, int, int]) -> Price:
    channels, height, width = shape
    return Price(
        tally.params,
        tally.buffers,
        tally.macs,
        tally.activations,
        tally.kept - channels * height * width,
        tally.largest,
        tally.view_h - 1,
        tally.view_w - 1,
    )

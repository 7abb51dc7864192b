"""Pooling: windows that shrink a map without weights."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .operators import operator
from .settings import Kernel, PoolPadding, PoolSize, PoolStride, Ratio
from .tally import Misfit, Tally


class _Pool(nn.Module):
    """What max_pool and avg_pool share: a window slides, the channels stay.

    `around` is what F.pad adds where the two sides differ: 'same' with an even kernel has one
    pixel more at the end, which torch's own pools cannot say.
    """

    pool: nn.Module
    around: tuple[int, int, int, int] | None
    outside = 0.0

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if self.around is not None:
            x = F.pad(x, self.around, value=self.outside)
        return cast(Tensor, self.pool(x))  # (N, C, H / stride, W / stride)


@operator("max_pool")
class MaxPool(_Pool):
    """The largest value of each window (Krizhevsky et al. 2012 overlap them: kernel 3, stride 2).

    stride   left out: the kernel's size
    padding  valid (none), same (the size over the stride, rounded up: at stride 1 the size stays),
             or pixels, at most half the kernel
    ceil     whether a last window that sticks out counts; means nothing to `same`
    """

    outside = float("-inf")

    def __init__(
        self,
        kernel: Kernel = 2,
        stride: PoolStride = None,
        padding: PoolPadding = "valid",
        ceil: bool = False,
    ) -> None:
        super().__init__()
        kernel, stride, pads, self.around = _window(kernel, stride, padding)
        self.pool = nn.MaxPool2d(kernel, stride, pads, ceil_mode=ceil and padding != "same")

    @staticmethod
    def cost(tally: Tally, kernel: Any, stride: Any, padding: Any, ceil: bool) -> None:
        _cost(tally, kernel, stride, padding, ceil)
        tally.keep()
        tally.keep()  # where each maximum came from, in 64-bit whole numbers
        tally.keep()


@operator("avg_pool")
class AvgPool(_Pool):
    """The mean of each window (LeCun et al. 1998).

    stride, padding, ceil  as in `max_pool`
    count_padding          whether padded zeros count in the mean
    """

    def __init__(
        self,
        kernel: Kernel = 2,
        stride: PoolStride = None,
        padding: PoolPadding = "valid",
        ceil: bool = False,
        count_padding: bool = True,
    ) -> None:
        super().__init__()
        kernel, stride, pads, self.around = _window(kernel, stride, padding)
        ceil = ceil and padding != "same"
        self.pool = nn.AvgPool2d(kernel, stride, pads, ceil, count_padding)
        self.weigh = self.around is not None and not count_padding

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        y = super().forward(x)  # (N, C, H / stride, W / stride)
        return y / super().forward(torch.ones_like(x[:1, :1])) if self.weigh else y

    @staticmethod
    def cost(
        tally: Tally, kernel: Any, stride: Any, padding: Any, ceil: bool, count_padding: bool
    ) -> None:
        _cost(tally, kernel, stride, padding, ceil)
        tally.keep()


@operator("global_pool")
class GlobalPool(nn.Module):
    """The mean of each channel's whole map (Lin et al. 2013): any image size fits what follows."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)

    @staticmethod
    def cost(tally: Tally) -> None:
        tally.need_image()
        tally.see_all()
        tally.keep()


@operator("adaptive_pool")
class AdaptivePool(nn.Module):
    """The mean or maximum of windows that divide the map into `size` (He et al. 2014, one level).

    Whatever the image, what follows sees a map of `size`. Where the map is no multiple of it, the
    windows overlap by a value (torch's rule); the receptive field is the widest window's, the
    jump the longest.
    """

    def __init__(self, size: PoolSize, kind: Literal["avg", "max"] = "avg") -> None:
        super().__init__()
        sides = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.pool = nn.AdaptiveAvgPool2d(sides) if kind == "avg" else nn.AdaptiveMaxPool2d(sides)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return cast(Tensor, self.pool(x))  # (N, C, *size)

    @staticmethod
    def cost(tally: Tally, size: Any, kind: str) -> None:
        tally.need_image()
        height, width = (size, size) if size.__class__ is int else size
        tally.view_h += (_widest(tally.height, height) - 1) * tally.jump_h
        tally.view_w += (_widest(tally.width, width) - 1) * tally.jump_w
        if height > 1:
            tally.jump_h *= -(-tally.height // height)
        if width > 1:
            tally.jump_w *= -(-tally.width // width)
        tally.height, tally.width = height, width
        for _ in range(1 if kind == "avg" else 3):  # with the places of the maxima, in 64 bits
            tally.keep()


@operator("fractional_max_pool")
class FractionalMaxPool(nn.Module):
    """Maxima of overlapping windows at random steps, shrinking by a fraction (Graham 2014).

    The windows stand one or two pixels apart, drawn anew for each image and channel while
    training. In evaluation they stand still, as evenly as they can, so that an image has one
    answer; Graham averages over several draws instead.

    ratio   size of the input over size of the output, between 1 and 2; sqrt(2) in the paper
    kernel  of each window; 2 in the paper
    """

    def __init__(self, ratio: Ratio = 1.4142, kernel: Kernel = 2) -> None:
        super().__init__()
        self.ratio = ratio
        self.kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        size = int(x.shape[2] / self.ratio), int(x.shape[3] / self.ratio)
        where = x.new_full((*x.shape[:2], 2), 0.5)
        if self.training:
            where.uniform_()
        # (N, C, H / ratio, W / ratio)
        return F.fractional_max_pool2d(x, self.kernel, size, _random_samples=where)

    @staticmethod
    def cost(tally: Tally, ratio: float, kernel: Any) -> None:
        tally.need_image()
        kernel_h, kernel_w = (kernel, kernel) if kernel.__class__ is int else kernel
        height, width = int(tally.height / ratio), int(tally.width / ratio)
        if height < 1 or width < 1 or height + kernel_h - 1 > tally.height or (
            width + kernel_w - 1 > tally.width
        ):  # fmt: skip
            raise Misfit(
                f"its input is {tally.height}x{tally.width}, too small for windows of "
                f"{kernel_h}x{kernel_w} and an output of {height}x{width} (ratio {ratio})",
                small=True,
                remedy="take a ratio nearer to 1, or fewer repetitions",
            )
        tally.height, tally.width = height, width
        tally.view_h += (kernel_h - 1) * tally.jump_h
        tally.view_w += (kernel_w - 1) * tally.jump_w
        tally.jump_h *= 2  # at most; views behind it are upper bounds
        tally.jump_w *= 2
        for _ in range(3):  # the result, and where each maximum came from, in 64 bits
            tally.keep()


def _widest(size: int, parts: int) -> int:
    """The widest of the windows that divide `size` values into `parts` (torch's rule)."""
    if size % parts == 0:
        return size // parts
    return max(-(-(k + 1) * size // parts) - k * size // parts for k in range(parts))


def _window(
    kernel: Any, stride: Any, padding: Any
) -> tuple[Any, Any, Any, tuple[int, int, int, int] | None]:
    """Kernel, stride and padding as torch's pools take them, and what F.pad adds before."""
    sides = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
    stride = sides if stride is None else stride if isinstance(stride, int) else tuple(stride)
    if padding == "same":
        (top, bottom), (left, right) = (((side - 1) // 2, side // 2) for side in sides)
        if (top, left) == (bottom, right):
            return sides, stride, (top, left), None
        return sides, stride, 0, (left, right, top, bottom)
    if padding == "valid":
        return sides, stride, 0, None
    return sides, stride, padding if isinstance(padding, int) else tuple(padding), None


def _cost(tally: Tally, kernel: Any, stride: Any, padding: Any, ceil: bool) -> None:
    sides = (kernel, kernel) if kernel.__class__ is int else kernel
    stride = kernel if stride is None else stride
    if padding == "same":
        _same(tally, sides, (stride, stride) if stride.__class__ is int else stride)
        return
    pads = (padding, padding) if isinstance(padding, int | str) else padding
    for side, pad in zip(sides, pads, strict=True):
        if not isinstance(pad, str) and pad > side // 2:
            raise Misfit(f"padding {pad} may be at most half the kernel, {side // 2}")
    tally.window(kernel, stride, 1, padding, ceil)


def _same(tally: Tally, kernel: Any, stride: Any) -> None:
    """A window with 'same' padding: the size over the stride, rounded up; it always fits."""
    tally.need_image()
    if not (kernel[0] % 2 and kernel[1] % 2):  # the padded copy
        padded = (tally.height + kernel[0] - 1) * (tally.width + kernel[1] - 1)
        tally.kept += tally.channels * padded
    tally.height = -(-tally.height // stride[0])
    tally.width = -(-tally.width // stride[1])
    tally.view_h += (kernel[0] - 1) * tally.jump_h
    tally.view_w += (kernel[1] - 1) * tally.jump_w
    tally.jump_h *= stride[0]
    tally.jump_w *= stride[1]

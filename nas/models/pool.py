"""Pooling: windows that shrink a map without weights."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from .operators import operator
from .settings import Kernel, PoolPadding, PoolStride
from .tally import Misfit, Tally


class _Pool(nn.Module):
    """What max_pool and avg_pool share: a window slides, the channels stay."""

    pool: nn.Module

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return cast(Tensor, self.pool(x))  # (N, C, H / stride, W / stride)


@operator("max_pool")
class MaxPool(_Pool):
    """The largest value of each window (Krizhevsky et al. 2012 overlap them: kernel 3, stride 2).

    stride   left out: the kernel's size
    padding  valid (none), same (half the kernel), or pixels, at most half the kernel
    ceil     whether a last window that sticks out counts
    """

    def __init__(
        self,
        kernel: Kernel = 2,
        stride: PoolStride = None,
        padding: PoolPadding = "valid",
        ceil: bool = False,
    ) -> None:
        super().__init__()
        kernel, stride, pads = _window(kernel, stride, padding)
        self.pool = nn.MaxPool2d(kernel, stride, pads, ceil_mode=ceil)

    @staticmethod
    def cost(tally: Tally, kernel: Any, stride: Any, padding: Any, ceil: bool) -> None:
        _cost(tally, kernel, stride, padding, ceil)
        tally.keep()
        tally.keep()  # where each maximum came from, in 64-bit whole numbers
        tally.keep()


@operator("avg_pool")
class AvgPool(_Pool):
    """The mean of each window (LeCun et al. 1998).

    count_padding  whether padded zeros count in the mean
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
        kernel, stride, pads = _window(kernel, stride, padding)
        self.pool = nn.AvgPool2d(kernel, stride, pads, ceil, count_padding)

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


def _window(kernel: Any, stride: Any, padding: Any) -> tuple[Any, Any, Any]:
    """Kernel, stride and padding as torch's pools take them."""
    kernel = kernel if isinstance(kernel, int) else tuple(kernel)
    stride = kernel if stride is None else stride if isinstance(stride, int) else tuple(stride)
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    if padding == "same":
        return kernel, stride, tuple((side - 1) // 2 for side in sides)
    if padding == "valid":
        return kernel, stride, 0
    return kernel, stride, padding if isinstance(padding, int) else tuple(padding)


def _cost(tally: Tally, kernel: Any, stride: Any, padding: Any, ceil: bool) -> None:
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    pads = (padding, padding) if isinstance(padding, int | str) else padding
    for side, pad in zip(sides, pads, strict=True):
        if not isinstance(pad, str) and pad > side // 2:
            raise Misfit(f"padding {pad} may be at most half the kernel, {side // 2}")
    tally.window(kernel, kernel if stride is None else stride, 1, padding, ceil)

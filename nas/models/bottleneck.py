"""The bottleneck residual unit (He et al. 2015); orderings.py and shortcuts.py hold its options."""

from __future__ import annotations

from typing import Any, Literal, cast

from torch import Tensor, nn

from .conv import Conv
from .drop_path import make_drop_path
from .operators import operator
from .orderings import (
    BARE,
    OPENED,
    Order,
    close_unit,
    drop_in_unit,
    last_conv,
    make_closing,
    make_opening,
    open_unit,
    zero,
)
from .settings import (
    ActName,
    Channels,
    Count,
    DropRate,
    Norm,
    OddKernel,
    Share,
    SqueezeExcite,
    Stride,
    Width,
)
from .shortcuts import ShortcutKind, make_shortcut
from .squeeze_excite import make_se
from .tally import Misfit, Tally, is_none


@operator("bottleneck")
class Bottleneck(nn.Module):
    """1x1 convolution down, 3x3, 1x1 up, beside a shortcut, added (He et al. 2015).

    expansion  the inner width is channels / expansion
    width      the inner width itself, in place of `expansion` (Wide ResNet: Zagoruyko and
               Komodakis 2016; ResNeXt: Xie et al. 2016)
    groups     of the 3x3 convolution (ResNeXt's cardinality)
    stride_on  which convolution steps: 3x3 (Gross and Wilber's form, torchvision's), 1x1 (the
               paper's; the pixels between are then never looked at)
    dropout    before the last convolution
    se, order, shortcut, drop_path, zero_init  as in `residual`
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        stride: Stride = 1,
        kernel: OddKernel = 3,
        expansion: Count = 4,
        width: Width = None,
        groups: Count = 1,
        stride_on: Literal["3x3", "1x1"] = "3x3",
        se: SqueezeExcite = 0.0,
        order: Order = "post",
        shortcut: ShortcutKind = "project",
        norm: Norm = "batch",
        act: ActName = "relu",
        dropout: Share = 0.0,
        drop_path: DropRate = 0.0,
        zero_init: bool = False,
        activated: bool = False,
        depth: float = 1.0,
    ) -> None:
        super().__init__()
        inner, last = width or channels // expansion, last_conv(norm, act, order)
        first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
        side = make_shortcut(shortcut, in_channels, channels, stride, last)
        if order in OPENED:  # so that state dicts have the public networks' order
            self.shortcut = side
        self.opening = make_opening(in_channels, norm, act, order, activated)
        self.conv1 = Conv(in_channels, inner, 1, first, norm=norm, act=act)
        self.conv2 = Conv(inner, inner, kernel, second, groups=groups, norm=norm, act=act)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv3 = Conv(inner, channels, 1, **last)
        self.se = make_se(se, channels, in_channels)
        self.drop_path = make_drop_path(drop_path, depth)
        self.shortcut = side
        self.closing = make_closing(channels, norm, act, order)
        if zero_init:
            zero(self.conv3)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        start = self.opening(x)
        y = self.conv1(start)  # (N, width, H, W)
        y = self.conv2(y)  # (N, width, H / stride, W / stride)
        y = self.conv3(self.dropout(y))  # (N, channels, H / stride, W / stride)
        y = self.drop_path(self.se(y))
        y = y + self.shortcut(start if isinstance(self.shortcut, Conv) else x)
        return cast(Tensor, self.closing(y))

    @staticmethod
    def cost(
        tally: Tally, channels: int, stride: Any, kernel: int, expansion: int, width: int | None,
        groups: int, stride_on: str, se: Any, order: str, shortcut: str, norm: Any, act: str,
        dropout: float, drop_path: float, zero_init: bool,
    ) -> None:  # fmt: skip
        before, bias = tally.channels, is_none(norm)
        inner = width or channels // expansion
        if not inner:
            raise Misfit(f"expansion {expansion} leaves nothing of {channels} channels")
        first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
        open_unit(tally, kernel, norm, act, order, zero_init)
        tally.conv(inner, 1, first, bias=bias)
        tally.norm_act(norm, act)
        tally.conv(inner, kernel, second, groups, bias=bias)
        tally.norm_act(norm, act)
        if dropout:
            drop_in_unit(tally)
        tally.conv(channels, 1, bias=bias, kept=not bias and order not in BARE)
        close_unit(tally, before, stride, shortcut, se, order, norm, act)

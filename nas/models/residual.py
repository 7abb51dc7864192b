"""The basic residual unit (He et al. 2015); orderings.py and shortcuts.py hold its options."""

from __future__ import annotations

from typing import Any, cast

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
from .tally import Tally, is_none


@operator("residual")
class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, added (He et al. 2015).

    width      channels between the two convolutions; left out: `channels`
    groups     of both convolutions
    se         squeeze-and-excitation of the branch, before the sum (Hu et al. 2017)
    order      see `orderings.py` (He et al. 2016)
    shortcut   see `shortcuts.py`
    dropout    between the convolutions (Wide ResNet: Zagoruyko and Komodakis 2016)
    drop_path  stochastic depth: how often the network's last unit loses its branch while
               training, earlier ones in proportion (Huang et al. 2016)
    zero_init  start as the identity: zero the last norm's scale, or the last convolution where no
               norm stands before the sum (Goyal et al. 2017)
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        stride: Stride = 1,
        kernel: OddKernel = 3,
        width: Width = None,
        groups: Count = 1,
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
        inner, last = width or channels, last_conv(norm, act, order)
        side = make_shortcut(shortcut, in_channels, channels, stride, last)
        if order in OPENED:  # so that state dicts have the public networks' order
            self.shortcut = side
        self.opening = make_opening(in_channels, norm, act, order, activated)
        self.conv1 = Conv(in_channels, inner, kernel, stride, groups=groups, norm=norm, act=act)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = Conv(inner, channels, kernel, groups=groups, **last)
        self.se = make_se(se, channels, in_channels)
        self.drop_path = make_drop_path(drop_path, depth)
        self.shortcut = side
        self.closing = make_closing(channels, norm, act, order)
        if zero_init:
            zero(self.conv2)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        start = self.opening(x)
        y = self.conv1(start)  # (N, width, H / stride, W / stride)
        y = self.conv2(self.dropout(y))  # (N, channels, H / stride, W / stride)
        y = self.drop_path(self.se(y))
        y = y + self.shortcut(start if isinstance(self.shortcut, Conv) else x)
        return cast(Tensor, self.closing(y))

    @staticmethod
    def cost(
        tally: Tally, channels: int, stride: Any, kernel: int, width: int | None, groups: int,
        se: Any, order: str, shortcut: str, norm: Any, act: str, dropout: float, drop_path: float,
        zero_init: bool,
    ) -> None:  # fmt: skip
        before, bias = tally.channels, is_none(norm)
        open_unit(tally, kernel, norm, act, order, zero_init)
        tally.conv(width or channels, kernel, stride, groups, bias=bias)
        tally.norm_act(norm, act)
        if dropout:
            drop_in_unit(tally)
        tally.conv(channels, kernel, 1, groups, bias=bias, kept=not bias and order not in BARE)
        close_unit(tally, before, stride, shortcut, se, order, norm, act)

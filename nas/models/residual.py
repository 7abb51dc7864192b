"""Residual units, basic and bottleneck (He et al. 2015), in two orders.

post  convolution, norm, activation; the last activation after the sum (He et al. 2015, Fig. 5).
pre   norm, activation, convolution; the sum stays as it is (He et al. 2016, Fig. 4e). As in that
      paper, the first unit skips its opening norm and activation where the row before has just
      activated, a projected shortcut starts from the activated input, and what follows the last
      unit sees the sum normed and activated: `build` adds a `norm_act` there (see `rows.py`).

A shortcut is projected by a 1x1 convolution where channels or stride differ (option B of 2015).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from torch import Tensor, nn

from .conv import Conv
from .norm_act import NormAct, make_act
from .operators import operator
from .settings import ActName, Channels, Count, Norm, OddKernel, SqueezeExcite, Stride, Width
from .squeeze_excite import SqueezeExcite as SqueezeExciteModule
from .squeeze_excite import make_se, squeezed_channels
from .tally import Misfit, Tally, is_none

Order = Literal["post", "pre"]


@operator("residual")
class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, added (He et al. 2015).

    width      channels between the two convolutions; left out: `channels`
    groups     of both convolutions
    se         squeeze-and-excitation of the branch, before the sum (Hu et al. 2017)
    zero_init  start as the identity: zero the last norm's scale (post) or convolution (pre),
               Goyal et al. 2017
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
        norm: Norm = "batch",
        act: ActName = "relu",
        zero_init: bool = False,
        activated: bool = False,
    ) -> None:
        super().__init__()
        inner = width or channels
        last = _last(norm, order)
        self.opening = _opening(in_channels, norm, act, order, activated)
        self.conv1 = Conv(in_channels, inner, kernel, stride, groups=groups, norm=norm, act=act)
        self.conv2 = Conv(inner, channels, kernel, groups=groups, **last)
        self.se = make_se(se, channels, in_channels)
        self.shortcut = _shortcut(in_channels, channels, stride, last)
        self.act = _closing(act, order)
        if zero_init:
            _zero(self.conv2)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        start = self.opening(x)
        y = self.conv1(start)  # (N, width, H / stride, W / stride)
        y = self.conv2(y)  # (N, channels, H / stride, W / stride)
        y = self.se(y)
        y = y + (x if self.shortcut is None else self.shortcut(start))
        return cast(Tensor, self.act(y))

    @staticmethod
    def cost(
        tally: Tally, channels: int, stride: Any, kernel: int, width: int | None, groups: int,
        se: Any, order: str, norm: Any, act: str, zero_init: bool,
    ) -> None:  # fmt: skip
        before, bias = tally.channels, is_none(norm)
        _open(tally, kernel, norm, act, order)
        tally.conv(width or channels, kernel, stride, groups, bias=bias)
        tally.norm_act(norm, act)
        tally.conv(channels, kernel, 1, groups, bias=bias, kept=order == "post" and not bias)
        _close(tally, before, stride, se, order, norm, act)


@operator("bottleneck")
class Bottleneck(nn.Module):
    """1x1 convolution down, 3x3, 1x1 up, beside a shortcut, added (He et al. 2015).

    expansion  the inner width is channels / expansion
    width      the inner width itself, in place of `expansion` (Wide ResNet: Zagoruyko and
               Komodakis 2016)
    groups     of the 3x3 convolution (ResNeXt: Xie et al. 2016)
    stride     stands on the 3x3 convolution (torchvision's and Gross and Wilber's form)
    se, zero_init  as in `residual`
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
        se: SqueezeExcite = 0.0,
        order: Order = "post",
        norm: Norm = "batch",
        act: ActName = "relu",
        zero_init: bool = False,
        activated: bool = False,
    ) -> None:
        super().__init__()
        inner = width or channels // expansion
        last = _last(norm, order)
        self.opening = _opening(in_channels, norm, act, order, activated)
        self.conv1 = Conv(in_channels, inner, 1, norm=norm, act=act)
        self.conv2 = Conv(inner, inner, kernel, stride, groups=groups, norm=norm, act=act)
        self.conv3 = Conv(inner, channels, 1, **last)
        self.se = make_se(se, channels, in_channels)
        self.shortcut = _shortcut(in_channels, channels, stride, last)
        self.act = _closing(act, order)
        if zero_init:
            _zero(self.conv3)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        start = self.opening(x)
        y = self.conv1(start)  # (N, width, H, W)
        y = self.conv2(y)  # (N, width, H / stride, W / stride)
        y = self.conv3(y)  # (N, channels, H / stride, W / stride)
        y = self.se(y)
        y = y + (x if self.shortcut is None else self.shortcut(start))
        return cast(Tensor, self.act(y))

    @staticmethod
    def cost(
        tally: Tally, channels: int, stride: Any, kernel: int, expansion: int, width: int | None,
        groups: int, se: Any, order: str, norm: Any, act: str, zero_init: bool,
    ) -> None:  # fmt: skip
        before, bias = tally.channels, is_none(norm)
        inner = width or channels // expansion
        if not inner:
            raise Misfit(f"expansion {expansion} leaves nothing of {channels} channels")
        _open(tally, kernel, norm, act, order)
        tally.conv(inner, 1, bias=bias)
        tally.norm_act(norm, act)
        tally.conv(inner, kernel, stride, groups, bias=bias)
        tally.norm_act(norm, act)
        tally.conv(channels, 1, bias=bias, kept=order == "post" and not bias)
        _close(tally, before, stride, se, order, norm, act)


# ---------------------------------------------------------------- what both units are made of
def _opening(in_channels: int, norm: Any, act: Any, order: str, activated: bool) -> nn.Module:
    return nn.Identity() if order == "post" or activated else NormAct(in_channels, norm, act)


def _last(norm: str | Mapping[str, Any], order: str) -> dict[str, Any]:
    """The settings of a convolution whose output is added: no activation, no norm before `pre`."""
    return {"norm": "none" if order == "pre" else norm, "act": "none", "bias": is_none(norm)}


def _shortcut(in_channels: int, channels: int, stride: Any, last: dict[str, Any]) -> Conv | None:
    if stride == 1 and in_channels == channels:
        return None
    return Conv(in_channels, channels, 1, stride, **last)


def _closing(act: Any, order: str) -> nn.Module:
    return nn.Identity() if order == "pre" else make_act(act)


def _zero(last: Conv) -> None:
    scaled = last.conv if isinstance(last.norm, nn.Identity) else last.norm
    nn.init.zeros_(cast(Tensor, scaled.weight))


# ------------------------------------------------------------------------- and what they cost
def _open(tally: Tally, kernel: int, norm: Any, act: str, order: str) -> None:
    if kernel % 2 == 0:
        raise Misfit(f"kernel {kernel} would change the size beside the shortcut: take an odd one")
    if order == "pre" and not tally.activated:
        tally.norm_act(norm, act, in_place=not is_none(norm))
    tally.pending = False


def _close(
    tally: Tally, before: int, stride: Any, se: Any, order: str, norm: Any, act: str
) -> None:
    channels, pixels = tally.channels, tally.height * tally.width
    pre = order == "pre"
    if not pre:
        tally.norm_act(norm, "none")
    if se:
        short = isinstance(se, int | float)
        squeezed = squeezed_channels(se, channels, before)
        SqueezeExciteModule.cost(tally, squeezed, "relu" if short else se.get("act", "relu"))
    if stride != 1 or before != channels:
        bias = is_none(norm)
        tally.pointwise(before, channels, pixels, bias=bias, norm="none" if pre else norm)
    tally.keep()  # the sum
    if pre:
        tally.activated, tally.pending = False, True
    else:
        tally.norm_act("none", act)

"""ShuffleNet's units: cheap 1x1 convolutions whose groups are mixed by shuffling the channels."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from .conv import Conv
from .norm_act import make_act
from .operators import operator
from .settings import (
    ActName,
    Channels,
    Count,
    MaybeCount,
    Norm,
    OddKernel,
    SqueezeExcite,
    Stride,
    Width,
)
from .squeeze_excite import cost_of_se, make_se, squeezed_channels
from .tally import Misfit, Tally, is_none

HALVES = 2  # what version 2 splits and shuffles


def shuffled(x: Tensor, groups: int) -> Tensor:
    """The channels dealt out again, so that every group of the result has some of every group."""
    n, channels, height, width = x.shape
    split = x.view(n, groups, channels // groups, height, width)  # (N, groups, C / groups, H, W)
    return split.transpose(1, 2).reshape(n, channels, height, width)  # (N, C, H, W)


@operator("shuffle_unit")
class ShuffleUnit(nn.Module):
    """Grouped 1x1, channel shuffle, depthwise, grouped 1x1 beside a shortcut (Zhang et al. 2017).

    Where the row's channels are its input's, the shortcut is added; where they are more, it is
    concatenated, and the branch gives the rest (section 3.2, Fig. 2b and c). With a stride the
    shortcut is a 3x3 average.

    groups        of both 1x1 convolutions; Table 1 has 1, 2, 3, 4 and 8
    first_groups  of the first one alone; left out: `groups`. The paper takes 1 in the first unit
                  after the stem, whose input is narrow
    expansion     the inner width is channels / expansion
    width         the inner width itself, in place of `expansion`
    kernel        of the depthwise convolution, which takes the stride too
    se            squeeze-and-excitation of the branch (Hu et al. 2017, Table 9)
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        stride: Stride = 1,
        kernel: OddKernel = 3,
        groups: Count = 2,
        first_groups: MaybeCount = None,
        expansion: Count = 4,
        width: Width = None,
        se: SqueezeExcite = 0.0,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        inner = width or channels // expansion
        self.groups = groups
        self.adds = channels == in_channels
        branch = channels if self.adds else channels - in_channels
        self.reduce = Conv(in_channels, inner, 1, groups=first_groups or groups, norm=norm, act=act)
        self.depthwise = Conv(inner, inner, kernel, stride, groups=inner, norm=norm, act="none")
        self.expand = Conv(inner, branch, 1, groups=groups, norm=norm, act="none")
        self.se = make_se(se, branch, in_channels)
        steps: Any = stride if isinstance(stride, int) else tuple(stride)
        self.shortcut = nn.Identity() if stride == 1 else nn.AvgPool2d(3, steps, 1)
        self.act = make_act(act)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        y = self.reduce(x)  # (N, width, H, W)
        y = shuffled(y, self.groups)
        y = self.depthwise(y)  # (N, width, H / stride, W / stride)
        y = self.se(self.expand(y))  # (N, branch, H / stride, W / stride)
        short = self.shortcut(x)  # (N, in_channels, H / stride, W / stride)
        y = short + y if self.adds else torch.cat([short, y], 1)  # (N, channels, …)
        return cast(Tensor, self.act(y))

    @staticmethod
    def cost(
        tally: Tally, channels: int, stride: Any, kernel: int, groups: int,
        first_groups: int | None, expansion: int, width: int | None, se: Any, norm: Any, act: str,
    ) -> None:  # fmt: skip
        start, bare = tally.place(), is_none(norm)
        before, inner = tally.channels, width or channels // expansion
        _check_unit(before, channels, kernel, inner, expansion)
        tally.conv(inner, 1, groups=first_groups or groups, bias=bare)
        tally.norm_act(norm, act, copied=True)
        tally.keep()  # shuffled
        if inner % groups:
            fits = ", ".join(str(g) for g in range(1, groups) if inner % g == 0)
            raise Misfit(
                f"groups {groups} must divide the {inner} channels that it shuffles; groups that "
                f"do: {fits}"
            )
        tally.conv(inner, kernel, stride, inner, bias=bare)
        tally.norm_act(norm, "none")
        if not bare:
            tally.keep()
        branch = channels if channels == before else channels - before
        tally.conv(branch, 1, groups=groups, bias=bare, kept=not bare)
        tally.norm_act(norm, "none")
        if se:
            cost_of_se(tally, se, before)
        end = tally.place()
        tally.go(start)
        if stride != 1:
            tally.window(3, stride, 1, "same")
        tally.join([end, tally.place()], "add" if channels == before else "concat")
        tally.norm_act("none", act)


def _check_unit(before: int, channels: int, kernel: int, inner: int, expansion: int) -> None:
    if kernel % 2 == 0:
        raise Misfit(f"kernel {kernel} would change the size: take an odd one")
    if not inner:
        raise Misfit(f"expansion {expansion} leaves nothing of {channels} channels")
    if channels < before:
        raise Misfit(
            f"channels {channels} are fewer than its input's {before}, which its shortcut passes "
            f"on: take {before} (added) or more (concatenated)"
        )


@operator("shuffle_unit_v2")
class ShuffleUnitV2(nn.Module):
    """Half of the channels pass, half are convolved, then both are shuffled (Ma et al. 2018).

    With a stride, or other channels than the input's, both halves come from all of the input: a
    depthwise and a 1x1 convolution in the place of the half that passes (Fig. 3c and d). The 1x1
    convolutions have no groups, and nothing is added: three of the paper's four guidelines.

    channels  even
    kernel    of the depthwise convolutions, which take the stride too
    se        squeeze-and-excitation at the end of the convolved half
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        stride: Stride = 1,
        kernel: OddKernel = 3,
        se: SqueezeExcite = 0.0,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        half = channels // HALVES
        self.splits = stride == 1 and in_channels == channels
        before = half if self.splits else in_channels
        plain: dict[str, Any] = {"norm": norm, "act": "none"}
        active: dict[str, Any] = {"norm": norm, "act": act}
        self.other = nn.Sequential()
        if not self.splits:
            self.other.append(Conv(before, before, kernel, stride, groups=before, **plain))
            self.other.append(Conv(before, half, 1, **active))
        self.branch = nn.Sequential(
            Conv(before, half, 1, **active),
            Conv(half, half, kernel, stride, groups=half, **plain),
            Conv(half, half, 1, **active),
            make_se(se, half, in_channels),
        )

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        passed, convolved = x.chunk(HALVES, 1) if self.splits else (x, x)
        y = [self.other(passed), self.branch(convolved)]  # each (N, channels / 2, H', W')
        return shuffled(torch.cat(y, 1), HALVES)  # (N, channels, H / stride, W / stride)

    @staticmethod
    def cost(
        tally: Tally, channels: int, stride: Any, kernel: int, se: Any, norm: Any, act: str
    ) -> None:
        before, half, bare = tally.channels, channels // HALVES, is_none(norm)
        if kernel % 2 == 0:
            raise Misfit(f"kernel {kernel} would change the size: take an odd one")
        if channels % HALVES:
            raise Misfit(f"channels {channels} must be even: the unit has two halves")
        start, ends = tally.place(), []
        if stride == 1 and before == channels:
            tally.channels = half
            ends.append(tally.place())
        else:
            _depthwise(tally, kernel, stride, norm, bare)
            tally.conv(half, 1, bias=bare)
            tally.norm_act(norm, act, copied=True)
            ends.append(tally.place())
            tally.go(start)
        tally.conv(half, 1, bias=bare)
        tally.norm_act(norm, act)
        _depthwise(tally, kernel, stride, norm, bare)
        tally.conv(half, 1, bias=bare)
        tally.norm_act(norm, act, copied=not squeezed_channels(se, half, before))
        if se:
            cost_of_se(tally, se, before)
        ends.append(tally.place())
        tally.join(ends, "concat")


def _depthwise(tally: Tally, kernel: int, stride: Any, norm: Any, bare: bool) -> None:
    channels = tally.channels
    tally.conv(channels, kernel, stride, channels, bias=bare)
    tally.norm_act(norm, "none")
    if not bare:
        tally.keep()

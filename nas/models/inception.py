"""Inception modules: convolutions of several kernels side by side (Szegedy et al. 2014-2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from .conv import Conv
from .gated import gated_operator
from .inception_forms import MODULES, REDUCTIONS, RESIDUALS, Branches, Form, branches, fitted
from .norm_act import make_act
from .pool import AvgPool, MaxPool
from .settings import ActName, BranchWidths, Channels, FormKernel, Norm, PositiveShare, SameChannels
from .tally import Misfit, Place, Tally


@gated_operator("inception")
class Inception(nn.Module):
    """Parallel branches of 1x1, 3x3 and larger convolutions and a pool (Szegedy et al. 2014).

    channels  of all branches together; the naive form's pool passes on the input's channels,
              which are among them
    form      naive        1x1 | 3x3 | nxn | max pool (2014, Figure 2a)
              reduced      1x1 | 1x1 3x3 | 1x1 nxn | max pool, 1x1 (2014, Figure 2b)
              double       1x1 | 1x1 nxn | 1x1 3x3 3x3 | avg pool, 1x1 (2015, Figure 5)
              factorised   1x1 | 1x1 1xn nx1 | 1x1 nx1 1xn nx1 1xn | avg pool, 1x1 (Figure 6)
              expanded     1x1 | 1x1 {1xn, nx1} | 1x1 nxn {1xn, nx1} | avg pool, 1x1 (Figure 7)
              expanded_v4  its third branch as 1x1 nx1 1xn {1xn, nx1} (2016, Figure 6)
    widths    of the convolutions from left to right, as GoogLeNet's Table 1 prints them; where
              they do not come to `channels` they are shares of it. Left out: a published module's
    kernel    n; left out: 5 (naive, reduced), 7 (factorised), else 3
    count_padding  whether the average pool's mean counts padded zeros
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        form: Literal[
            "reduced", "naive", "double", "factorised", "expanded", "expanded_v4"
        ] = "reduced",
        widths: BranchWidths = None,
        kernel: FormKernel = None,
        count_padding: bool = True,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        plan = _plan(MODULES[form], widths, kernel, channels, in_channels)
        self.branches = _modules(plan, in_channels, "same", count_padding, norm, act)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        return torch.cat([branch(x) for branch in self.branches], 1)  # (N, channels, H, W)

    @staticmethod
    def cost(
        tally: Tally, channels: int, form: str, widths: Any, kernel: int | None,
        count_padding: bool, norm: Any, act: str,
    ) -> None:  # fmt: skip
        plan = _plan(MODULES[form], widths, kernel, channels, tally.channels)
        tally.join(_walk(tally, plan, "same", norm, act), "concat")


@gated_operator("inception_reduction")
class InceptionReduction(nn.Module):
    """Halves height and width by strided convolutions beside a max pool (Szegedy et al. 2015).

    channels  of all branches together, the input's among them, which the pool passes on
    form      double      3x3/2 | 1x1 3x3 3x3/2 | max pool/2 (2015, Figure 10)
              factorised  1x1 3x3/2 | 1x1 1xn nx1 3x3/2 | max pool/2
    widths    as in `inception`; where they do not come to `channels` less the input's, shares
    kernel    n; left out: 7
    padding   of what strides: valid as published (35 to 17), same for small images (8 to 4)
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        form: Literal["double", "factorised"] = "double",
        widths: BranchWidths = None,
        kernel: FormKernel = None,
        padding: Literal["valid", "same"] = "valid",
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        plan = _plan(REDUCTIONS[form], widths, kernel, channels, in_channels)
        self.branches = _modules(plan, in_channels, padding, True, norm, act)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        return torch.cat([branch(x) for branch in self.branches], 1)  # (N, channels, H/2, W/2)

    @staticmethod
    def cost(
        tally: Tally, channels: int, form: str, widths: Any, kernel: int | None, padding: str,
        norm: Any, act: str,
    ) -> None:  # fmt: skip
        plan = _plan(REDUCTIONS[form], widths, kernel, channels, tally.channels)
        tally.join(_walk(tally, plan, padding, norm, act), "concat")


@gated_operator("inception_residual")
class InceptionResidual(nn.Module):
    """Inception branches brought back to the input's width, scaled and added (Szegedy et al. 2016).

    The 1x1 convolution that brings them back has a bias and neither norm nor activation. A
    shortcut is projected in the same way where `channels` differ, which the paper never needs.

    form      double      1x1 | 1x1 3x3 | 1x1 3x3 3x3 (Figure 16, Inception-ResNet-A)
              factorised  1x1 | 1x1 1xn nx1 (Figures 17 and 19, Inception-ResNet-B and -C)
    widths    of the branches' convolutions from left to right; left out: a published block's,
              in proportion to `channels`
    kernel    n; left out: 7
    scale     of the branches before the sum: 0.1 to 0.3 keeps wide networks from dying (3.3)
    end_act   whether the sum is activated; the last block of the paper's network leaves it out
    """

    def __init__(
        self,
        in_channels: int,
        channels: SameChannels = None,
        form: Literal["double", "factorised"] = "double",
        widths: BranchWidths = None,
        kernel: FormKernel = None,
        scale: PositiveShare = 0.2,
        end_act: bool = True,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        channels = channels or in_channels
        plan = _inner_plan(form, widths, kernel, channels)
        bare: dict[str, Any] = {"norm": "none", "act": "none", "bias": True}
        self.scale = scale
        self.branches = _modules(plan, in_channels, "same", True, norm, act)
        self.up = Conv(sum(_end_widths(plan)), channels, 1, **bare)
        self.shortcut = None if channels == in_channels else Conv(in_channels, channels, 1, **bare)
        self.act = make_act(act if end_act else "none")

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        y = torch.cat([branch(x) for branch in self.branches], 1)  # (N, sum of widths, H, W)
        y = self.up(y)  # (N, channels, H, W)
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return cast(Tensor, self.act(shortcut + self.scale * y))

    @staticmethod
    def cost(
        tally: Tally, channels: int | None, form: str, widths: Any, kernel: int | None,
        scale: float, end_act: bool, norm: Any, act: str,
    ) -> None:  # fmt: skip
        before = tally.channels
        channels = channels or before
        plan = _inner_plan(form, widths, kernel, channels)
        tally.join(_walk(tally, plan, "same", norm, act), "concat")
        tally.conv(channels, 1, bias=True, kept=False)
        if channels != before:
            pixels = tally.height * tally.width
            tally.pointwise(before, channels, pixels, bias=True, norm="none")
        tally.keep()  # the sum
        tally.norm_act("none", act if end_act else "none")


# ---------------------------------------------------------------- what the three are made of
PUBLISHED = {"double": 320, "factorised": 1088}  # channels beside the widths of RESIDUALS


def _plan(
    form: Form, widths: Sequence[int] | None, kernel: int | None, channels: int, before: int
) -> Branches:
    """Branches whose ends come to `channels`, with the input's where a pool passes those on."""
    stated = None if widths is None else tuple(widths)
    if form.branches.endswith(("max", "max/2")):
        if channels <= before:
            raise Misfit(
                f"channels {channels} leave nothing beside the {before} of its input, which the "
                f"pool passes on; take more than {before}, such as x2"
            )
        channels -= before
    return branches(form, kernel, fitted(form, stated, channels))


def _inner_plan(form: str, widths: Sequence[int] | None, kernel: int | None, channels: int) -> Any:
    found, published = RESIDUALS[form], PUBLISHED[form]
    if widths is not None:
        return branches(found, kernel, tuple(widths))
    shares = tuple(max(1, round(width * channels / published)) for width in found.widths)
    return branches(found, kernel, shares)


def _end_widths(plan: Branches) -> list[int]:
    return [width for branch in plan for _, width in branch[-1].convs]


class _Fork(nn.ModuleList):
    """Convolutions side by side at the end of a branch: the expanded filter bank of 2015."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return torch.cat([conv(x) for conv in self], 1)  # (N, sum of widths, H, W)


def _modules(
    plan: Branches, in_channels: int, strided: str, count_padding: bool, norm: Any, act: Any
) -> nn.ModuleList:
    """The branches; `strided`: the padding of what has a stride."""
    made = []
    for branch in plan:
        steps: list[nn.Module] = []
        channels = in_channels
        for step in branch:
            padding: Any = "same" if step.stride == 1 else strided
            if step.pool == "max":
                steps.append(MaxPool(3, step.stride, padding))
                continue
            if step.pool == "avg":
                steps.append(AvgPool(3, step.stride, padding, count_padding=count_padding))
                continue
            convs = [
                Conv(channels, width, kernel, step.stride, padding, norm=norm, act=act)
                for kernel, width in step.convs
            ]
            steps.append(convs[0] if len(convs) == 1 else _Fork(convs))
            channels = sum(width for _, width in step.convs)
        made.append(steps[0] if len(steps) == 1 else nn.Sequential(*steps))
    return nn.ModuleList(made)


def _walk(tally: Tally, plan: Branches, strided: str, norm: Any, act: str) -> list[Place]:
    """Take the tally through the branches; where they end (a fork ends in as many places)."""
    start, ends = tally.place(), []
    for branch in plan:
        tally.go(start)
        for convs, stride, pool in branch:
            padding = "same" if stride == 1 else strided
            if pool == "max":
                MaxPool.cost(tally, 3, stride, padding, False)
            elif pool == "avg":
                AvgPool.cost(tally, 3, stride, padding, False, True)
            elif len(convs) == 1:
                ((kernel, width),) = convs
                Conv.cost(tally, width, kernel, stride, padding, norm=norm, act=act)
            else:
                fork = tally.place()
                for kernel, width in convs[:-1]:
                    Conv.cost(tally, width, kernel, stride, padding, norm=norm, act=act)
                    ends.append(tally.place())
                    tally.go(fork)
                kernel, width = convs[-1]
                Conv.cost(tally, width, kernel, stride, padding, norm=norm, act=act)
        ends.append(tally.place())
    return ends

"""Densely connected blocks and the transitions between them (Huang et al. 2016)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from .conv import Conv
from .gated import gated_operator
from .pool import AvgPool
from .settings import ActName, Count, CountOrNone, Norm, OddKernel, PositiveShare, Share
from .tally import Misfit, Tally, is_none


class DenseLayer(nn.Module):
    """Norm, activation, 1x1 convolution, then norm, activation, 3x3: `growth` new channels."""

    def __init__(
        self, in_channels: int, growth: int, bottleneck: int, kernel: int, drop_rate: float,
        norm: Any, act: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        inner = bottleneck * growth
        pre: dict[str, Any] = {"norm": norm, "act": act, "order": "pre"}
        self.conv1 = Conv(in_channels, inner, 1, **pre) if bottleneck else nn.Identity()
        self.conv2 = Conv(inner or in_channels, growth, kernel, **pre)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        y = self.conv1(x)  # (N, bottleneck * growth, H, W)
        y = self.conv2(y)  # (N, growth, H, W)
        return cast(Tensor, self.drop(y))

    @staticmethod
    def cost(
        tally: Tally, growth: int, bottleneck: int, kernel: int, drop_rate: float, norm: Any,
        act: str,
    ) -> None:  # fmt: skip
        bias = is_none(norm)
        if bottleneck:
            Conv.cost(tally, bottleneck * growth, 1, norm=norm, act=act, order="pre")
        tally.norm_act(norm, act, in_place=not bias)
        tally.conv(growth, kernel, bias=bias, kept=False)  # is copied behind the input
        if drop_rate:
            tally.keep()  # the mask


@gated_operator("dense_block")
class DenseBlock(nn.Module):
    """Layers that each see the outputs of all before them, concatenated (Huang et al. 2016).

    The output has the input's channels and `layers` times `growth` more. It is as convolutions
    leave it: `transition` and the next block open with their own norm and activation, and a
    `norm_act` closes the last one.

    growth      channels that each layer adds (k in the paper)
    bottleneck  each layer's 1x1 convolution has `bottleneck` times `growth` channels (DenseNet-B);
                0: none, the 3x3 convolution reads the concatenation itself
    drop_rate   share of each layer's output that training drops; the paper has 0.2 where the data
                are not augmented
    """

    def __init__(
        self,
        in_channels: int,
        layers: Count,
        growth: Count,
        bottleneck: CountOrNone = 4,
        kernel: OddKernel = 3,
        drop_rate: Share = 0.0,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DenseLayer(
                in_channels + n * growth, growth, bottleneck, kernel, drop_rate, norm, act
            )
            for n in range(layers)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)  # (N, growth more, H, W)
        return x  # (N, in_channels + layers * growth, H, W)

    @staticmethod
    def cost(
        tally: Tally, layers: int, growth: int, bottleneck: int, kernel: int, drop_rate: float,
        norm: Any, act: str,
    ) -> None:  # fmt: skip
        if kernel % 2 == 0:
            raise Misfit(f"kernel {kernel} would change the size beside the input: take an odd one")
        tally.need_image()
        channels, sums = tally.channels, [tally.sums()]
        for n in range(min(layers, 2) if tally.sums_up else layers):
            DenseLayer.cost(tally, growth, bottleneck, kernel, drop_rate, norm, act)
            tally.channels = channels + (n + 1) * growth
            tally.keep()
            sums.append(tally.sums())
        if len(sums) <= layers:  # each further layer costs as much more as the second one did
            tally.go_on(sums, layers - 2)
        tally.channels = channels + layers * growth
        tally.largest = max(tally.largest, tally.channels * tally.height * tally.width)
        tally.activated = tally.pending = False


@gated_operator("transition")
class Transition(nn.Module):
    """Norm, activation, 1x1 convolution, 2x2 average pool between dense blocks (Huang et al. 2016).

    compression  the output's channels as a share of the input's, rounded down (0.5: DenseNet-C)
    """

    def __init__(
        self,
        in_channels: int,
        compression: PositiveShare = 0.5,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        self.conv = Conv(
            in_channels, _compressed(in_channels, compression), 1, norm=norm, act=act, order="pre"
        )
        self.pool = AvgPool(2)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        x = self.conv(x)  # (N, compression * in_channels, H, W)
        return cast(Tensor, self.pool(x))  # (N, compression * in_channels, H / 2, W / 2)

    @staticmethod
    def cost(tally: Tally, compression: float, norm: Any, act: str) -> None:
        tally.need_image()
        channels = _compressed(tally.channels, compression)
        if not channels:
            raise Misfit(f"compression {compression} leaves nothing of {tally.channels} channels")
        Conv.cost(tally, channels, 1, norm=norm, act=act, order="pre")
        AvgPool.cost(tally, 2, 2, "valid", False, True)


def _compressed(channels: int, compression: float) -> int:
    return int(channels * compression + 1e-9)  # 0.3 of 10 are 3

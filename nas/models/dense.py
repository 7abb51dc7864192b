"""Vectors: flattening, linear layers, dropout."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from .operators import operator
from .settings import SameChannels, Share
from .tally import Misfit, Tally


@operator("flatten")
class Flatten(nn.Module):
    """A map read out as one vector; what follows fits this image size alone."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return x.flatten(1)  # (N, C * H * W)

    @staticmethod
    def cost(tally: Tally) -> None:
        tally.channels *= tally.height * tally.width
        tally.see_all()
        tally.flat = True


@operator("linear")
class Linear(nn.Module):
    """A fully connected layer with bias. A row without `channels` is the classifier.

    Takes a vector or a map of 1x1; before larger maps stands a row `global_pool` or `flatten`.
    """

    def __init__(self, in_channels: int, channels: SameChannels = None) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, in_channels if channels is None else channels)

    def forward(self, x: Tensor) -> Tensor:  # (N, C) or (N, C, 1, 1)
        return cast(Tensor, self.linear(x.flatten(1)))  # (N, channels)

    @staticmethod
    def cost(tally: Tally, channels: int) -> None:
        if tally.height * tally.width != 1:
            raise Misfit(
                f"takes a vector, but its input is {tally.shape()}; "
                "put a row {op: global_pool} or {op: flatten} before it"
            )
        tally.linear(channels)


@operator("dropout")
class Dropout(nn.Module):
    """Zeroes values with probability `rate` while training (Srivastava et al. 2014).

    The rest is scaled up by 1 / (1 - rate), so that evaluation needs nothing.
    """

    def __init__(self, rate: Share = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(rate)

    def forward(self, x: Tensor) -> Tensor:  # any shape
        return cast(Tensor, self.dropout(x))

    @staticmethod
    def cost(tally: Tally, rate: float) -> None:
        if rate > 0:
            tally.keep()  # the result
            tally.keep()  # the mask

"""Vectors: flattening, linear layers, dropout."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
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
        need_vector(tally)
        tally.linear(channels)


@operator("dropconnect")
class DropConnect(Linear):
    """A linear layer whose weights are zeroed with probability `rate` while training.

    Wan et al. 2013. One draw serves a batch, where the paper draws for each image; the rest is
    scaled up by 1 / (1 - rate), so that evaluation needs nothing (the paper samples a normal
    distribution there). The bias is never dropped. Without `channels` it is the classifier.
    """

    def __init__(self, in_channels: int, channels: SameChannels = None, rate: Share = 0.5) -> None:
        super().__init__(in_channels, channels)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:  # (N, C) or (N, C, 1, 1)
        weight = F.dropout(self.linear.weight, self.rate, self.training)
        return F.linear(x.flatten(1), weight, self.linear.bias)  # (N, channels)

    @staticmethod
    def cost(tally: Tally, channels: int, rate: float) -> None:  # type: ignore[override]
        weights = tally.channels * channels
        Linear.cost(tally, channels)
        if rate > 0:  # once a batch: the weights that are left, and a mask of bytes
            tally.buffers += weights + weights // 4


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


def need_vector(tally: Tally) -> None:
    """Raise Misfit where the tensor is a map larger than 1x1."""
    if tally.height * tally.width != 1:
        raise Misfit(
            f"takes a vector, but its input is {tally.shape()}; "
            "put a row {op: global_pool} or {op: flatten} before it"
        )

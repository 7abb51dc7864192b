"""Stochastic depth: an option `drop_path` of the cells that add a branch to a shortcut."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Drops a whole branch, image by image, while training (Huang et al. 2016).

    What survives is scaled by 1 / (1 - rate), so that evaluation needs nothing (the paper scales
    by the survival in evaluation instead).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if not self.training:
            return x
        survival = 1 - self.rate
        mask = x.new_empty((len(x), *[1] * (x.dim() - 1))).bernoulli_(survival)  # (N, 1, 1, 1)
        if survival:
            mask.div_(survival)
        return x * mask

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


def make_drop_path(rate: float, depth: float) -> nn.Module:
    """The module for a row's `drop_path`; nn.Identity where it is 0.

    rate   drop rate of the network's last unit
    depth  l / L for unit l of L, which the builder knows: the rate falls linearly towards the
           image (Huang et al. 2016, Eq. 4). Nothing is priced: one value an image is kept.
    """
    return DropPath(rate * depth) if rate else nn.Identity()

"""Maxout: an activation that is learnt."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .operators import operator
from .settings import Count
from .tally import Misfit, Tally


@operator("maxout")
class Maxout(nn.Module):
    """The largest of each `pieces` neighbouring channels (Goodfellow et al. 2013).

    Stands after a convolution or linear layer without activation, `pieces` times as wide as what
    is to come out.
    """

    def __init__(self, pieces: Count = 2) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:  # (N, C, ...)
        return torch.unflatten(x, 1, (-1, self.pieces)).amax(2)  # (N, C / pieces, ...)

    @staticmethod
    def cost(tally: Tally, pieces: int) -> None:
        if tally.channels % pieces:
            raise Misfit(
                f"pieces {pieces} must divide its {tally.channels} input channels; the row before "
                f"could have {-(-tally.channels // pieces) * pieces}"
            )
        tally.channels //= pieces
        tally.keep()
        tally.activated = True

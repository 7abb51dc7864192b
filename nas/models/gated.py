"""`se` of the cells that have no branch of their own to gate: what they give is gated.

Hu et al. 2017, Figure 2: SE-Inception. A residual unit gates its branch instead (Figure 3), and has
its own place for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from ..registry import Setting
from .operators import M, Wrapping, operator, setting_of
from .settings import SqueezeExcite
from .squeeze_excite import cost_of_se, make_se


class Gated(nn.Module):
    """A cell, and squeeze-and-excitation of its output."""

    def __init__(self, cell: nn.Module, se: nn.Module) -> None:
        super().__init__()
        self.cell, self.se = cell, se
        self.looks_back = getattr(cell, "looks_back", False)
        self.skip_input = getattr(cell, "skip_input", False)

    def forward(self, *inputs: Tensor) -> Tensor:
        return cast(Tensor, self.se(self.cell(*inputs)))


def gated_operator(name: str) -> Callable[[M], M]:
    """Register a cell with the further setting `se` (0: off), applied to what it gives."""
    se: Setting = setting_of(SqueezeExcite, 0.0)
    return operator(name, Wrapping({"se": se}, ("in_channels", "out_channels"), _cost, _make))


def _cost(cost: Callable[..., Any]) -> Callable[..., Any]:
    def gated(tally: Any, se: Any = 0.0, **settings: Any) -> None:
        before = tally.channels
        cost(tally, **settings)
        if se:
            cost_of_se(tally, se, before)

    return gated


def _make(module: type[nn.Module]) -> Callable[..., nn.Module]:
    def build(in_channels: int, out_channels: int, se: Any = 0.0, **settings: Any) -> nn.Module:
        cell = module(in_channels=in_channels, **settings)
        gate = make_se(se, out_channels, in_channels)
        return cell if isinstance(gate, nn.Identity) else Gated(cell, gate)

    return build

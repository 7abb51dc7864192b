"""Squeeze-and-excitation: an option `se` of the cells, and a row of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from .conv import make_conv
from .norm_act import make_act
from .operators import operator
from .settings import ActName, Count, GateName, SqueezeRatio
from .tally import BY_RESULT, Tally


class SqueezeExcite(nn.Module):
    """Weighs each channel by what the whole map holds (Hu et al. 2017).

    The map's mean (squeeze) goes through two 1x1 convolutions with an activation between; a gate
    in (0, 1) then multiplies each channel (excite).
    """

    def __init__(self, channels: int, squeezed: int, act: str = "relu", gate: str = "sigmoid"):
        super().__init__()
        self.reduce = make_conv(channels, squeezed, 1, bias=True)
        self.act = make_act(act)
        self.expand = make_conv(squeezed, channels, 1, bias=True)
        self.gate = make_act(gate)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        g = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        g = self.act(self.reduce(g))  # (N, squeezed, 1, 1)
        g = self.gate(self.expand(g))  # (N, C, 1, 1)
        return cast(Tensor, x * g)  # (N, C, H, W)

    @staticmethod
    def cost(tally: Tally, squeezed: int, act: str = "relu") -> None:
        channels = tally.channels
        tally.pointwise(channels, squeezed, 1, bias=True, norm="none")
        tally.pointwise(squeezed, channels, 1, bias=True, norm="none")
        tally.keep()  # the gated map
        # squeezed values, their activation, and per channel the mean and the gate
        tally.kept += squeezed * (1 if act in BY_RESULT else 2) + 2 * channels


def squeezed_channels(se: float | Mapping[str, Any], gated: int, row_input: int) -> int:
    """How many channels `se` (a ratio, or its long form) squeezes to; 0: none is wanted."""
    if isinstance(se, int | float):
        return max(1, round(se * gated)) if se else 0
    if not se["ratio"]:
        return 0
    to = int(se.get("round_to", 1))
    exact = se["ratio"] * (row_input if se.get("of") == "input" else gated)
    rounded = max(to, int(exact + to / 2) // to * to)
    # MobileNetV3's 72 channels squeeze to 24, not to 16: no rounding takes more than a tenth
    return rounded + to if to > 1 and rounded < 0.9 * exact else rounded


def cost_of_se(tally: Tally, se: float | Mapping[str, Any], row_input: int) -> None:
    """What `make_se` costs on the present map, in a row whose input has `row_input` channels."""
    squeezed = squeezed_channels(se, tally.channels, row_input)
    if squeezed:
        act = "relu" if isinstance(se, int | float) else str(se.get("act", "relu"))
        SqueezeExcite.cost(tally, squeezed, act)


def make_se(se: float | Mapping[str, Any], gated: int, row_input: int) -> nn.Module:
    """The module for a row's `se`; nn.Identity where it is 0."""
    squeezed = squeezed_channels(se, gated, row_input)
    if not squeezed:
        return nn.Identity()
    long = {} if isinstance(se, int | float) else se
    return SqueezeExcite(
        gated, squeezed, str(long.get("act", "relu")), str(long.get("gate", "sigmoid"))
    )


@operator("squeeze_excite")
class SqueezeExciteRow(SqueezeExcite):
    """Squeeze-and-excitation as a row: weighs its input's channels (Hu et al. 2017).

    ratio     squeezed channels as a share of the input's
    round_to  squeezed channels to multiples of this, and no fewer
    """

    def __init__(
        self,
        in_channels: int,
        ratio: SqueezeRatio = 0.0625,
        round_to: Count = 1,
        act: ActName = "relu",
        gate: GateName = "sigmoid",
    ) -> None:
        squeezed = squeezed_channels({"ratio": ratio, "round_to": round_to}, in_channels, 0)
        super().__init__(in_channels, squeezed, act, gate)

    @staticmethod
    def cost(  # type: ignore[override]
        tally: Tally, ratio: float, round_to: int, act: str, gate: str
    ) -> None:
        tally.need_image()
        squeezed = squeezed_channels({"ratio": ratio, "round_to": round_to}, tally.channels, 0)
        SqueezeExcite.cost(tally, squeezed, act)
        tally.activated = False

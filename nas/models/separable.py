"""A depthwise and a pointwise convolution as one row."""

from __future__ import annotations

from typing import Any, Literal, cast

from torch import Tensor, nn

from .conv import Conv
from .gated import gated_operator
from .settings import ActName, Bias, Channels, Count, Kernel, Norm, Padding, Stride
from .tally import Tally, is_none


@gated_operator("separable")
class Separable(nn.Module):
    """A depthwise convolution, then a 1x1: 1 / channels + 1 / kernel² of the multiplications.

    between  what stands between the two: norm_act (MobileNet, Howard et al. 2017), norm, or none
             (Xception, Chollet 2016: an activation there did harm)
    bias     of both; left out: of the 1x1 where there is no norm, of the depthwise one where there
             is an activation between instead
    """

    def __init__(
        self,
        in_channels: int,
        channels: Channels,
        kernel: Kernel = 3,
        stride: Stride = 1,
        padding: Padding = "same",
        dilation: Count = 1,
        bias: Bias = None,
        norm: Norm = "batch",
        act: ActName = "relu",
        between: Literal["norm_act", "norm", "none"] = "norm_act",
    ) -> None:
        super().__init__()
        first = _first(bias, norm, act, between)
        self.depthwise = Conv(
            in_channels, in_channels, kernel, stride, padding, dilation, in_channels, **first
        )
        self.pointwise = Conv(in_channels, channels, 1, bias=bias, norm=norm, act=act)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        x = self.depthwise(x)  # (N, in_channels, H / stride, W / stride)
        return cast(Tensor, self.pointwise(x))  # (N, channels, H / stride, W / stride)

    @staticmethod
    def cost(
        tally: Tally, channels: int, kernel: Any, stride: Any, padding: Any, dilation: int,
        bias: bool | None, norm: Any, act: str, between: str,
    ) -> None:  # fmt: skip
        before, first = tally.channels, _first(bias, norm, act, between)
        Conv.cost(tally, before, kernel, stride, padding, dilation, before, **first)
        Conv.cost(tally, channels, 1, bias=bias, norm=norm, act=act)


def _first(bias: bool | None, norm: Any, act: str, between: str) -> dict[str, Any]:
    """Bias, norm and activation of the depthwise convolution."""
    if between == "norm_act":
        return {"bias": bias, "norm": norm, "act": act}
    # without anything between, the 1x1 convolution's own bias says as much
    bias = False if bias is None and (between == "none" or is_none(norm)) else bias
    return {"bias": bias, "norm": "none" if between == "none" else norm, "act": "none"}

"""The path beside a residual unit's branch."""

from __future__ import annotations

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .conv import Conv

# where shapes differ: project, a 1x1 convolution (option B of He et al. 2015, section 4.1); pad,
# no parameters (A). project_always: a convolution in every unit (C)
ShortcutKind = Literal["project", "pad", "project_always"]


class PadShortcut(nn.Module):
    """Every stride-th pixel, and zeros in the new channels: no parameters (option A)."""

    def __init__(self, in_channels: int, channels: int, stride: Any) -> None:
        super().__init__()
        self.extra = channels - in_channels
        self.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        step_h, step_w = self.stride
        x = x[:, :, ::step_h, ::step_w]  # (N, in_channels, H / stride, W / stride)
        return F.pad(x, (0, 0, 0, 0, 0, self.extra))  # (N, channels, H / stride, W / stride)

    def extra_repr(self) -> str:
        return f"extra={self.extra}, stride={self.stride}"


def make_shortcut(
    kind: ShortcutKind, in_channels: int, channels: int, stride: Any, last: dict[str, Any]
) -> nn.Module:
    """The shortcut of a unit whose last convolution has the settings `last`."""
    if kind != "project_always" and stride == 1 and in_channels == channels:
        return nn.Identity()
    if kind == "pad":
        return PadShortcut(in_channels, channels, stride)
    return Conv(in_channels, channels, 1, stride, **{**last, "act": "none"})

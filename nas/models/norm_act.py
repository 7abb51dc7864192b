"""Normalisation and activation: the two steps beside every convolution; and neither."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .operators import operator
from .settings import ActName, Count, Norm, NotNegative, Positive
from .tally import Tally, is_none

# torch writes it over its input without needing that in the backward pass
IN_PLACE = frozenset({"relu"})


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x / 3): 1 at 1, -1 at -1, and most curved there (LeCun et al. 1998, app. A)."""

    def forward(self, x: Tensor) -> Tensor:  # any shape
        return 1.7159 * torch.tanh(2 / 3 * x)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "tanh": nn.Tanh,
    "scaled_tanh": ScaledTanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "none": nn.Identity,
}


def make_act(name: str, *, in_place: bool = True) -> nn.Module:
    """The activation of that name, over its input where torch's backward pass allows it."""
    if in_place and name in IN_PLACE:
        return ACTIVATIONS[name](inplace=True)
    return ACTIVATIONS[name]()


def make_norm(channels: int, norm: str | Mapping[str, Any]) -> nn.Module:
    """Batch normalisation (Ioffe and Szegedy 2015) of `channels`, nn.Identity for "none", or "lrn"
    with AlexNet's constants."""
    settings = {"kind": norm} if isinstance(norm, str) else dict(norm)
    kind = settings.pop("kind", "batch")
    if kind == "none":
        return nn.Identity()
    return ResponseNorm() if kind == "lrn" else nn.BatchNorm2d(channels, **settings)


@operator("lrn")
class ResponseNorm(nn.Module):
    """Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3).

    Each value is divided by (k + alpha · the sum of squares of the `size` channels around it, at
    its pixel) ** beta. torch and Caffe divide their alpha by `size`; the paper does not, nor does
    this one. In AlexNet the row stands behind the activation; `norm: lrn` stands before it.
    """

    def __init__(
        self,
        size: Count = 5,
        alpha: NotNegative = 1e-4,
        beta: NotNegative = 0.75,
        k: Positive = 2.0,
    ) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return F.local_response_norm(x, self.size, self.alpha * self.size, self.beta, self.k)

    @staticmethod
    def cost(tally: Tally, size: int, alpha: float, beta: float, k: float) -> None:
        tally.need_image()
        tally.response_norm()
        tally.keep()
        tally.activated = False


@operator("norm_act")
class NormAct(nn.Module):
    """Normalisation, then an activation: opens a pre-activation unit and closes a stack of them.

    He et al. 2016, "Identity Mappings in Deep Residual Networks", appendix: the last unit is
    followed by an extra norm and activation. `build` adds that one by itself (see `walk.py`).
    """

    def __init__(self, in_channels: int, norm: Norm = "batch", act: ActName = "relu") -> None:
        super().__init__()
        self.norm = make_norm(in_channels, norm)
        # without a norm between, writing in place would change the input itself
        self.act = make_act(act, in_place=not is_none(norm))

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return cast(Tensor, self.act(self.norm(x)))

    @staticmethod
    def cost(tally: Tally, norm: Any, act: str) -> None:
        tally.need_image()
        tally.norm_act(norm, act, in_place=not is_none(norm))
        tally.pending = False


@operator("activation")
class Activation(nn.Module):
    """An activation as a row of its own, for instance between two linear layers."""

    def __init__(self, act: ActName = "relu") -> None:
        super().__init__()
        self.act = make_act(act, in_place=False)

    def forward(self, x: Tensor) -> Tensor:  # any shape
        return cast(Tensor, self.act(x))

    @staticmethod
    def cost(tally: Tally, act: str) -> None:
        tally.norm_act("none", act, in_place=False)


@operator("identity")
class Identity(nn.Identity):
    """The input as it is: an empty branch, or the choice of leaving a layer out."""

    @staticmethod
    def cost(tally: Tally) -> None:
        pass

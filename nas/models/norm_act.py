"""Normalisation and activation: the two steps beside every convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from .operators import operator
from .settings import ActName, Norm
from .tally import Tally, is_none

# torch writes it over its input without needing that in the backward pass
IN_PLACE = frozenset({"relu"})

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "tanh": nn.Tanh,
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
    """Batch normalisation (Ioffe and Szegedy 2015) of `channels`, or nn.Identity for "none"."""
    settings = {"kind": norm} if isinstance(norm, str) else dict(norm)
    if settings.pop("kind", "batch") == "none":
        return nn.Identity()
    return nn.BatchNorm2d(channels, **settings)


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

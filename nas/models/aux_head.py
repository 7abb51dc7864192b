"""Side classifiers: extra losses in the middle of a network, gone at evaluation."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from .conv import Conv
from .dense import Dropout, Flatten
from .norm_act import make_act
from .operators import operator
from .pool import AvgPool, GlobalPool
from .settings import ActName, Norm, PositiveShare, RowName, Share
from .tally import Tally

POOLED = 4  # side of the map that v1 averages to


@operator("aux_head")
class AuxHead(nn.Module):
    """A side classifier, trained jointly and dropped at evaluation (Szegedy et al. 2014).

    Hands its input on unchanged. In training it keeps `side_logits`, and the training loop adds
    `weight` times their cross-entropy to the loss; they are None in evaluation. Parameters count,
    multiply-adds do not: an evaluated network has no side heads.

    of      an earlier row of the network, whose output it reads; left out: its own input. Public
            weights of GoogLeNet list both heads behind the last module
    form    v1  mean to 4x4, 1x1 convolution of 128, linear 1024, activation, dropout, linear
                (section 5; the paper pools 5x5 with stride 3, which gives 4x4 as well)
            v3  5x5 average pool with stride 3, 1x1 convolution of 128, 5x5 of 768, linear
                (Inception-v3); needs a map of 17x17
    weight  of its loss
    dropout of v1
    """

    aside = True

    def __init__(
        self,
        in_channels: int,
        classes: int,
        form: Literal["v1", "v3"] = "v1",
        of: RowName = None,
        weight: PositiveShare = 0.3,
        dropout: Share = 0.7,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        self.of, self.weight = of, weight
        self.side_logits: Tensor | None = None
        layers: list[nn.Module]
        if form == "v1":
            layers = [
                nn.AdaptiveAvgPool2d(POOLED),
                Conv(in_channels, 128, 1, norm=norm, act=act),
                nn.Flatten(),
                nn.Linear(128 * POOLED**2, 1024),
                make_act(act),
                nn.Dropout(dropout),
                nn.Linear(1024, classes),
            ]
        else:
            layers = [
                nn.AvgPool2d(5, 3),
                Conv(in_channels, 128, 1, norm=norm, act=act),
                Conv(128, 768, 5, padding="valid", norm=norm, act=act),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(768, classes),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        self.side_logits = self.layers(x) if self.training else None  # (N, classes)
        return x

    @staticmethod
    def cost(
        tally: Tally, classes: int, form: str, of: str | None, weight: float, dropout: float,
        norm: Any, act: str,
    ) -> None:  # fmt: skip
        tally.need_image()
        side = Tally(tally.channels, tally.height, tally.width)
        side.look_at(tally.image_h, tally.image_w)
        image = side.kept
        if form == "v1":
            side.height = side.width = POOLED
            side.keep()
            Conv.cost(side, 128, 1, norm=norm, act=act)
            Flatten.cost(side)
            side.linear(1024)
            side.norm_act("none", act)
            Dropout.cost(side, dropout)
            side.linear(classes)
        else:
            AvgPool.cost(side, 5, 3, "valid", False, True)
            Conv.cost(side, 128, 1, norm=norm, act=act)
            Conv.cost(side, 768, 5, padding="valid", norm=norm, act=act)
            GlobalPool.cost(side)
            side.linear(classes)
        tally.params += side.params
        tally.side_params += side.params
        tally.buffers += side.buffers
        tally.kept += side.kept - image
        tally.largest = max(tally.largest, side.largest)

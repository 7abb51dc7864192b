"""Convolutions whose output maps take some of the input maps each (LeCun et al. 1998)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .tally import Misfit, Tally

# LeCun et al. 1998, Table I: which of the 6 maps of S2 each of the 16 maps of C3 takes
LENET5 = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip
TABLES: dict[str, tuple[tuple[int, ...], ...]] = {"lenet5": LENET5}


class ConnectedConv2d(nn.Conv2d):
    """A convolution with a kernel for each connection alone: (connections, 1, kernel, kernel).

    Output map k is the sum over the input maps that `table[k]` names. Missing connections have
    no weights and cost no multiply-adds.
    """

    def __init__(
        self,
        in_channels: int,
        table: Sequence[Sequence[int]],
        kernel: Any,
        stride: Any,
        pads: Any,
        dilation: int,
        bias: bool,
    ) -> None:
        maps = [one for taken in table for one in taken]
        super().__init__(
            len(maps), len(maps), kernel, stride, pads, dilation, groups=len(maps), bias=False
        )
        self.counts = [len(taken) for taken in table]
        self.register_buffer("maps", torch.tensor(maps))
        if bias:
            self.bias = nn.Parameter(torch.zeros(len(table)))
        area = self.kernel_size[0] * self.kernel_size[1]
        with torch.no_grad():  # He normal, fan out: a map feeds this many kernels on average
            self.weight.normal_(0, (2 * in_channels / (area * len(maps))) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        x = x[:, cast(Tensor, self.maps)]  # (N, connections, H, W)
        x = F.conv2d(
            x, self.weight, None, self.stride, self.padding, self.dilation, self.groups
        )  # (N, connections, H / stride, W / stride)
        sums = [part.sum(1, keepdim=True) for part in torch.split(x, self.counts, 1)]
        y = torch.cat(sums, 1)  # (N, channels, H / stride, W / stride)
        return y if self.bias is None else y + self.bias[:, None, None]


def connected_cost(
    tally: Tally,
    connections: str | Sequence[Sequence[int]],
    channels: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: int,
    groups: int,
    bias: bool,
) -> None:
    """What a ConnectedConv2d costs. Raises Misfit for a table that does not fit the channels."""
    tally.need_image()
    table = connection_table(connections)
    _check(table, tally.channels, channels)
    if groups != 1:
        raise Misfit(f"groups {groups} do not go with connections: state one of the two")
    if padding == "same_tf":
        raise Misfit("padding same_tf does not go with connections: take same, valid or pixels")
    kernels = sum(map(len, table))
    tally.kept += kernels * tally.height * tally.width  # each kernel's map, side by side
    tally.channels = kernels
    tally.conv(
        kernels, kernel, stride, kernels, dilation=dilation, padding=padding, kept=False
    )  # fmt: skip
    tally.activations += (channels - kernels) * tally.height * tally.width  # their sums
    tally.channels = channels
    tally.params += channels if bias else 0
    tally.keep()


def connection_table(connections: str | Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """The table of that name, or the one written out."""
    return TABLES[connections] if isinstance(connections, str) else connections


def _check(table: Any, before: int, channels: int) -> None:
    if len(table) != channels:
        raise Misfit(
            f"connections has {len(table)} lists, but the row has {channels} output channels: "
            "give one list for each"
        )
    for number, taken in enumerate(table):
        whole = isinstance(taken, list | tuple) and all(type(one) is int for one in taken)
        good = whole and taken and min(taken) >= 0 and max(taken) < before
        if not good or len(set(taken)) < len(taken):
            raise Misfit(
                f"connections has {taken!r} for output map {number}: give different input maps, "
                f"from 0 to {before - 1}"
            )

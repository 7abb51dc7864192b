"""NASNet-A's two cells (Zoph et al. 2017, Figure 4), as published."""

from __future__ import annotations

from typing import Any

from .cell_graph import Cell, Graph, count_cell
from .cell_operations import CellPadding
from .dag import NodeWidth
from .gated import gated_operator
from .settings import ActName, Count, Norm
from .tally import Tally

INPUT, PREVIOUS = 0, 1

# Figure 4, the normal cell. That all of `previous` and the nodes are concatenated is not drawn
# there, but is what "6 @ 4032" counts: 6 · 4 · 168, and what the published weights need.
NORMAL = Graph(
    [
        [("sep_conv_5x5", INPUT), ("sep_conv_3x3", PREVIOUS)],
        [("sep_conv_5x5", PREVIOUS), ("sep_conv_3x3", PREVIOUS)],
        [("avg_pool_3x3", INPUT), ("skip", PREVIOUS)],
        [("avg_pool_3x3", PREVIOUS), ("avg_pool_3x3", PREVIOUS)],
        [("sep_conv_3x3", INPUT), ("skip", INPUT)],
    ],
    [PREVIOUS, 2, 3, 4, 5, 6],
    (True, True),
)
# Figure 4, the reduction cell; its second node is read by the fourth and concatenated all the same
REDUCTION = Graph(
    [
        [("sep_conv_5x5", INPUT), ("sep_conv_7x7", PREVIOUS)],
        [("max_pool_3x3", INPUT), ("sep_conv_7x7", PREVIOUS)],
        [("avg_pool_3x3", INPUT), ("sep_conv_5x5", PREVIOUS)],
        [("avg_pool_3x3", 2), ("skip", 3)],
        [("sep_conv_3x3", 2), ("max_pool_3x3", INPUT)],
    ],
    [3, 4, 5, 6],
    (True, True),
)


@gated_operator("nasnet_cell")
class NASNetCell(Cell):
    """NASNet-A's normal cell, with a stride its reduction cell (Zoph et al. 2017, Figure 4).

    width       channels of every node, the paper's F: the row's output has 6 · width, with a
                stride 4 · width
    padding     same_tf: TensorFlow's, at the strided operations
    skip_input  the next cell looks back past this one's input: NASNet-A large does so after a
                reduction, the smaller ones do not
    """

    def __init__(
        self,
        in_channels: int,
        width: NodeWidth,
        stride: Count = 1,
        padding: CellPadding = "same",
        norm: Norm = "batch",
        act: ActName = "relu",
        skip_input: bool = False,
        size: tuple[int, int] = (32, 32),
        previous: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__(
            NORMAL if stride == 1 else REDUCTION, in_channels, size, previous,
            width=width, stride=stride, combine="add", skip_input=skip_input,
            padding=padding, norm=norm, act=act,
        )  # fmt: skip

    @staticmethod
    def cost(
        tally: Tally, width: int, stride: int, padding: str, norm: Any, act: str, skip_input: bool
    ) -> None:
        count_cell(
            tally, NORMAL if stride == 1 else REDUCTION,
            width=width, stride=stride, combine="add", padding=padding, norm=norm, act=act,
        )  # fmt: skip

"""The cell of NAS-Bench-201 (Dong and Yang 2020): four nodes, six edges, five operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from torch import Tensor, nn

from ..registry import Setting
from .cell_operations import make_operation, price
from .operators import operator
from .settings import ActName, Count, Norm, SameChannels
from .tally import Tally, is_none

# the benchmark's names, and what they are among the operations of cells
OPERATIONS = {
    "none": "none",
    "skip_connect": "skip",
    "nor_conv_1x1": "conv_1x1",
    "nor_conv_3x3": "conv_3x3",
    "avg_pool_3x3": "avg_pool_3x3",
}
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # in the benchmark's order

Edges = Annotated[
    Sequence[str],
    Setting(
        ("list",),
        items=lambda _number, _many: Setting(("str",), allowed=tuple(OPERATIONS)),
        length=(6, 6),
        about="the operations 0 -> 1, 0 -> 2, 1 -> 2, 0 -> 3, 1 -> 3, 2 -> 3",
    ),
]


@operator("nb201_cell")
class NB201Cell(nn.Module):
    """Four nodes, each the sum of operations on all before it (NAS-Bench-201: Dong and Yang 2020).

    edges     six of none, skip_connect, nor_conv_1x1, nor_conv_3x3 (each ReLU, convolution, batch
              norm) and avg_pool_3x3, on 0 -> 1, 0 -> 2, 1 -> 2, 0 -> 3, 1 -> 3, 2 -> 3
    channels, stride  the benchmark's cells keep both; else the operations on node 0 change them
    """

    def __init__(
        self,
        in_channels: int,
        edges: Edges,
        channels: SameChannels = None,
        stride: Count = 1,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__()
        width = channels or in_channels
        self.edges = nn.ModuleList(
            make_operation(OPERATIONS[name], in_channels, width, stride, norm=norm, act=act)
            if source == 0
            else make_operation(OPERATIONS[name], width, width, norm=norm, act=act)
            for name, (source, _) in zip(edges, EDGES, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:  # (N, in_channels, H, W)
        nodes: list[Tensor] = [x]
        for (source, target), edge in zip(EDGES, self.edges, strict=True):
            y = edge(nodes[source])  # (N, channels, H / stride, W / stride)
            if target == len(nodes):
                nodes.append(y)
            else:
                nodes[target] = nodes[target] + y
        return nodes[3]  # (N, channels, H / stride, W / stride)

    @staticmethod
    def cost(
        tally: Tally, edges: Any, channels: int | None, stride: int, norm: Any, act: str
    ) -> None:
        tally.need_image()
        width, normed = channels or tally.channels, norm == "batch" or not is_none(norm)
        height, wide = -(-tally.height // stride), -(-tally.width // stride)
        inner, jumps = (width, height, wide), (tally.jump_h, tally.jump_w)
        outer = (tally.channels, tally.height, tally.width)
        views = [(tally.view_h, tally.view_w), (0, 0), (0, 0), (0, 0)]  # 0: nothing reaches it
        for name, (source, target) in zip(edges, EDGES, strict=True):
            if source == 0:
                found, by = price(OPERATIONS[name], outer, width, stride, "same", normed, act), 1
            else:
                found, by = price(OPERATIONS[name], inner, width, 1, "same", normed, act), stride
            found.book(tally)
            (see_h, see_w), (best_h, best_w) = views[source], views[target]
            if see_h and name != "none":
                see_h += found.reach_h * jumps[0] * by
                see_w += found.reach_w * jumps[1] * by
                views[target] = (max(see_h, best_h), max(see_w, best_w))
        tally.channels, tally.height, tally.width = inner
        tally.keep()  # the last sum; what reads the others keeps what it makes of them
        if views[3][0]:
            tally.view_h, tally.view_w = views[3]
        tally.jump_h, tally.jump_w = jumps[0] * stride, jumps[1] * stride
        tally.activated = tally.pending = False

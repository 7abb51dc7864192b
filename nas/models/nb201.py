"""The cell of NAS-Bench-201 (Dong and Yang 2020): four nodes, six edges, five operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

from ..registry import Setting
from .cell_graph import Cell, Graph, count_cell
from .gated import gated_operator
from .settings import ActName, Count, Norm, SameChannels
from .tally import Tally

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


@lru_cache
def graph_of(edges: tuple[str, ...]) -> Graph:
    """The cell with these operations. Dead ends stay: the benchmark counts their weights too."""
    operations = [OPERATIONS[name] for name in edges]
    nodes: list[list[tuple[str, int]]] = [[], [], []]
    for name, (source, target) in zip(operations, EDGES, strict=True):
        # a graph's sources are its input, 0, another one that is not there, and then the nodes
        nodes[target - 1].append((name, source + 1 if source else 0))
    return Graph(nodes, [4], (False, False))


@gated_operator("nb201_cell")
class NB201Cell(Cell):
    """Four nodes, each the sum of operations on all before it (NAS-Bench-201: Dong and Yang 2020).

    edges     six of none, skip_connect, nor_conv_1x1, nor_conv_3x3 (each ReLU, convolution, batch
              norm) and avg_pool_3x3, on 0 -> 1, 0 -> 2, 1 -> 2, 0 -> 3, 1 -> 3, 2 -> 3
    channels, stride  the benchmark's cells keep both; else the operations on node 0 change them
    """

    looks_back = False

    def __init__(
        self,
        in_channels: int,
        edges: Edges,
        channels: SameChannels = None,
        stride: Count = 1,
        norm: Norm = "batch",
        act: ActName = "relu",
    ) -> None:
        super().__init__(
            graph_of(tuple(edges)), in_channels, (0, 0), None,
            width=channels or in_channels, stride=stride, norm=norm, act=act,
        )  # fmt: skip

    @staticmethod
    def cost(
        tally: Tally, edges: Any, channels: int | None, stride: int, norm: Any, act: str
    ) -> None:
        count_cell(
            tally, graph_of(tuple(edges)),
            width=channels or tally.channels, stride=stride, norm=norm, act=act,
        )  # fmt: skip

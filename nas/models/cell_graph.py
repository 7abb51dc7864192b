"""A cell as a graph of operations: its module, and its price.

A cell has two inputs, the output before it and the one before that (`previous`); each is brought
to the cell's width by a 1x1 convolution first, a larger `previous` by a factorized reduction
(Zoph et al. 2017, Appendix A). Where there is no `previous`, as in the first cell of a network,
the cell's own input stands in, as it is: the operations on it adapt the channels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .cell_operations import (
    LARGEST_KERNEL,
    FactorizedReduction,
    count_operation,
    count_reduction,
    make_operation,
    need_kernels,
    price,
    reduction_price,
)
from .tally import Misfit, Place, Tally, norm_kind

INPUTS = ("input", "previous")


class Graph(NamedTuple):
    """A cell's graph. Sources are numbered: 0 the input, 1 `previous`, from 2 on the nodes.

    nodes    of each node its edges (operation, source), of earlier sources
    ends     the sources that are concatenated
    brought  which of the two inputs are brought to the cell's width
    """

    nodes: list[list[tuple[str, int]]]
    ends: list[int]
    brought: tuple[bool, bool]


# ----------------------------------------------------------------------------------- module
class Cell(nn.Module):
    """A Graph as a module.

    forward takes the output before the cell's input as its second argument.
    """

    looks_back = True

    def __init__(
        self,
        graph: Graph,
        in_channels: int,
        size: tuple[int, int],
        previous: tuple[int, int, int] | None,
        *,
        width: int,
        stride: int = 1,
        combine: str = "add",
        skip_input: bool = False,
        padding: str = "same",
        norm: Any = "batch",
        act: str = "relu",
    ) -> None:
        super().__init__()
        self.graph, self.combine, self.skip_input = graph, combine, skip_input
        how: dict[str, Any] = {"padding": padding, "norm": norm, "act": act}
        channels = [in_channels, previous[0] if previous else in_channels]
        brought = [graph.brought[0], graph.brought[1] and previous is not None]
        by = reduction(previous[1:], size) if previous and brought[1] else 1
        self.starts = nn.ModuleDict()
        # the input's comes first where `previous` shrinks: the order of the published weights
        for source in (0, 1) if by > 1 else (1, 0):
            if brought[source]:
                before, channels[source] = channels[source], width
                self.starts[INPUTS[source]] = (
                    FactorizedReduction(before, width, by, norm, act)
                    if source and by > 1
                    else make_operation("conv_1x1", before, width, **how)
                )
        self.nodes = nn.ModuleList()
        for edges in graph.nodes:
            self.nodes.append(
                nn.ModuleList(
                    make_operation(name, channels[at], width, stride if at < 2 else 1, **how)
                    for name, at in edges
                )
            )
            channels.append(width * len(edges) if combine == "concat" else width)
        self.ends = nn.ModuleList(
            make_operation("skip", channels[at], width if at < 2 else channels[at],
                           stride if at < 2 else 1, **how)
            for at in graph.ends
        )  # fmt: skip

    def forward(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        states = [x, x if previous is None else previous]  # (N, in_channels, H, W)
        for source, name in enumerate(INPUTS):
            if name in self.starts:
                states[source] = self.starts[name](states[source])  # (N, width, H, W)
        for edges, node in zip(self.graph.nodes, self.nodes, strict=True):
            parts = [
                step(states[at])
                for (_, at), step in zip(edges, node, strict=True)  # type: ignore[call-overload]
            ]
            if self.combine == "concat":
                states.append(torch.cat(parts, 1))  # (N, edges * width, H / stride, W / stride)
            else:
                states.append(sum(parts[1:], parts[0]))  # (N, width, H / stride, W / stride)
        ends = [step(states[at]) for at, step in zip(self.graph.ends, self.ends, strict=True)]
        # (N, sum of the ends, H / stride, W / stride)
        return ends[0] if len(ends) == 1 else torch.cat(ends, 1)


def reduction(before: tuple[int, int], size: tuple[int, int]) -> int:
    """By how much a map must shrink to a size. Raises Misfit where no whole stride does that."""
    if before == size:
        return 1
    for by in (2, -(-before[0] // size[0])):
        if -(-before[0] // by) == size[0] and -(-before[1] // by) == size[1]:
            return by
    raise Misfit(
        f"takes the output before its input too, which is {before[0]}x{before[1]} against "
        f"{size[0]}x{size[1]}: no stride leads from one to the other; let the row between keep the "
        "size or halve it ('same' padding)"
    )


# ------------------------------------------------------------------------------------- cost
How = tuple[str, str, str]  # padding, the kind of norm, act
State = tuple[tuple[int, int, int], int, int]  # (channels, height, width), view_h, view_w


def count_cell(
    tally: Tally,
    graph: Graph,
    *,
    width: int,
    stride: int = 1,
    combine: str = "add",
    padding: str = "same",
    norm: Any = "batch",
    act: str = "relu",
) -> None:
    """Move a tally over a Cell with these settings."""
    tally.need_image()
    kind = norm_kind(norm)
    if kind == "lrn":
        Tally(1, 1, 1).response_norm(norm)  # refuses what it does not take
    if tally.image_least < LARGEST_KERNEL:
        need_kernels(tally, (name for edges in graph.nodes for name, _ in edges))
    how = (padding, kind, act)
    if tally.__class__ is Tally:
        _count(tally, graph, width, stride, combine, how)
    else:  # it writes down the layers, so it has to go through each
        _go_through(tally, graph, width, stride, combine, how)


def _count(tally: Tally, graph: Graph, width: int, stride: int, combine: str, how: How) -> None:
    """The short way: the remembered price of each operation, and how far each node sees."""
    states = _start(tally, graph, width, how)
    height, wide = -(-tally.height // stride), -(-tally.width // stride)
    for edges in graph.nodes:
        view_h = view_w = 0  # 0: nothing reaches it
        for name, source in edges:
            shape, see_h, see_w = states[source]
            if source < 2:
                found = price(name, shape, width, stride, *how)
                apart_h, apart_w = tally.jump_h, tally.jump_w
            else:
                found = price(name, shape, width, 1, *how)
                apart_h, apart_w = tally.jump_h * stride, tally.jump_w * stride
            if found.kept:
                found.book(tally)
            if see_h and name != "none":
                view_h = max(view_h, see_h + found.reach_h * apart_h)
                view_w = max(view_w, see_w + found.reach_w * apart_w)
        channels = width * len(edges) if combine == "concat" else width
        tally.largest = max(tally.largest, channels * height * wide)
        states.append(((channels, height, wide), view_h, view_w))
    _finish(tally, graph, states, width, stride, how)


def _start(tally: Tally, graph: Graph, width: int, how: How) -> list[State]:
    """The cell's two inputs, brought to its width."""
    size = (tally.height, tally.width)
    own: State = ((tally.channels, *size), tally.view_h, tally.view_w)
    if graph.brought[0]:
        price("conv_1x1", own[0], width, 1, *how).book(tally)
    first: State = ((width, *size), own[1], own[2]) if graph.brought[0] else own
    previous = _previous(tally, graph)
    if previous is None:
        return [first, own]
    by, view_h, view_w = reduction(previous[1:3], size), previous[5], previous[6]
    if by == 1:
        price("conv_1x1", previous[:3], width, 1, *how).book(tally)
    else:
        reduction_price(previous[:3], width, by, *how[1:]).book(tally)
        view_h, view_w = view_h + previous[7], view_w + previous[8]
    return [first, ((width, *size), view_h, view_w)]


def _previous(tally: Tally, graph: Graph) -> Place | None:
    """The output before the cell's input, where there is one and something reads it."""
    previous = tally.previous
    if previous is None or not graph.brought[1]:
        return None
    if previous[3]:
        raise Misfit(f"takes the output before its input too, a vector of {previous[0]} values")
    return previous


def _finish(
    tally: Tally, graph: Graph, states: list[State], width: int, stride: int, how: How
) -> None:
    """Concatenate the ends, and stand behind the cell."""
    channels = view_h = view_w = 0
    for source in graph.ends:
        shape, see_h, see_w = states[source]
        if source < 2:
            price("skip", shape, width, stride, *how).book(tally)
            channels += width
        else:
            channels += shape[0]
        view_h, view_w = max(view_h, see_h), max(view_w, see_w)
    tally.channels = channels
    tally.height, tally.width = -(-tally.height // stride), -(-tally.width // stride)
    if view_h:
        tally.view_h, tally.view_w = view_h, view_w
    tally.jump_h *= stride
    tally.jump_w *= stride
    tally.activated = tally.pending = False
    tally.keep()
    tally.largest = max(tally.largest, channels * tally.height * tally.width)


def _go_through(
    tally: Tally, graph: Graph, width: int, stride: int, combine: str, how: How
) -> None:
    """The long way, to the same sums: every layer of every operation."""
    start, size = tally.place(), (tally.height, tally.width)
    places = [start, start]
    previous = _previous(tally, graph)
    if previous is not None:
        by = reduction(previous[1:3], size)
        tally.go(previous)
        if by == 1:
            count_operation(tally, "conv_1x1", width, 1, *how)
        else:
            count_reduction(tally, width, by, *how[1:])
        places[1] = tally.place()
    if graph.brought[0]:
        tally.go(start)
        count_operation(tally, "conv_1x1", width, 1, *how)
        places[0] = tally.place()
    for edges in graph.nodes:
        parts = []
        for name, source in edges:
            tally.go(places[source])
            count_operation(tally, name, width, stride if source < 2 else 1, *how)
            if name == "none" or not places[source][5]:
                tally.view_h = tally.view_w = 0  # nothing reaches it
            parts.append(tally.place())
        kept = tally.kept
        tally.join(parts, combine)
        tally.kept = kept  # what reads a sum keeps what it makes of it
        places.append(tally.place())
    ends = []
    for source in graph.ends:
        tally.go(places[source])
        if source < 2:
            count_operation(tally, "skip", width, stride, *how)
        ends.append(tally.place())
    tally.join(ends, "concat")
    if not tally.view_h:
        tally.view_h, tally.view_w = start[5], start[6]
    tally.activated = tally.pending = False

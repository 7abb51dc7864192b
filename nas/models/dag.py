"""Cells given as graphs: nodes that add up operations on the cell's inputs and on earlier nodes.

A cell has two inputs, the output before it and the one before that (`previous`); each is brought
to the cell's width by a 1x1 convolution first, a larger `previous` by a factorized reduction
(Zoph et al. 2017, Appendix A.4). Where there is no `previous`, as in the first cell of a network,
the cell's own input stands in, as it is: the operations on it adapt the channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import hint
from ..registry import Setting
from .cell_operations import (
    OPERATIONS,
    CellPadding,
    FactorizedReduction,
    make_operation,
    price,
    reduction_price,
)
from .operators import operator
from .settings import ActName, Count, Norm
from .tally import Misfit, Place, Tally, is_none

INPUTS = ("input", "previous")


# --------------------------------------------------------------------------------- settings
@dataclass(frozen=True)
class NodeInput(Setting):
    """What an edge comes from. `node`, from 1, and how many there `are`."""

    node: int = 1
    are: int = 1

    def fault(self, value: object) -> str | None:
        """A later node would close a cycle, an unknown one leaves the edge without a start."""
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= self.are:
            if value < self.node:
                return None
            return f"makes a cycle: node {self.node} takes {self.wanted()}"
        if value in INPUTS:
            return None
        near = hint(value, INPUTS) if isinstance(value, str) else ""
        near = near if "did you mean" in near else ""
        return f"is no node of this cell: node {self.node} takes {self.wanted()}{near}"

    def wanted(self) -> str:
        """The two inputs, and the nodes before it."""
        earlier = ["node 1", f"nodes 1 to {self.node - 1}"][self.node > 2]
        return "input or previous" if self.node == 1 else f"input, previous or {earlier}"


def _edges(number: int, many: int) -> Setting:
    fields = {
        "op": Setting(("str",), allowed=OPERATIONS),
        "from": NodeInput(("str", "int"), node=number + 1, are=many),
    }
    edge = Setting(("mapping",), fields=fields, about="one operation on one input")
    return Setting(("list",), items=lambda _number, _many: edge, length=(1, 20))


def _end(_number: int, _many: int) -> Setting:
    return Setting(("str", "int"), low=1, allowed=INPUTS)


NodeWidth = Annotated[int, Setting(("int",), low=1, about="channels of every node")]
Nodes = Annotated[
    Sequence[Sequence[Mapping[str, Any]]],
    Setting(("list",), items=_edges, length=(1, 100), about="for each node its [{op, from}, …]"),
]
Outputs = Annotated[
    str | Sequence[str | int],
    Setting(("str", "list"), allowed=("loose", "all"), items=_end, length=(1, 102)),
]


# ------------------------------------------------------------------------------------ graph
class Graph(NamedTuple):
    """A cell's graph. Sources are numbered: 0 the input, 1 `previous`, from 2 on the nodes.

    nodes  of each node its edges (operation, source); `none` is left out but where it is all
    ends   the sources that are concatenated
    used   which of the two inputs something reads
    """

    nodes: list[list[tuple[str, int]]]
    ends: list[int]
    used: tuple[bool, bool]


def graph_of(nodes: Sequence[Sequence[Mapping[str, Any]]], output: str | Sequence[Any]) -> Graph:
    """Rows of settings as a Graph. Raises Misfit for an end that is no node, an idle node."""
    wired: list[list[tuple[str, int]]] = []
    read: set[int] = set()
    for edges in nodes:
        found = [(edge["op"], _source(edge["from"])) for edge in edges if edge["op"] != "none"]
        read.update(source for _, source in found)
        wired.append(found or [("none", 0)])
    inner = range(2, len(nodes) + 2)
    if output == "all":
        ends = list(inner)
    elif output == "loose":
        ends = [source for source in inner if source not in read]
    else:
        ends = [_source(name) for name in output]
        _check_ends(ends, read, len(nodes))
    used = read.union(ends)
    return Graph(wired, ends, (0 in used, 1 in used))


def _source(name: str | int) -> int:
    if name.__class__ is int:
        return name + 1
    return 0 if name == "input" else 1


def _check_ends(ends: list[int], read: set[int], many: int) -> None:
    for end in ends:
        if end > many + 1:
            raise Misfit(
                f"output names node {end - 1}, and there are {many}: "
                f"{', '.join([*INPUTS, *map(str, range(1, many + 1))])}"
            )
        if ends.count(end) > 1:
            name = INPUTS[end] if end < 2 else f"node {end - 1}"
            raise Misfit(f"output names {name} twice; name it once")
    for source in range(2, many + 2):
        if source not in read and source not in ends:
            raise Misfit(
                f"node {source - 1} dangles: no node takes it, and output does not name it; "
                "add it to output, or write output: loose"
            )


# ------------------------------------------------------------------------------------- cell
class Cell(nn.Module):
    """A Graph as a module; `dag` and `nasnet_cell` are this one.

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
        stride: int,
        combine: str,
        skip_input: bool,
        padding: str,
        norm: Any,
        act: str,
    ) -> None:
        super().__init__()
        self.graph, self.combine, self.skip_input = graph, combine, skip_input
        how: dict[str, Any] = {"padding": padding, "norm": norm, "act": act}
        channels = [in_channels, previous[0] if previous else in_channels]
        self.starts = nn.ModuleDict()
        by = reduction(previous[1:], size) if previous else 1
        # the input's comes first where `previous` shrinks: the order of the published weights
        for source in (0, 1) if by > 1 else (1, 0):
            if graph.used[source] and (source == 0 or previous):
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
            make_operation("skip", channels[at], width, stride, **how) if at < 2 else nn.Identity()
            for at in graph.ends
        )

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
        return torch.cat(ends, 1)  # (N, sum of the ends, H / stride, W / stride)


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
State = tuple[tuple[int, int, int], int, int]  # (channels, height, width), view_h, view_w


def count_cell(
    tally: Tally,
    graph: Graph,
    *,
    width: int,
    stride: int,
    combine: str,
    padding: str,
    norm: Any,
    act: str,
) -> None:
    """Move a tally over a Cell with these settings."""
    how = (padding, norm == "batch" or not is_none(norm), act)
    states = _start(tally, graph, width, how)
    height, wide = -(-tally.height // stride), -(-tally.width // stride)
    jump_h, jump_w = tally.jump_h, tally.jump_w
    apart_h, apart_w = jump_h * stride, jump_w * stride
    for edges in graph.nodes:
        view_h = view_w = 0
        for name, source in edges:
            shape, see_h, see_w = states[source]
            if source < 2:
                found = price(name, shape, width, stride, *how)
                see_h += found.reach_h * jump_h
                see_w += found.reach_w * jump_w
            else:
                found = price(name, shape, width, 1, *how)
                see_h += found.reach_h * apart_h
                see_w += found.reach_w * apart_w
            if found.largest:
                found.book(tally)
            view_h, view_w = max(view_h, see_h), max(view_w, see_w)
        channels = width * len(edges) if combine == "concat" else width
        states.append(((channels, height, wide), view_h, view_w))
    _finish(tally, graph, states, width, stride, how)


def _start(tally: Tally, graph: Graph, width: int, how: tuple[str, bool, str]) -> list[State]:
    """The cell's two inputs, brought to its width where they are used."""
    tally.need_image()
    size = (tally.height, tally.width)
    states: list[State] = [((tally.channels, *size), tally.view_h, tally.view_w)]
    previous: Place | None = tally.previous
    if previous is None:
        states.append(states[0])
    else:
        states.append((previous[:3], previous[5], previous[6]))
    if graph.used[0]:
        price("conv_1x1", states[0][0], width, 1, *how).book(tally)
        states[0] = ((width, *size), tally.view_h, tally.view_w)
    if previous is None or not graph.used[1]:
        return states
    if previous[3]:
        raise Misfit(f"takes the output before its input too, a vector of {previous[0]} values")
    by, view_h, view_w = reduction(previous[1:3], size), previous[5], previous[6]
    if by == 1:
        price("conv_1x1", previous[:3], width, 1, *how).book(tally)
    else:
        reduction_price(previous[:3], width, by, *how[1:]).book(tally)
        view_h, view_w = view_h + previous[7], view_w + previous[8]
    states[1] = ((width, *size), view_h, view_w)
    return states


def _finish(
    tally: Tally,
    graph: Graph,
    states: list[State],
    width: int,
    stride: int,
    how: tuple[str, bool, str],
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
    tally.view_h, tally.view_w = view_h, view_w
    tally.jump_h *= stride
    tally.jump_w *= stride
    tally.activated = tally.pending = False
    values = channels * tally.height * tally.width
    tally.kept += values
    if values > tally.largest:
        tally.largest = values


# --------------------------------------------------------------------------------- operator
@operator("dag")
class Dag(Cell):
    """A cell of your own graph: each node adds operations on inputs or nodes (Zoph et al. 2017).

    nodes       a list of nodes, each a list of edges {op, from}; `from` is input, previous, or
                the number of an earlier node, counted from 1
    width       channels of every node; the row's output has as many times more as it has ends
    output      the ends, concatenated: loose (nodes that no other takes), all nodes, or a list
    combine     how a node joins its edges: add, or concat (its channels then multiply)
    stride      of the operations on the two inputs: 2 makes a reduction cell
    padding     same_tf: TensorFlow's, at the strided operations
    skip_input  the next cell looks back past this one's input, to the output before it
    """

    def __init__(
        self,
        in_channels: int,
        nodes: Nodes,
        width: NodeWidth,
        stride: Count = 1,
        output: Outputs = "loose",
        combine: Literal["add", "concat"] = "add",
        padding: CellPadding = "same",
        norm: Norm = "batch",
        act: ActName = "relu",
        skip_input: bool = False,
        size: tuple[int, int] = (32, 32),
        previous: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__(
            graph_of(nodes, output), in_channels, size, previous,
            width=width, stride=stride, combine=combine, skip_input=skip_input,
            padding=padding, norm=norm, act=act,
        )  # fmt: skip

    @staticmethod
    def cost(
        tally: Tally, nodes: Any, width: int, stride: int, output: Any, combine: str,
        padding: str, norm: Any, act: str, skip_input: bool,
    ) -> None:  # fmt: skip
        count_cell(
            tally, graph_of(nodes, output),
            width=width, stride=stride, combine=combine, padding=padding, norm=norm, act=act,
        )  # fmt: skip

"""Cells given as graphs: nodes that add up operations on the cell's inputs and on earlier nodes.

What a file may say is checked when it is loaded, holes with all they can take: a node can only
follow on earlier ones, so that every draw is a graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from ..errors import hint
from ..registry import Setting
from .cell_graph import INPUTS, Cell, Graph, count_cell
from .cell_operations import OPERATIONS, CellPadding
from .gated import gated_operator
from .settings import ActName, Count, Norm
from .tally import Misfit, Tally


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


# --------------------------------------------------------------------------------- operator
@gated_operator("dag")
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

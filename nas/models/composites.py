"""Rows within rows: a list that is repeated as a whole, and parallel branches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from .operators import operator
from .resize import Resize
from .settings import RowList, RowLists
from .tally import Tally

Take = Callable[[Any], nn.Sequential]  # walks rows within a row; returns what is built of them


class Chain(nn.Sequential):
    """Modules one after the other; those that look back get the output before their input too.

    A chain within a chain counts as its modules. The image is no output, resized or not: a module
    that stands first or second gets its own input twice. After a module with `skip_input`, the
    next one looks back past that module's input, to the output before it. Side heads stand aside:
    what follows reads past them, and one with an `of` reads the output of the child of that name.
    """

    def forward(self, x: Tensor) -> Tensor:
        heads = (module for module in self.steps() if getattr(module, "aside", False))
        read = {str(head.of): x for head in heads if getattr(head, "of", None)}
        previous: Tensor | None = None
        output: Tensor | None = None  # x, once it is one
        for name, child in self.named_children():
            for module in child.steps() if isinstance(child, Chain) else (child,):
                if getattr(module, "aside", False):
                    module(read.get(str(getattr(module, "of", None)), x))
                    continue
                if getattr(module, "looks_back", False):
                    y = module(x, x if previous is None else previous)
                else:
                    y = module(x)
                if output is None and isinstance(module, Resize):
                    x = y  # still the image
                    continue
                if not getattr(module, "skip_input", False):
                    previous = output
                x = output = y
            if name in read:
                read[name] = x
        return x

    def steps(self) -> Iterator[nn.Module]:
        """The modules of this chain and of the chains within it."""
        for module in self:
            if isinstance(module, Chain):
                yield from module.steps()
            else:
                yield module


@operator("rows")
class Rows(Chain):
    """Rows one after the other as one row, to be repeated: [[conv]*N -> pool]*M."""

    def __init__(self, rows: RowList) -> None:
        super().__init__(OrderedDict(rows.named_children()))

    @staticmethod
    def cost(tally: Tally, rows: Any, take: Take) -> dict[str, Any]:
        return {"rows": take(rows)}


@operator("branches")
class Branches(nn.Module):
    """Parallel lists of rows on one input, their outputs concatenated or added.

    Szegedy et al. 2014 (concat), He et al. 2015 (add). All must end with one height and width,
    for `add` with one number of channels too.
    """

    def __init__(self, branches: RowLists, join: Literal["concat", "add"] = "concat") -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        outputs = [branch(x) for branch in self.branches]  # each (N, C_k, H', W')
        if self.join == "concat":
            return torch.cat(outputs, 1)  # (N, sum of C_k, H', W')
        return cast(Tensor, sum(outputs[1:], outputs[0]))  # (N, C_k, H', W')

    @staticmethod
    def cost(tally: Tally, branches: Any, join: str, take: Take) -> dict[str, Any]:
        start, ends, made = tally.place(), [], []
        for rows in branches:
            tally.go(start)
            made.append(take(rows))
            ends.append(tally.place())
        tally.join(ends, join)
        return {"branches": made, "join": join}

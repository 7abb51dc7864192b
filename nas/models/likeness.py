"""Whether two architectures are one network: by price, by layers, by modules, by weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..space import Architecture
from .building import build
from .pricing import cost
from .recording import record

MOST_PARAMS = 20_000_000  # above, initial weights are not compared: 80 MB a network
PLAIN = (bool, int, float, str, tuple, type(None))


def same_network(a: Architecture, b: Architecture, **of: Any) -> bool:
    """Whether both build the same modules with the same initial weights; names may differ.

    `of`: classes, channels, size. Where it is too costly to say, they count as different.
    Raises ShapeError.
    """
    # the cheapest question first: 0.1 ms, 0.5 ms, 50 ms
    price, other = cost(a, **of), cost(b, **of)
    if [row[2:] for row in price.rows] != [row[2:] for row in other.rows]:
        return False
    layers, others = record(a, **of).layers, record(b, **of).layers
    if [layer[1:] for layer in layers] != [layer[1:] for layer in others]:
        return False
    with torch.device("meta"):
        if _modules(build(a, **of)) != _modules(build(b, **of)):
            return False
    return price.params <= MOST_PARAMS and _weights_agree(a, b, **of)


def _modules(module: nn.Module) -> tuple[Any, ...]:
    """Classes, plain attributes and shapes of parameters, all the way down."""
    plain = {
        key: value
        for key, value in sorted(vars(module).items())
        if key != "training" and not key.startswith("_") and isinstance(value, PLAIN)
    }
    if isinstance(module, nn.Conv2d):  # a kernel of one pixel has nothing to spread
        pairs = zip(module.kernel_size, module.dilation, strict=True)
        plain["dilation"] = tuple(apart if kernel > 1 else 1 for kernel, apart in pairs)
    shapes = [tuple(parameter.shape) for parameter in module.parameters(recurse=False)]
    kind = nn.Sequential if isinstance(module, nn.Sequential) else type(module)
    return (kind, plain, shapes, [_modules(child) for child in _steps(module)])


def _steps(module: nn.Module) -> Iterator[nn.Module]:
    """Its children; a sequence within a sequence counts as its modules."""
    for child in module.children():
        if isinstance(module, nn.Sequential) and isinstance(child, nn.Sequential):
            yield from _steps(child)
        else:
            yield child


def _weights_agree(a: Architecture, b: Architecture, **of: Any) -> bool:
    """A scale that starts at 0 shows in the values alone."""
    states = []
    with torch.random.fork_rng(devices=[]):
        for architecture in (a, b):
            torch.manual_seed(0)
            states.append(build(architecture, **of).state_dict().values())
    return all(torch.equal(x, y) for x, y in zip(*states, strict=True))

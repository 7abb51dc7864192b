"""Operators and cells as nn.Modules; `build` and `cost` of an architecture.

An operator is a class in one of the files below and one line above it, `@operator("name")`;
importing the file registers it.
"""

from __future__ import annotations

from ..plugins import load_installed
from . import (  # noqa: F401  (registers their operators)
    aux_head,
    bottleneck,
    composites,
    conv,
    dag,
    dense,
    dense_net,
    fire,
    highway,
    inception,
    lenet,
    maxout,
    mbconv,
    mlpconv,
    nasnet,
    nb201,
    norm_act,
    pool,
    residual,
    resize,
    separable,
    shuffle,
    squeeze_excite,
    stem,
    transposed,
    xception,
)
from .building import build
from .operators import operator
from .pricing import Cost, RowCost, cost
from .recording import Layer, Record, record

__all__ = ["Cost", "Layer", "Record", "RowCost", "build", "cost", "operator", "record"]

load_installed()

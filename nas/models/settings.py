"""The vocabulary of operators' settings: annotations that mypy and the file's checks both read.

`channels: Channels` in an `__init__` is an int to Python; the `Setting` it carries says what a
row of a file may hold there. A new kind of value is one line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from torch import nn

from ..registry import Setting

Size: TypeAlias = int | tuple[int, int]
ActName: TypeAlias = Literal[
    "relu", "relu6", "tanh", "scaled_tanh", "sigmoid", "silu", "hardswish", "none"
]
GateName: TypeAlias = Literal["sigmoid", "hardsigmoid"]

ACTS = ("relu", "relu6", "tanh", "scaled_tanh", "sigmoid", "silu", "hardswish", "none")
GATES = ("sigmoid", "hardsigmoid")
NORMS = ("batch", "lrn", "none")

_NORM_FIELDS = {
    "kind": Setting(("str",), "batch", allowed=NORMS),
    "eps": Setting(("float",), 1e-5, above=0, about="added to the variance"),
    "momentum": Setting(("float",), 0.1, above=0, high=1, about="weight of the new batch"),
}
_SE_FIELDS = {
    "ratio": Setting(("float",), low=0, high=1, about="squeezed channels, as a share; 0: off"),
    "of": Setting(("str",), "gated", allowed=("gated", "input"), about="a share of what"),
    "round_to": Setting(("int",), 1, low=1, high=1024, about="squeezed channels to multiples"),
    "act": Setting(("str",), "relu", allowed=ACTS),
    "gate": Setting(("str",), "sigmoid", allowed=GATES),
}

Channels = Annotated[int, Setting(("int", "relative"), low=1, about="output channels")]
Width = Annotated[int | None, Setting(("int",), low=1, about="inner channels")]
BranchWidths = Annotated[Sequence[int] | None, Setting(("ints",), low=1, about="inner channels")]
SameChannels = Annotated[
    int | None, Setting(("int", "relative"), low=1, about="output channels; left out: the input's")
]
Kernel = Annotated[Size, Setting(("int", "pair"), low=1, about="height and width of the window")]
OddKernel = Annotated[int, Setting(("int",), low=1, about="odd side of the window")]
FormKernel = Annotated[
    int | None, Setting(("int",), low=1, about="odd side of the window; left out: the form's")
]
Stride = Annotated[Size, Setting(("int", "pair"), low=1)]
PoolStride = Annotated[
    Size | None, Setting(("int", "pair"), low=1, about="left out: the kernel's size")
]
Count = Annotated[int, Setting(("int",), low=1)]
Positive = Annotated[float, Setting(("float",), above=0)]
NotNegative = Annotated[float, Setting(("float",), low=0)]
MaybeCount = Annotated[int | None, Setting(("int",), low=1)]
CountOrNone = Annotated[int, Setting(("int",), low=0, about="0: none")]
Padding = Annotated[
    Size | str,
    Setting(
        ("str", "int", "pair"),
        low=0,
        allowed=("same", "valid", "same_tf"),
        about="same: dilation * (kernel - 1) / 2 on each side; same_tf: TensorFlow's",
    ),
]
PoolPadding = Annotated[
    Size | str, Setting(("str", "int", "pair"), low=0, allowed=("same", "valid"))
]
PoolSize = Annotated[
    Size, Setting(("int", "pair"), low=1, about="height and width of the output, in values")
]
Ratio = Annotated[float, Setting(("float",), above=1, high=2, about="input size over output size")]
Connections = Annotated[
    str | Sequence[Sequence[int]] | None,
    Setting(
        ("str", "list"),
        allowed=("lenet5",),
        about="for each output map the input maps that it takes, counted from 0; left out: all",
    ),
]
Widths = Annotated[
    Size | None, Setting(("int", "pair"), low=1, about="inner channels, of both layers or of each")
]
Share = Annotated[float, Setting(("float",), low=0, high=1)]
DropRate = Annotated[
    float,
    Setting(("float",), low=0, high=1, about="of the last unit, less towards the image; 0: off"),
]
SqueezeRatio = Annotated[
    float, Setting(("float",), above=0, high=1, about="squeezed channels, as a share")
]
PositiveShare = Annotated[float, Setting(("float",), above=0, high=1)]
RowName = Annotated[str | None, Setting(("str",), about="an earlier row of the network")]
Bias = Annotated[bool | None, Setting(("bool",), about="left out: only where there is no norm")]
Norm = Annotated[
    str | Mapping[str, object], Setting(("str", "mapping"), allowed=NORMS, fields=_NORM_FIELDS)
]
SqueezeExcite = Annotated[
    float | Mapping[str, object],
    Setting(("float", "mapping"), low=0, high=1, fields=_SE_FIELDS, about="0: off"),
]

# rows within rows, built by the walk before the row that holds them
RowList = Annotated[nn.Module, Setting(("list",), about="rows, one after the other")]
RowLists = Annotated[Sequence[nn.Module], Setting(("list",), about="lists of rows, in parallel")]

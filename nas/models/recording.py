"""A network layer by layer: what `nas describe` tells beyond its price.

The same walk and the same arithmetic as `cost`, by a Tally that writes down what is asked of it,
so that ordinary pricing pays nothing for it. Nothing is built.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from torch import nn

from ..space import Architecture
from .image import image_size, resized
from .pricing import Cost, memory_by_image, memory_by_weight, priced
from .table import Row
from .tally import Place, Tally, is_none
from .walk import Children, Walk


class Layer(NamedTuple):
    """One layer within a row.

    name      its row, repetition and what it is there: `stage1.0.conv3x3`
    kind      conv3x3, dw3x3 (depthwise), linear, norm, pool2x2, product (of two maps, in an
              operator that is measured); else its row's operator
    shape, params, macs, activations, receptive_field, jump   as RowCost has them
    weights   of a convolution or linear layer, without its bias
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    params: int
    macs: int
    activations: int
    receptive_field: tuple[int, int]
    jump: tuple[int, int]
    weights: int


@dataclass(frozen=True)
class Record:
    """A network's price and its layers.

    price          as `cost` has it; its `memory` is for a batch
    outputs        values that each row puts out, all its repetitions together
    weight_layers  convolutions and linear layers on the longest path; projected shortcuts and
                   the gates of squeeze-and-excitations stand beside it (He et al. 2015 count so)
    by_image       bytes of a training step that one image takes
    by_weight      bytes of a training step that the parameters take, whatever the batch
    """

    price: Cost
    layers: tuple[Layer, ...]
    outputs: tuple[int, ...]
    weight_layers: int
    by_image: int
    by_weight: int

    def share(self) -> dict[str, dict[str, float]]:
        """Of each kind of layer, its share of the weights and of the multiply-adds, in [0, 1].

        Over convolutions and linear layers, biases left out (Howard et al. 2017, Table 2).
        """
        sums: dict[str, list[int]] = {}
        for layer in self.layers:
            if layer.weights or layer.macs:
                found = sums.setdefault(layer.kind, [0, 0])
                found[0] += layer.weights
                found[1] += layer.macs
        params, macs = (max(1, sum(pair[k] for pair in sums.values())) for k in (0, 1))
        by_macs = sorted(sums.items(), key=lambda item: (-item[1][1], -item[1][0]))
        return {kind: {"params": w / params, "macs": m / macs} for kind, (w, m) in by_macs}


def record(
    architecture: Architecture,
    *,
    classes: int,
    channels: int,
    size: int | tuple[int, int] | None = None,
    batch: int = 1,
) -> Record:
    """`cost`, and every layer besides. Raises ShapeError."""
    height, width = image_size(architecture, size)
    tally = RecordingTally(channels, height, width)
    price = priced(architecture, classes, tally, resized(architecture, size), batch, RecordingWalk)
    return Record(
        price,
        tuple(Layer(*layer) for layer in tally.layers),
        tuple(tally.outputs),
        tally.depth,
        memory_by_image(tally),
        memory_by_weight(tally, architecture.recipe),
    )


# where each figure of a Layer stands while it is still a list
NAME, KIND, SHAPE, PARAMS, MACS, ACTIVATIONS, WEIGHTS = 0, 1, 2, 3, 4, 5, 8


class RecordingTally(Tally):
    """A Tally that writes down the layers which it goes through.

    depth    weight layers on the longest path so far
    layers   a list a layer, in the order of Layer's fields
    outputs  values that each row has put out
    """

    __slots__ = ("_quiet", "depth", "layers", "outputs")
    sums_up = False  # cells that add up equal steps walk them here, one by one

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width)
        self.depth = 0
        self.layers: list[list[Any]] = []
        self.outputs: list[int] = []
        self._quiet = False  # within a layer that moves a window as a part of it

    def log(self, kind: str, shape: tuple[int, int, int], before: tuple[int, int, int],
            weights: int = 0) -> None:  # fmt: skip
        """Write down a layer; `before`: parameters, multiply-adds and activations until then."""
        params, macs, activations = before
        self.layers.append(
            ["", kind, shape, self.params - params, self.macs - macs,
             self.activations - activations, (self.view_h, self.view_w),
             (self.jump_h, self.jump_w), weights]
        )  # fmt: skip

    def conv(
        self, channels: int, kernel: Any, stride: Any = 1, groups: int = 1, **more: Any
    ) -> None:
        inputs, before = self.channels, (self.params, self.macs, self.activations)
        self._quiet = True
        super().conv(channels, kernel, stride, groups, **more)
        self._quiet = False
        self.depth += 1
        weights = self.params - before[0] - (channels if more.get("bias") else 0)
        word = "dw" if groups == inputs > 1 else "conv"
        self.log(f"{word}{_window(kernel)}", self._shape(), before, weights)

    def window(self, kernel: Any, stride: Any, *more: Any, **named: Any) -> None:
        super().window(kernel, stride, *more, **named)
        if not self._quiet:
            before = (self.params, self.macs, self.activations)
            self.log(f"pool{_window(kernel)}", self._shape(), before)

    def norm_act(self, norm: Any, act: str, **named: Any) -> None:
        before = (self.params, self.macs, self.activations)
        super().norm_act(norm, act, **named)
        if not is_none(norm):
            self.log("norm", self._shape(), before)

    def pointwise(self, before: int, channels: int, pixels: int, *, bias: bool, norm: Any) -> None:
        sums = (self.params, self.macs, self.activations)
        super().pointwise(before, channels, pixels, bias=bias, norm=norm)
        whole = pixels == self.height * self.width
        shape = (channels, self.height, self.width) if whole else (channels, pixels, 1)
        self.log("conv1x1", shape, sums, before * channels)
        gate = pixels == 1 and bias and is_none(norm)
        self.layers[-1][NAME] = "gate" if gate else "shortcut"

    def linear(self, channels: int) -> None:
        weights, before = self.channels * channels, (self.params, self.macs, self.activations)
        super().linear(channels)
        self.depth += 1
        self.log("linear", self._shape(), before, weights)

    def measured(self, layers: Sequence[tuple[Any, ...]], depth: int) -> None:
        for kind, shape, params, macs, activations, weights, view, step in layers:
            seen = (self.view_h + (view[0] - 1) * self.jump_h,
                    self.view_w + (view[1] - 1) * self.jump_w)  # fmt: skip
            jump = math.ceil(self.jump_h * step[0]), math.ceil(self.jump_w * step[1])
            self.layers.append(
                ["", kind, shape, params, macs, activations, seen, jump, weights]
            )  # fmt: skip
        self.depth += depth

    def place(self) -> Place:
        return cast(Place, (*super().place(), self.depth))

    def go(self, place: Place) -> None:
        super().go(place[:9])
        self.depth = max(cast(Sequence[int], place)[9:], default=self.depth)

    def join(self, ends: list[Place], how: str) -> None:
        super().join(ends, how)
        depths = [depth for end in ends for depth in cast(Sequence[int], end)[9:]]
        self.depth = max(depths, default=self.depth)

    def _shape(self) -> tuple[int, int, int]:
        return (self.channels, self.height, self.width)


class RecordingWalk(Walk):
    """A Walk that tells its RecordingTally's layers which row and repetition they are of."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._path: list[str] = []
        self._branches: list[int] = []  # walked so far, of each row around
        self._written = 0

    def row(self, row: Row, children: Children) -> None:
        within, before = bool(self._path), self._written
        super().row(row, children)
        if not within:
            _recording(self._tally).outputs.append(self._written - before)

    def nested(self, rows: Sequence[Row]) -> nn.Sequential:
        self._branches[-1] += 1
        here, number = self._path, self._branches[-1]
        self._path = [*here, *([f"branches.{number - 1}"] if number else [])]
        made = super().nested(rows)
        self._path = here
        return made

    def _price(self, row: Row) -> None:
        for repetition in range(row.repeat or 1):  # each by itself: it gets layers of its own
            self._step(row, repetition)

    def _step(self, row: Row, repetition: int) -> Any:
        tally, here = _recording(self._tally), self._path
        self._path = [*here, row.name, *([] if row.repeat is None else [str(repetition)])]
        self._branches.append(0 if "branches" in row.settings else -1)
        first, depth = len(tally.layers), tally.depth
        before = (tally.params, tally.macs, tally.activations)
        made = super()._step(row, repetition)
        own = tally.layers[first:]
        _settle(tally, row, own, before, depth)
        if not row.operator.composite:
            _name(tally.layers[first:], ".".join(self._path))
        self._path = here
        self._branches.pop()
        if not here and not row.operator.aside:  # a side head hands its input on
            self._written += tally.channels * tally.height * tally.width
        return made


def _recording(tally: Tally) -> RecordingTally:
    assert isinstance(tally, RecordingTally)
    return tally


def _settle(
    tally: RecordingTally,
    row: Row,
    own: list[list[Any]],
    before: tuple[int, int, int],
    depth: int,
) -> None:
    """What an operator has added to the sums by itself, beside the tally's layers.

    It belongs to the one weight layer where there is one (LeNet-5's connection table), else it
    is a layer of its own, named by the operator.
    """
    sums = (tally.params, tally.macs, tally.activations)
    rest = [
        now - then - sum(layer[at] for layer in own)
        for now, then, at in zip(sums, before, (PARAMS, MACS, ACTIVATIONS), strict=True)
    ]
    if not any(rest) and (own or row.operator.composite):
        return
    weighted = [layer for layer in own if layer[WEIGHTS]]
    if len(weighted) == 1:
        for at, value in zip((PARAMS, MACS, ACTIVATIONS), rest, strict=True):
            weighted[0][at] += value
        weighted[0][WEIGHTS] += rest[0] if rest[1] else 0
        if rest[2]:  # its maps were summed: LeNet-5's are no depthwise convolution
            weighted[0][SHAPE] = (tally.channels, tally.height, tally.width)
            weighted[0][KIND] = weighted[0][KIND].replace("dw", "conv")
        return
    shape = (tally.channels, tally.height, tally.width)
    then = tuple(now - value for now, value in zip(sums, rest, strict=True))
    tally.log(row.operator.name, shape, cast(Any, then), rest[0] if rest[1] else 0)
    if rest[1] and tally.depth == depth:
        tally.depth += 1


def _name(own: list[list[Any]], path: str) -> None:
    """`path` for a row's one layer, else `path` and what the layer is, numbered where needed."""
    main = [layer for layer in own if layer[KIND] != "norm"] if len(own) > 1 else own
    seen: dict[str, int] = {}
    for layer in own:
        word = layer[NAME] or layer[KIND]
        seen[word] = number = seen.get(word, 0) + 1
        alone = len(main) == 1 and layer is main[0]
        layer[NAME] = path if alone else f"{path}.{word}{f'_{number}' if number > 1 else ''}"


def _window(kernel: Any) -> str:
    return f"{kernel}x{kernel}" if isinstance(kernel, int) else f"{kernel[0]}x{kernel[1]}"

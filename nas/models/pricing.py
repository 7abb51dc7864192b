"""What a network costs, by arithmetic: parameters, multiply-adds, memory, receptive field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import ShapeError
from ..space import Architecture
from .image import image_size, resized, with_fitting_size
from .table import Row
from .tally import Tally
from .walk import Walk, walk

BYTES = 4  # of a float32


class RowCost(NamedTuple):
    """One line of `nas describe`; the repetitions of a row are summed.

    shape            (channels, height, width) of the output, (channels, 1, 1) for a vector
    macs             multiply-adds of convolutions and linear layers, one image
    activations      output values of convolutions, one image
    memory           bytes that training keeps of this row until the backward pass, one image
    receptive_field  (height, width) in pixels of the image that one output value sees; a
                     squeeze-and-excitation's gate, which sees everything, is left out
    jump             (height, width) in pixels between neighbouring output values' views
    """

    name: str
    op: str
    shape: tuple[int, int, int]
    params: int
    macs: int
    activations: int
    memory: int
    receptive_field: tuple[int, int]
    jump: tuple[int, int]


@dataclass(frozen=True)
class Cost:
    """The price of a network for one image.

    params       trainable parameters
    side_params  those of side heads among them, which `limits` leave out
    macs         multiply-adds of convolutions and linear layers
    activations  output values of convolutions (Radosavovic et al. 2020 find that they foretell
                 run time better than macs do)
    memory       bytes of training in float32 with a batch of `batch` images:
                 batch · (the image, what the backward pass needs, two of the largest tensor for
                 the gradients in flight) + parameters, gradients, the optimizer's state and the
                 norms' running statistics; a library's workspace is not in it
    batch        what `memory` is for
    rows         one RowCost a row, in order, added ones (see `walk.py`) included
    """

    params: int
    macs: int
    activations: int
    memory: int
    batch: int
    rows: tuple[RowCost, ...]
    side_params: int = 0

    def limited(self, name: str) -> int:
        """What the limit of that name bounds: an evaluated network has no side heads."""
        value: int = getattr(self, name)
        return value - self.side_params if name == "params" else value


def cost(
    architecture: Architecture,
    *,
    classes: int,
    channels: int,
    size: int | tuple[int, int] | None = None,
    batch: int = 1,
) -> Cost:
    """Price an architecture for images of `size` pixels and `channels`, without building it.

    `size` None takes the file's `input`. Raises ShapeError, with the row's file:line, where the
    rows do not fit each other or the image.
    """
    height, width = image_size(architecture, size)
    tally = Tally(channels, height, width)
    return priced(architecture, classes, tally, resized(architecture, size), batch)


def priced(
    architecture: Architecture,
    classes: int,
    tally: Tally,
    resize: tuple[int, int] | None,
    batch: int = 1,
    walker: type[Walk] | None = None,
) -> Cost:
    """`cost` by a tally that stands at the image, taken through the network by `walker`.

    `resize`: what the image is resampled to first.
    """
    image = tally.channels, (tally.height, tally.width)
    rows: list[RowCost] = []
    last = (0, 0, 0, tally.kept)

    def on_row(row: Row, t: Tally) -> None:
        nonlocal last
        params, macs, activations, kept = last
        last = t.params, t.macs, t.activations, t.kept
        rows.append(
            RowCost(  # by position, which takes half the time
                row.name,
                row.operator.name,
                (t.channels, t.height, t.width),
                t.params - params,
                t.macs - macs,
                t.activations - activations,
                BYTES * (t.kept - kept),
                (t.view_h, t.view_w),
                (t.jump_h, t.jump_w),
            )
        )

    try:
        walk(architecture, classes, tally, on_row=on_row, resize=resize, walker=walker)
    except ShapeError as error:
        raise with_fitting_size(error, architecture, classes, *image, resize) from error.__cause__
    memory = memory_by_image(tally) * batch + memory_by_weight(tally, architecture.recipe)
    return Cost(
        tally.params, tally.macs, tally.activations, memory, batch, tuple(rows), tally.side_params
    )


def memory_by_image(tally: Tally) -> int:
    """Bytes of a training step that each image takes: what the backward pass needs, gradients."""
    return BYTES * (tally.kept + 2 * tally.largest)


def memory_by_weight(tally: Tally, recipe: Mapping[str, Any]) -> int:
    """Bytes of a training step whatever the batch: parameters, gradients, optimizer, statistics."""
    return BYTES * (tally.buffers + tally.params * (2 + optimizer_values(recipe)))


def optimizer_values(recipe: Mapping[str, Any]) -> int:
    """How many values the recipe's optimizer remembers a parameter: momentum, two moments."""
    if recipe.get("optimizer", "sgd") == "adamw":
        return 2
    return 1 if recipe.get("momentum", 0.9) else 0

"""From an architecture to an nn.Module."""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from torch import nn

from ..errors import ShapeError
from ..space import Architecture
from .rows import Known, Row, image_size, walk, with_fitting_size
from .tally import Tally


def build(
    architecture: Architecture,
    *,
    classes: int,
    channels: int,
    size: int | tuple[int, int] | None = None,
) -> nn.Sequential:
    """The network as a plain nn.Sequential: (N, channels, H, W) to logits (N, classes).

    Its children bear the rows' names; a row that states `repeat` holds its repetitions as
    children 0, 1, …: `stage1.0.conv1.conv.weight`. `size` None takes the file's `input`; a network
    with global pooling takes other sizes afterwards too. Weights are drawn from torch's global
    generator: `torch.manual_seed` before makes them repeatable.
    Raises ShapeError, with the row's file:line, where the rows do not fit each other or the image.
    """
    height, width = image_size(architecture, size)
    children: OrderedDict[str, nn.Module] = OrderedDict()

    def on_step(row: Row, known: Known) -> None:
        context = {key: known[key] for key in row.operator.context}
        module = row.operator.module(**context, **row.settings)
        if row.repeat is None:
            children[row.name] = module
        else:
            repetitions = children.setdefault(row.name, nn.Sequential())
            cast(nn.Sequential, repetitions).append(module)

    try:
        walk(architecture, classes, Tally(channels, height, width), on_step=on_step)
    except ShapeError as error:
        raise with_fitting_size(
            error, architecture, classes, channels, (height, width)
        ) from error.__cause__
    return nn.Sequential(children)

"""From an architecture to an nn.Module."""

from __future__ import annotations

from torch import nn

from ..errors import ShapeError
from ..space import Architecture
from .image import check_asked, image_size, resized, with_fitting_size
from .tally import Tally
from .walk import walk


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
    check_asked(architecture, classes, channels)
    height, width = image_size(architecture, size)
    resize = resized(architecture, size)
    try:
        return walk(architecture, classes, Tally(channels, height, width), make=True, resize=resize)
    except ShapeError as error:
        raise with_fitting_size(
            error, architecture, classes, channels, (height, width), resize
        ) from error.__cause__

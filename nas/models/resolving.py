"""An architecture with its compound scaling carried out: what exports write."""

from __future__ import annotations

from ..space import Architecture, parse, require_architecture
from ..space.rewriting import rewritten
from .image import image_size, resized
from .scaling import scale_rows, scaled_by


def resolved(architecture: Architecture, size: int | tuple[int, int] | None = None) -> Architecture:
    """The same network without `scaling`: repeats, channels and resolution as whole numbers.

    `size`: of the images that it is for; compound scaling of their resolution becomes a row
    `resize`. None: the file's own `input` is scaled.
    """
    if not architecture.scaling:
        return architecture
    network = scale_rows(architecture.network, scaled_by(architecture))
    target = resized(architecture, size)
    first = None if target is None else {"name": "resize", "op": "resize", "size": list(target)}
    assumed = None
    if size is None and "size" in architecture.input:
        height, width = image_size(architecture, None)
        assumed = height if height == width else None
    text = rewritten(architecture, network, first=first, drop=["scaling"], input_size=assumed)
    return require_architecture(parse(text, path=architecture.path))

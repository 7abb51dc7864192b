"""An architecture with its compound scaling carried out: what exports write."""

from __future__ import annotations

from ..space import Architecture, parse, require_architecture
from ..space.rewriting import rewritten
from .image import image_size, resized
from .pricing import cost
from .scaling import scale_rows, scaled_by
from .table import table


def resolved(
    architecture: Architecture,
    size: int | tuple[int, int] | None = None,
    *,
    classes: int,
    channels: int,
) -> Architecture:
    """The same network without `scaling`: repeats, channels and resolution as whole numbers.

    `size`: of the images that it is for; compound scaling of their resolution becomes a row
    `resize`. None: the file's own `input` is scaled. Relative channels of the network's own rows
    become numbers too; those of rows within rows stay.
    """
    if not architecture.scaling:
        return architecture
    network = scale_rows(architecture.network, scaled_by(architecture))
    price = cost(architecture, classes=classes, channels=channels, size=size)
    widths = {row.name: row.shape[0] for row in price.rows}
    for row in table(architecture, classes):
        if isinstance(network[row.at[0]].get("channels"), str) and len(row.at) == 1:
            network[row.at[0]]["channels"] = widths[row.name]
    target = resized(architecture, size)
    first = None if target is None else {"name": "resize", "op": "resize", "size": list(target)}
    assumed = None
    if size is None and "size" in architecture.input:
        height, width = image_size(architecture, None)
        assumed = height if height == width else None
    text = rewritten(architecture, network, first=first, drop=["scaling"], input_size=assumed)
    return require_architecture(parse(text, path=architecture.path))

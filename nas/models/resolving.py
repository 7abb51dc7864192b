"""An architecture with its compound scaling carried out: what exports write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..space import Architecture, parse, require_architecture
from ..space.rewriting import rewritten
from .image import image_size, resized
from .scaling import scale_rows, scaled_by
from .table import Row
from .tally import Tally
from .walk import walk


def resolved(
    architecture: Architecture,
    size: int | tuple[int, int] | None = None,
    *,
    classes: int,
    channels: int,
) -> Architecture:
    """The same network without `scaling`: repeats, channels and resolution as whole numbers.

    `size`: of the images that it is for; compound scaling of their resolution becomes a row
    `resize`. None: the file's own `input` is scaled. Relative channels become numbers too.
    """
    if not architecture.scaling:
        return architecture
    network = scale_rows(architecture, scaled_by(architecture)).rows
    height, width = image_size(architecture, size)
    rows: list[Row] = []
    walk(
        architecture,
        classes,
        Tally(channels, height, width),
        resize=resized(architecture, size),
        on_row=lambda row, _: rows.append(row),
    )
    _write_widths(network, rows)
    target = resized(architecture, size)
    first = None if target is None else {"name": "resize", "op": "resize", "size": list(target)}
    assumed = None
    if size is None and "size" in architecture.input:
        height, width = image_size(architecture, None)
        assumed = height if height == width else None
    text = rewritten(architecture, network, first=first, drop=["scaling"], input_size=assumed)
    return require_architecture(parse(text, path=architecture.path))


def _write_widths(entries: Sequence[dict[str, Any]], rows: Sequence[Row]) -> None:
    """Put the widths that walking found into the rows, and into rows within rows."""
    for row in rows:
        entry = entries[row.at[-1]]
        if entry["op"] != row.operator.name:  # a row that was added on the way
            continue
        if entry.get("channels") and entry["channels"] != "classes":
            entry["channels"] = row.settings["channels"]
        inner = [entry.get("rows", ()), *entry.get("branches", ())]
        walked = [row.settings.get("rows", ()), *row.settings.get("branches", ())]
        for its_entries, its_rows in zip(inner, walked, strict=True):
            _write_widths(its_entries, its_rows)

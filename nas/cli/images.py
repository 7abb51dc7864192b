"""What the commands take about images: --size, --channels, --classes."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from ..errors import UserError

SizeOption = Annotated[
    str | None,
    typer.Option(metavar="N|HxW", help="Pixels a side, or HxW; the file's `input` by default."),
]
ChannelsOption = Annotated[int | None, typer.Option(min=1, help="1 grey, 3 colour.")]
ClassesOption = Annotated[int | None, typer.Option(min=1)]


def asked_image(
    command: str, size: str | None, channels: int | None, classes: int | None
) -> dict[str, Any]:
    """Those that were given; size as (height, width). Raises UserError."""
    asked: dict[str, Any] = {"channels": channels, "classes": classes}
    if size is not None:
        match = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", size.strip(), re.ASCII)
        more = f"such as 224 or 224x160; nas {command} --help lists what it takes"
        if match is None:
            raise UserError(f"nas {command}: --size {size} must be a whole number or HxW, {more}")
        pair = (int(match[1]), int(match[2] or match[1]))
        if min(pair) < 1:
            raise UserError(f"nas {command}: --size {size} must be at least 1, {more}")
        asked["size"] = pair
    return {key: value for key, value in asked.items() if value is not None}

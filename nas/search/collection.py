"""Short pauses for garbage: a driver keeps every trial, and Python looks at all it keeps again."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

FULL = 2  # the generation in which everything is looked at


@contextlib.contextmanager
def short_collections() -> Iterator[None]:
    """What a full collection has found alive is not looked at again while this lasts.

    Else each one takes longer the more trials there are: 0.2 s at 4,000 of them, in which no slot
    gets its next trial. Cycles made later of what is kept so are freed at the end.
    """
    if gc.get_freeze_count():  # the program around us has its own way
        yield
        return
    gc.freeze()
    gc.callbacks.append(_keep)
    try:
        yield
    finally:
        gc.callbacks.remove(_keep)
        gc.unfreeze()


def _keep(phase: str, about: dict[str, Any]) -> None:
    if phase == "stop" and about["generation"] == FULL:
        gc.freeze()

"""What a search does with the signals that it is sent."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..core import Core


@contextlib.contextmanager
def signals(core: Core) -> Iterator[None]:
    """First SIGINT or SIGTERM: interrupt the core. Second: leave at once. SIGHUP: nothing, also in
    the processes that are started meanwhile: a closed terminal does not end a search."""
    if threading.current_thread() is not threading.main_thread():
        yield  # a notebook's worker thread: Python delivers signals to the main one
        return

    def handle(number: int, _: FrameType | None) -> None:
        if core.ending is not None:
            os._exit(130)  # Ray's processes follow when they miss their driver
        core.interrupt()

    before: dict[int, Any] = {
        name: signal.signal(name, handle) for name in (signal.SIGINT, signal.SIGTERM)
    }
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # else: somebody else's business
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

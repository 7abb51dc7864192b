"""What a search does with the signals that it is sent."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ...rundir import dismiss
from ..core import Core
from .strand import Strand

ECHO_SECONDS = 0.15  # in which a second signal is the first one again, and not somebody's second


@contextlib.contextmanager
def signals(core: Core, strand: Strand) -> Iterator[None]:
    """First SIGINT or SIGTERM: interrupt the core. Second: leave at once. SIGHUP: nothing, also in
    the processes that are started meanwhile: a closed terminal does not end a search.

    `timeout` sends its word to its child and then to the child's group; `uv run` passes on what
    the terminal sent to the group.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # a notebook's worker thread: Python delivers signals to the main one
        return

    heard = -math.inf

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal heard
        if time.monotonic() - heard < ECHO_SECONDS:
            return
        if core.ending is not None:
            strand.end_processes()  # they would follow by themselves, some of them later
            with contextlib.suppress(OSError):
                os.write(2, f"\nstopped at once; nas search --resume {core.run.path}\n".encode())
            dismiss()
            os._exit(130)
        if not core.over:  # else: it is at its end already, and only Ray's is waited for
            heard = time.monotonic()
            core.interrupt()
            heard = time.monotonic()  # the disk may have been waited for

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


def hear() -> None:
    """In a worker: leave a terminal's Ctrl-C, and a SIGTERM to its whole group, to the driver.

    A worker of our own Ray was started with SIGTERM blocked (see `strand`). Its children would
    inherit that, and could not be ended by it: so it is heard, and nothing is done. On a cluster
    it is the cluster's word.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux" and signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        os.register_at_fork(
            after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL) and None
        )
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


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

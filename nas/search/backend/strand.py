"""The thread that talks to Ray, beside the one that hears signals.

A call to a Ray that is dead or stuck does not come back: after 60 s without its GCS, Ray ends the
whole process. So the caller's thread only waits and hears signals, and leaves the other one behind
where a search that was told to stop does not come to its end.

The thread blocks SIGTERM, and Ray's processes inherit that from it: a SIGTERM to the whole process
or control group (`timeout`, systemd, Slurm) would kill them under the driver that is to end them.
It lives as long as they do: Linux kills them when the thread that started them is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import ray
from ray.tune import registry

from ..core import GRACE_SECONDS, Core
from .health import dead_part
from .processes import Process, end, of_session

LOOK_SECONDS = 0.2
LEAVE_SECONDS = GRACE_SECONDS + 6.0  # after the word to stop; the export comes after it
DEAD_SECONDS = 3.0  # the same, where Ray is dead already: it ends this process 14 s later
EXIT_SECONDS = 3.0  # that the process's exit may take then
CORE_SECONDS = 3.0  # that a step of the core may take


class Left(BaseException):
    """Ends a thread that was left behind: the search is over without it."""


class Strand:
    """Runs work that talks to Ray; the core is touched by one thread at a time."""

    def __init__(self, core: Core, clock: Callable[[], float] = time.monotonic) -> None:
        self._core, self._clock = core, clock
        self._lock = threading.RLock()
        self._left = False
        self._stopping: float | None = None  # since when
        self._known: list[Process] = []
        self.folder: str | None = None  # of the local Ray that runs, or starts

    @contextlib.contextmanager
    def core(self) -> Iterator[Core]:
        """The core, for a moment without calls to Ray. Raises Left in a thread left behind."""
        with self._lock:
            if self._left:
                raise Left
            yield self._core

    def run(self, work: Callable[[], None]) -> None:
        """Do the work in the other thread, to its end or until it has to be left behind."""
        raised: list[BaseException] = []
        over = threading.Event()
        context = contextvars.copy_context()  # who waits for a full disk

        def body() -> None:
            if sys.platform == "linux":  # elsewhere Ray's processes are ended by SIGTERM alone
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            try:
                context.run(work)
            except BaseException as error:
                raised.append(error)
            finally:
                over.set()

        threading.Thread(target=body, name="nas ray", daemon=True).start()
        while not over.wait(LOOK_SECONDS):
            if self._overdue() and self._leave():
                return
        if raised:
            raise raised[0]

    def _overdue(self) -> bool:
        if self._core.ending is None:
            return False
        now = self._clock()
        self._stopping = now if self._stopping is None else self._stopping
        waited = now - self._stopping
        return waited > LEAVE_SECONDS or (waited > DEAD_SECONDS and dead_part() is not None)

    def _leave(self) -> bool:
        """Whether the core could be taken away from the other thread: it may be at work itself."""
        if not self._lock.acquire(timeout=CORE_SECONDS):
            return False
        try:
            self._left = True
            self._core.run.log("Ray did not come to its end: it is left behind")
            self._core.suspend()
        finally:
            self._lock.release()
        self.end_processes()
        _exit_without_ray(130 if self._core.ending == "interrupted" else 1)
        return True

    def know_processes(self) -> None:
        """Once Ray is up: those below a raylet that has died cannot be found any more."""
        if self.folder is not None and not self._known:
            self._known = of_session(self.folder)

    def end_processes(self) -> None:
        """All of our own Ray, at once; of a cluster there are none."""
        if self.folder is not None:
            end([*self._known, *of_session(self.folder)])
            self._known = []


def _exit_without_ray(code: int) -> None:
    """What Ray does at the process's exit would wait for what does not answer; and Python may not
    take itself apart under a thread that is inside Ray's library."""

    def leave() -> None:
        late = threading.Timer(EXIT_SECONDS, os._exit, (code,))
        late.daemon = True
        late.start()
        for function in (leave, ray.shutdown, registry._unregister_all):
            atexit.unregister(function)
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):  # a closed terminal
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    atexit.register(leave)  # the last one registered is the first one called

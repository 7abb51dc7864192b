"""The thread that talks to Ray, beside the one that hears signals.

A call to a Ray that is dead or stuck does not come back. So the caller's thread only waits and
hears signals, ends a Ray that does not answer any more (see `pulse`), and leaves the other thread
behind where that does not help, or where a search that was told to stop does not come to its end.

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
from .health import dead_part, wake
from .processes import Process, alive, end, of_session
from .pulse import START_SECONDS, Pulse, states

LOOK_SECONDS = 0.2
LEAVE_SECONDS = GRACE_SECONDS + 6.0  # after the word to stop; the export comes after it
DEAD_SECONDS = 3.0  # the same, where Ray is dead already: it ends this process 14 s later
AFTER_SECONDS = 30.0  # for the other thread to come by, once a Ray that hung was ended
EXIT_SECONDS = 3.0  # that the process's exit may take then
CORE_SECONDS = 3.0  # that a step of the core may take


class Left(BaseException):
    """Ends a thread that was left behind: the search is over without it."""


class Strand:
    """Runs work that talks to Ray; the core is touched by one thread at a time."""

    def __init__(self, core: Core, clock: Callable[[], float] = time.monotonic) -> None:
        self._core, self._clock = core, clock
        self._lock = threading.RLock()
        self.pulse = Pulse(clock)
        self._ended = False  # this Ray, because it hung
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
            self.pulse.enter()
            try:
                yield self._core
            finally:
                self.pulse.leave()

    def begins(self) -> None:
        """Another Ray starts."""
        self.pulse.beat(START_SECONDS)
        self._ended = False

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

        self.begins()
        threading.Thread(target=body, name="nas ray", daemon=True).start()
        while not over.wait(LOOK_SECONDS):
            if self._overdue() and self._leave(None):
                return
            hung = self._hung()
            if hung and self._leave(hung):
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

    def _hung(self) -> str | None:
        """Why the search has to go on without Ray, though nobody asked it to stop.

        Our own Ray is ended first: then it is dead, which the other thread knows how to outlive,
        where it is not stuck for good.
        """
        if self._core.ending is not None:
            return None
        part = self.pulse.stopped(states())
        if part is not None:
            self._core.run.log(f"Ray's {part} was stopped from outside: it is told to go on")
            wake(part)
        silent = self.pulse.look(self._core.ledger.spent())
        if silent is None:
            return None
        said = f"Ray hangs: it has not answered for {silent:.0f} s"
        if not self._ended and alive(self._processes()):
            self._core.run.log(f"{said}; its processes are killed")
            self.end_processes()
            self._ended = True
            self.pulse.hurry(AFTER_SECONDS)
            return None
        return f"{said}, and the search stops; go on: nas search --resume {self._core.run.path}"

    def _leave(self, hung: str | None) -> bool:
        """Whether the core could be taken away from the other thread: it may be at work itself."""
        if not self._lock.acquire(timeout=CORE_SECONDS):
            return False
        try:
            self._left = True
            self._core.run.log("Ray did not come to its end: it is left behind")
            if hung and not self._core.over:
                self._core.notes.append(hung)
                self._core.interrupt("error")
            self._core.suspend()
        finally:
            self._lock.release()
        self.end_processes()
        _exit_without_ray(self._code())
        return True

    def _code(self) -> int:
        """Of the exit, which comes after the export."""
        if self._core.ending is not None:
            return 130 if self._core.ending == "interrupted" else 1
        return 0 if self._core.table.finalists() else 1  # only Ray's end was waited for

    def know_processes(self) -> None:
        """Once Ray is up: those below a raylet that has died cannot be found any more."""
        if self.folder is not None and not self._known:
            self._known = of_session(self.folder)

    def end_processes(self) -> None:
        """All of our own Ray, at once; of a cluster there are none."""
        end(self._processes())
        self._known = []

    def _processes(self) -> list[Process]:
        return [] if self.folder is None else [*self._known, *of_session(self.folder)]


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

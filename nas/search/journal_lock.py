"""The lock of a journal: the kernel's, so that it dies with its holder.

A holder that was stopped keeps it, and so does a dead client of a network file system. So the
wait is told of, and is not for ever.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from optuna.storages.journal._file import BaseJournalFileLock

from ..errors import StorageLost
from ..units import show_seconds

PATIENCE = 600.0  # seconds of trying again before a search gives a lost storage up
HURRY = 5.0  # the same, once the search was asked to stop
TOLD_SECONDS = 3.0  # of waiting, until it is said; others hold it for milliseconds
SHORTEST_PAUSE, LONGEST_PAUSE = 0.001, 0.1  # between two tries


class KernelLock(BaseJournalFileLock):
    """An exclusive `flock` on a file beside the journal.

    tell    hears what is waited for
    hurry   is asked whether to give up soon, because the search was told to stop
    waited  hears how many seconds a wait took
    lost    why it was given up; it is not waited for again
    """

    def __init__(self, journal: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        self._journal, self._path = journal, f"{journal}.lock"
        self._handle: int | None = None
        self._depth = 0
        self.tell = tell
        self.patience = PATIENCE
        self.hurry: Callable[[], bool] = lambda: False
        self.waited: Callable[[float], None] = lambda _: None
        self.lost: StorageLost | None = None

    def acquire(self) -> bool:
        """Wait for the lock; the kernel frees it when its holder dies. Reentrant."""
        if self._depth == 0 and self.lost is not None:
            raise self.lost
        self._depth += 1
        if self._depth > 1:
            return True
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            if not _taken(self._handle):
                self._wait(self._handle)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0 and self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _wait(self, handle: int) -> None:
        began, pause, told = time.monotonic(), SHORTEST_PAUSE, False
        while not _taken(handle):
            waited = time.monotonic() - began
            if waited >= (min(HURRY, self.patience) if self.hurry() else self.patience):
                self.waited(waited)
                self.lost = StorageLost(
                    f"{self._journal} was not free for {show_seconds(waited)}: "
                    f"{holder(handle)} holds {self._path}; nothing is lost in the run; once it is "
                    "free, go on with nas search --resume"
                )
                raise self.lost
            if not told and waited >= TOLD_SECONDS:
                told = True
                self.tell(
                    f"{self._journal} is not free: {holder(handle)} holds {self._path}; waiting "
                    f"up to {show_seconds(self.patience)} for it"
                )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        if told:
            waited = time.monotonic() - began
            self.waited(waited)
            self.tell(f"{self._journal} is free again, after {show_seconds(waited)}")


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder(handle: int) -> str:
    """Who holds a file's lock, as far as this machine's kernel knows."""
    try:
        inode = str(os.fstat(handle).st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()  # 1: FLOCK ADVISORY WRITE 4711 08:01:123456 0 EOF
            if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
                return _described(int(words[4]))
    except (OSError, ValueError, IndexError):
        pass
    return "a process of another machine, or one that cannot be seen from here,"


def _described(pid: int) -> str:
    """`pid N`, and that it is stopped where it is."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return f"pid {pid}"
    stopped = f", which is stopped (kill -CONT {pid} has it go on)," if state in "Tt" else ""
    return f"pid {pid}{stopped}"

"""What a search does when its disk is full: it waits, says so, and stops cleanly at last.

A worker that cannot write its checkpoint keeps the trained network in its memory and tells of it
once a second; the driver that cannot write a record or a file tries again once a second, in
place. No trial begins meanwhile, and nothing that was trained is lost.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import NasError, UserError
from ..rundir import RunDir, file_limit, free_space, patient
from ..units import show_bytes, show_seconds

WAIT_SECONDS = 600.0  # for space, before the search stops; the variable WAIT names another
WAIT = "NAS_DISK_WAIT"
LOOK_SECONDS = 1.0
LEAST_FILE = 2**20  # bytes
ENOUGH = 2**30  # bytes; a write that fails with so much free did not meet the disk's end


class DiskFull(NasError):
    """The disk was full for too long; the run can be resumed."""

    exit_code = 1


class _OutOfPatience(BaseException):
    """DiskFull on its way out: Ray Tune turns every Exception into its own."""


class Disk:
    """The disk of one run, as its driver sees it.

    say       is called with a sentence when the disk is found full, and when it no longer is
    stopping  whether the search is to end; then a full disk is not waited for
    """

    CAUSE = "disk full"  # of the search's end

    def __init__(
        self,
        run: RunDir,
        *,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._run, self._clock = run, clock
        self._say = say or (lambda _: None)
        self._waiting: dict[int, Path] = {}  # trials whose worker cannot write, and what
        self._since: float | None = None
        self.blocked = 0.0  # seconds that this process has waited in place, its trials with it
        self.stopping: Callable[[], bool] = lambda: False
        self.refresh: Callable[[], None] = lambda: None  # the live view, while the driver waits
        self._patience = wait_seconds()

    @property
    def notice(self) -> str | None:
        """One line for the live view while the disk is full."""
        if self._since is None:
            return None
        where = next(iter(self._waiting.values()), self._run.path)
        left = max(0.0, self._patience - (self._clock() - self._since))
        return (
            f"the disk of {where} is full ({_room(where)}): no new trials; "
            f"free some space, or the search stops in {show_seconds(left)}"
        )

    # --- workers ------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """A worker cannot write: no trial is to begin now."""
        return bool(self._waiting)

    def told(self, number: int, report: Mapping[str, Any]) -> None:
        """A worker's report: it may say that its disk is `full`."""
        path = report.get("full")
        if path is not None:
            self._waiting[number] = Path(str(path))
            self._begin()
        elif report["kind"] != "failed" and self._waiting.pop(number, None) is not None:
            self.written()

    def verdict(self, live: Container[int] = ()) -> str | None:
        """Why the search has to stop, `live` trials holding slots; None while it can go on."""
        gone = [number for number in self._waiting if number not in live]
        for number in gone:
            del self._waiting[number]
        if gone and not self._waiting and not self.stopping():
            self._since = None
        return self._impatient(next(iter(self._waiting.values()), self._run.path))

    def _impatient(self, path: Path) -> str | None:
        if self._since is None or self._clock() - self._since < self._patience:
            return None
        return self._sentence(path)

    # --- the driver ---------------------------------------------------------------------

    @contextlib.contextmanager
    def patience(self) -> Iterator[None]:
        """Inside, writes of this process wait for space. Raises DiskFull when it does not come."""
        try:
            with patient(self):
                yield
        except _OutOfPatience as error:
            raise DiskFull(str(error)) from None

    def wait(self, path: Path) -> None:
        """The driver's own write met a full disk: returns to have it tried again."""
        self._begin()
        if self._impatient(path) or self.stopping() or self._run.asked_to_stop():
            raise _OutOfPatience(self._sentence(path))
        began = self._clock()
        self.refresh()
        time.sleep(LOOK_SECONDS)
        self.blocked += self._clock() - began

    def book(self, seconds: float) -> None:
        """This process has waited in place for something else, such as a database."""
        self.blocked += seconds

    def written(self) -> None:
        """A write went through at last."""
        if self._since is not None and not self._waiting:
            self._since = None
            self._tell("there is space on the disk again: the search goes on")

    def _sentence(self, path: Path) -> str:
        waited = self._clock() - self._since if self._since is not None else 0.0
        return (
            f"{path} cannot be written, the disk is full ({_room(path)}, "
            f"waited {show_seconds(waited)}): free some space, then go on: nas search --resume "
            f"{self._run.path}"
        )

    def _begin(self) -> None:
        if self._since is None:
            self._since = self._clock()
            self._tell(self.notice or "")

    def _tell(self, sentence: str) -> None:
        self._run.log(sentence)
        self._say(sentence)


def _room(path: Path) -> str:
    """What is free on the disk, and what else it is where that is enough."""
    free, limit = free_space(path), file_limit()
    more = "; a quota, or a limit on this process" if free > ENOUGH else ""
    if limit is not None:
        more = f"; files of this process may hold {show_bytes(limit)}, see ulimit -f"
    return f"{show_bytes(free)} free{more}"


def refuse_small_files() -> None:
    """Raises UserError where this process's files may not become as large as Ray's logs do: it
    would hang."""
    limit = file_limit()
    if limit is not None and limit < LEAST_FILE:
        raise UserError(
            f"files of this process may hold {show_bytes(limit)} at most, and a search writes more "
            f"than {show_bytes(LEAST_FILE)} into one: ulimit -f unlimited"
        )


def wait_seconds() -> float:
    """How long a full disk is waited for."""
    try:
        return max(0.0, float(os.environ[WAIT]))
    except (KeyError, ValueError):
        return WAIT_SECONDS

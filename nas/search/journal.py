"""Optuna's journal file, hardened where it broke: the lock, and the opening.

The file's format is Optuna's own: its `JournalFileBackend` and optuna-dashboard read it.
Optuna's lock files outlive a killed process (12 of 14 restarts after SIGKILL waited 30 s for
one); a lock held by the kernel is freed when its process dies. A record torn by a crash made
every later open fail; here the torn tail is cut off when the file is opened for writing. A record
that a full disk broke off would have had the next one written onto it: it is cut off at once, and
written again when there is space, or the error is raised.

Optuna waits for the disk at every record, and a trial makes thirty. Here what belongs together is
written at once (`Journal.together`), and waits once; where nothing hangs on it yet it is written
and not waited for (`lasting` false). A killed process loses none of that, a power cut at most
LOOSE_SECONDS of it; the next wait, or `sync`, holds for all that came before.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage as JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalStorageReplayResult

from ..errors import RunError
from ..rundir import enduring, write_all
from .journal_lock import KernelLock

LOOSE_SECONDS = 1.0  # that a record may stand in the file before the disk is waited for
MOST_QUOTED = 40  # characters of a line that is no record


class NoRecord(Exception):
    """A line that is no record; `line` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


class JournalFile(JournalFileBackend):
    """Optuna's file backend: records are written whole or not at all, and many at once."""

    def __init__(self, path: Path, lock: KernelLock) -> None:
        self._kernel_lock = lock
        super().__init__(str(path), lock_obj=lock)
        self._holding = False
        self._held: list[dict[str, Any]] = []
        self._written: int | None = None  # records in the file, known from the first read on
        self._loose: list[tuple[int, bytes]] = []  # in the file, not yet waited for: where, what
        self._loose_since = 0.0
        self._refused = False  # the disk, when it was last waited for

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._holding:
            self._held += logs
            return
        self._write_held()  # what a full disk refused before
        self._append(logs)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """The records from that one on; those held back count as the file's last."""
        if self._written is None:
            logs = super().read_logs(log_number_from)
            while (log := self._next(logs, log_number_from)) is not None:
                log_number_from += 1
                yield log
            if self._holding:
                self._written = log_number_from
        if self._held:
            assert self._written is not None
            yield from self._held[log_number_from - self._written :]

    def _next(self, logs: Iterator[dict[str, Any]], number: int) -> dict[str, Any] | None:
        """The record behind the first `number` ones; None: there is none. Raises NoRecord."""
        try:
            log = next(logs, None)
        except ValueError:
            raise NoRecord(number + 1, "it is no JSON") from None
        if log is not None and not isinstance(log, dict):
            raise NoRecord(number + 1, "it is no JSON object")
        return log

    @contextlib.contextmanager
    def together(self, lasting: bool = True) -> Iterator[None]:
        """Write what happens inside at once; no other process writes then. The outermost says
        whether the disk is waited for."""
        if self._holding:
            yield
            return
        self._kernel_lock.acquire()
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            try:
                self._write_held(lasting)
            finally:
                self._kernel_lock.release()

    def sync(self) -> None:
        """What was told so far is on the disk, also what is held."""
        self._write_held()
        if self._loose:
            self._append([])

    def _write_held(self, lasting: bool = True) -> None:
        """All of it or nothing: what the disk refuses is still held, and tried again."""
        if self._held:
            assert self._written is not None
            self._append(self._held, lasting)
            end = self._written + len(self._held)
            self._log_number_offset[end] = os.path.getsize(self._file_path)
        self._held, self._written = [], None

    def _append(self, logs: list[dict[str, Any]], lasting: bool = True) -> None:
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        content = "".join(lines).encode()
        overdue = self._loose and time.monotonic() - self._loose_since > LOOSE_SECONDS
        wait = lasting or bool(overdue)
        enduring(Path(self._file_path), lambda: self._append_whole(content, wait))

    def _append_whole(self, content: bytes, wait: bool) -> None:
        with self._locked(), self._opened() as handle:
            end = os.lseek(handle, 0, os.SEEK_END)
            try:
                write_all(handle, content)
                if wait:
                    self._wait(handle)
            except BaseException:
                os.ftruncate(handle, end)
                os.fsync(handle)
                raise
            if not wait:
                self._loose_since = self._loose_since if self._loose else time.monotonic()
                self._loose.append((end, content))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._kernel_lock.acquire()
        try:
            yield
        finally:
            self._kernel_lock.release()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        handle = os.open(self._file_path, os.O_RDWR)
        try:
            yield handle
        finally:
            os.close(handle)

    def _wait(self, handle: int) -> None:
        """Have the file on the disk. What a disk has refused once it may forget, and accept the
        next time: so that it is written again."""
        if self._refused:
            for place, content in self._loose:
                os.pwrite(handle, content, place)
        self._refused = True
        os.fsync(handle)
        self._refused = False
        self._loose.clear()


class Replay(JournalStorageReplayResult):
    """Optuna's replay, which passes over records of studies and trials that are not there: trials
    are numbered by their records, and where one is missing the next would take its place."""

    def _study_exists(self, study_id: int, log: dict[str, Any]) -> bool:
        if study_id >= self._next_study_id:
            raise LookupError("its study is not there")
        return bool(super()._study_exists(study_id, log))

    def _trial_exists_and_updatable(self, trial_id: int, log: dict[str, Any]) -> bool:
        if trial_id not in self._trials:
            raise LookupError("its trial is not there")
        return bool(super()._trial_exists_and_updatable(trial_id, log))


class Journal(JournalStorage):
    """Optuna's storage on a JournalFile. Raises NoRecord."""

    def __init__(self, path: Path, lock: KernelLock | None = None) -> None:
        self.lock = lock or KernelLock(path)
        self._file = JournalFile(path, self.lock)
        super().__init__(self._file)

    def _sync_with_backend(self) -> None:
        if not isinstance(self._replay_result, Replay):
            self._replay_result = Replay(self._worker_id_prefix)
            self._begin()
        super()._sync_with_backend()

    def _begin(self) -> None:
        """The first replay, of what others wrote: whatever fails in it is a record's fault."""
        try:
            super()._sync_with_backend()
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            known = isinstance(error, LookupError) and not isinstance(error, KeyError)
            why = str(error) if known else "its values are not those of a record"
            raise NoRecord(self._replay_result.log_number_read, why) from None

    def together(self, lasting: bool = True) -> contextlib.AbstractContextManager[None]:
        """What happens inside is written at once; `lasting`: it is on the disk at the end."""
        return self._file.together(lasting)

    def sync(self) -> None:
        """What was told so far is on the disk, when this returns."""
        self._file.sync()


def open_journal(
    path: Path, *, mend: bool = True, tell: Callable[[str], None] = lambda _: None
) -> Journal:
    """A storage on the journal file. `mend` cuts a torn tail off first (writers only); `tell`
    hears what is waited for.

    Raises RunError where records are damaged further up: no crash does that.
    """
    lock = KernelLock(path, tell)
    if mend:
        mend_journal(path, lock)
    try:
        return Journal(path, lock)
    except NoRecord as found:
        raise _damaged(path, found.line, str(found)) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror})") from None


def look_over(path: Path) -> None:
    """Raises RunError where lines before the last one are no records by their ends: what can be
    seen without reading them, which takes seconds for 10,000 trials."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not (line.startswith(b"{") and line.endswith(b"}\n")) and file.peek(1):
                    raise _damaged(path, number, "it is no JSON object")
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror})") from None


def _damaged(path: Path, number: int, why: str) -> RunError:
    """No crash does that: appending is the only thing that ever happens to the file."""
    with path.open("rb") as file:
        line = next(itertools.islice(file, number - 1, None), b"")
    text = repr(line.rstrip(b"\n").decode(errors="backslashreplace"))
    quoted = text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]} …"
    kept = (
        f"keep the {number - 1:,} lines before it (head -n {number - 1}) and have a resume train "
        "again what stood behind"
    )
    return RunError(
        f"{path}:{number} is no record of the search ({quoted}; {len(line):,} bytes, {why}): the "
        "file was changed after it was written, and what stood there is nowhere else; put a copy "
        f"of it back, or {kept if number > 1 else 'begin a new search'}"
    )


def mend_journal(path: Path, lock: KernelLock | None = None) -> int:
    """Cut off what stands behind the last whole record; returns the bytes cut.

    A record is one line of JSON with its line feed. Only the tail is looked at: appending is
    the only thing that ever happens to the file.
    """
    lock = lock or KernelLock(path)
    lock.acquire()
    try:
        with path.open("r+b") as file:
            content = file.read()
            end = _end(content)
            if end < len(content):
                file.truncate(end)
                os.fsync(file.fileno())
            return len(content) - end
    finally:
        lock.release()


def torn_bytes(path: Path) -> int:
    """How many bytes `mend_journal` would cut off. Changes nothing."""
    content = path.read_bytes() if path.exists() else b""  # a run whose trials are elsewhere
    return len(content) - _end(content)


def _end(content: bytes) -> int:
    """Where the last whole record ends."""
    end = len(content)
    while end and not _whole(content, end):
        end = content.rfind(b"\n", 0, end - 1) + 1
    return end


def _whole(content: bytes, end: int) -> bool:
    """Whether the line that ends at `end` is a record."""
    if content[end - 1 : end] != b"\n":
        return False
    start = content.rfind(b"\n", 0, end - 1) + 1
    try:
        return isinstance(json.loads(content[start:end]), dict)
    except ValueError:
        return False

"""Files that are whole or not there at all, on disks that may be full.

A file is written under a temporary name, flushed to the disk and renamed; the folder is flushed
after that, so that the name survives a power cut too. What a killed process leaves behind is a
temporary file; `leftovers` finds it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol, TypeVar

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk's end, the quota's, the process's own
TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}\.tmp")

Result = TypeVar("Result")


class Patience(Protocol):
    """Somebody who waits for space. `wait` returns to have a write tried again, or raises;
    `written` hears that it went through at last."""

    def wait(self, path: Path) -> None: ...
    def written(self) -> None: ...


_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


def write_bytes(path: Path, content: bytes) -> None:
    """Write whole or not at all. Waits on a full disk where the caller is `patient`."""
    enduring(path, lambda: _write(path, content))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def _write(path: Path, content: bytes, previous: Path | None = None) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
    try:
        try:
            write_all(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.chmod(temporary, 0o644)
        if previous is not None:
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, previous)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    flush_folder(path.parent)


def write_all(handle: int, content: bytes) -> None:
    """A write that meets the end of the disk gives the number of bytes that still fitted."""
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the file system knows how to."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- checkpoints ------------------------------------------------------------------------


def write_checkpoint(folder: Path, content: bytes) -> None:
    """checkpoint.pt; the one before stays beside it as checkpoint.previous.pt.

    Killed between the two renames there is only the previous one: readers look at both.
    """
    _write(folder / CHECKPOINT, content, folder / PREVIOUS)


def settle(folder: Path) -> None:
    """A trial has ended: its last checkpoint is enough."""
    if (folder / CHECKPOINT).exists():
        with contextlib.suppress(OSError):
            (folder / PREVIOUS).unlink(missing_ok=True)


def checkpoint_fault(path: Path) -> str | None:
    """Why a checkpoint cannot be read, None where it can: every byte is held against its sum."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        words = " ".join(str(error).split()).lower() or type(error).__name__
        return f"truncated or damaged: {words}"
    return None if broken is None else f"damaged: {broken}"


# --- a full disk ------------------------------------------------------------------------


def enduring(path: Path, write: Callable[[], Result]) -> Result:
    """Write, and where the disk is full and somebody is `patient`, again when he says so."""
    patience, waited = _patience.get(), False
    while True:
        try:
            result = write()
        except OSError as error:
            if patience is None or not is_full(error):
                raise
        else:
            if waited and patience is not None:
                patience.written()
            return result
        patience.wait(path)
        waited = True


@contextlib.contextmanager
def patient(patience: Patience | None) -> Iterator[None]:
    """Inside, writes wait on a full disk; with None they raise at once, whoever is patient
    outside. Of this thread alone: a lock's heartbeat never waits."""
    token = _patience.set(patience)
    try:
        yield
    finally:
        _patience.reset(token)


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of space."""
    return error.errno in FULL


def file_limit() -> int | None:
    """The most bytes that a file of this process may have; None: as many as fit."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def advice(error: OSError) -> str:
    """What somebody can do whose write failed so."""
    if error.errno == errno.EFBIG:
        return "have it allow larger files (ulimit -f unlimited)"
    return "free some space" if is_full(error) else "give yourself the right to"


def free_space(path: Path) -> int:
    """Bytes that are free on the disk of a file or folder, there or yet to be made."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0


def leftovers(folder: Path) -> list[Path]:
    """Temporary files of a process that was killed, in the run folder and in its trials'."""
    folders = [folder, folder / "trials"]
    with contextlib.suppress(OSError):
        folders += [entry for entry in (folder / "trials").iterdir() if entry.is_dir()]
    found = []
    for place in folders:
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            found += [Path(entry.path) for entry in entries if TEMPORARY.fullmatch(entry.name)]
    return sorted(found)

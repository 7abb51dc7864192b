"""Who may write in a run folder: a kernel's lock, and beside it the heartbeat of its holder.

`flock` is freed by the kernel when its holder dies, however it dies; but it reaches only as far
as one machine on many shared file systems. So `.lock` says who holds it, and a thread writes it
anew every BEAT_SECONDS. On one machine the kernel decides. A holder on another machine is judged
by whether its beat changes within STALE_SECONDS of our own monotonic time, since clocks differ
and jump: one that does not change is of a dead host, and is taken over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import RunError
from .files import advice

NAME = ".lock"
BEAT_SECONDS = 3.0
STALE_SECONDS = 20.0  # six beats; attribute caches of network file systems hold for a few seconds
LOOK_SECONDS = 1.0
SETTLE_SECONDS = 1.0  # two that take over one lock: the second to write it has it
FAREWELL_SECONDS = 3.0  # for the heart to stop; it may hang in a lost network file system
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
WIDTH = 400  # bytes of the file, always: a beat is one write over the last one


@dataclass(frozen=True)
class Holder:
    """The process that `.lock` names. `started`: its start, in the kernel's ticks since boot."""

    pid: int
    host: str
    boot: str
    started: int
    token: str
    beat: int = 0

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"


class Hold:
    """A lock that is held: its heart beats until `release`."""

    def __init__(self, file: Path, handle: int, taken_over: str | None) -> None:
        self.taken_over = taken_over
        self.lost = False  # another host took it over while this process stood still
        self._file, self._handle = file, handle
        self._own = ourselves()
        self._over = threading.Event()
        self._write()
        self._heart = threading.Thread(target=self._beat, name="nas lock", daemon=True)

    def start(self) -> None:
        self._heart.start()

    def is_own(self) -> bool:
        """Whether the file still names this process."""
        found = read(self._file)
        return found is None or found.token == self._own.token

    def release(self) -> None:
        self._over.set()
        if self._heart.is_alive():
            self._heart.join(FAREWELL_SECONDS)
        if not self.lost and self.is_own():
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)  # another host need not watch for a beat

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                if not self.is_own():
                    self.lost = True
                    return
                self._own = replace(self._own, beat=self._own.beat + 1)
                self._write()

    def _write(self) -> None:
        text = f"{self._own}\n{json.dumps(asdict(self._own))}\n"
        os.pwrite(self._handle, text.encode().ljust(WIDTH), 0)
        os.fsync(self._handle)


@contextlib.contextmanager
def hold(folder: Path, tell: Callable[[str], None] = lambda _: None) -> Iterator[Hold]:
    """Hold a folder for this process. Raises RunError with the pid and host of the holder.

    tell  hears what is waited for
    """
    file = folder / NAME
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        by_kernel = _flock(folder, handle)
        before = read(file)
        taken_over = None if before is None else _take(folder, before, by_kernel, tell)
        try:
            held = Hold(file, handle, taken_over)
        except OSError as error:
            raise _unwritable(folder, error) from None
        if taken_over is not None or not by_kernel:
            time.sleep(SETTLE_SECONDS)
            if not held.is_own():
                raise _in_use(folder, read(file))
        held.start()
        try:
            yield held
        finally:
            held.release()
    finally:
        os.close(handle)


def holder(folder: Path) -> str | None:
    """`pid N on HOST` of the process that holds the folder now, else None. Changes nothing.

    A look, not a lock: of another machine's process the file's age is believed.
    """
    try:
        handle = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return str(read(folder / NAME) or "unknown")
    except OSError:
        pass
    finally:
        os.close(handle)
    found = read(folder / NAME)
    if found is None or found.boot == _boot():
        return None
    with contextlib.suppress(OSError):
        if abs(time.time() - (folder / NAME).stat().st_mtime) < STALE_SECONDS:
            return str(found)
    return None


def abandoned(folder: Path) -> str | None:
    """`pid N on HOST` of a holder that died without releasing the folder, else None."""
    found = read(folder / NAME)
    return None if found is None or holder(folder) is not None else str(found)


def read(file: Path) -> Holder | None:
    """Who the file names. It is opened anew: network file systems look at the server then."""
    try:
        lines = file.read_text(errors="replace").splitlines()
        return Holder(**json.loads(lines[1]))
    except (OSError, IndexError, TypeError, ValueError):
        return None


def ourselves() -> Holder:
    """This process."""
    pid = os.getpid()
    return Holder(pid, socket.gethostname(), _boot(), started(pid) or 0, uuid.uuid4().hex)


def _flock(folder: Path, handle: int) -> bool:
    """Take the kernel's lock; False where the file system has none. Raises RunError."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(folder, read(folder / NAME)) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise _unwritable(folder, error) from None
        return False
    return True


def _take(folder: Path, before: Holder, by_kernel: bool, tell: Callable[[str], None]) -> str | None:
    """What to say when the lock of one who did not release it is taken. Raises RunError.

    None: a process of this machine that was killed, as the kernel knows.
    """
    if before.boot == _boot():
        if not by_kernel and started(before.pid) == before.started:
            raise _in_use(folder, before)
        return None
    tell(
        f"{folder / NAME} is the lock of {before}, which did not release it: waiting up to "
        f"{STALE_SECONDS:.0f} s for a sign of life from there"
    )
    seen = _watch(folder / NAME)
    if seen == "beats":
        raise _in_use(folder, read(folder / NAME) or before)
    if seen == "released":
        return None
    return (
        f"the lock of {before} is taken over: no sign of life from there in "
        f"{STALE_SECONDS:.0f} s, and it was not released"
    )


def _watch(file: Path) -> str:
    """Look at a lock for STALE_SECONDS: whether it "beats", is "released" or stays "still"."""
    before = _bytes(file)
    end = time.monotonic() + STALE_SECONDS
    while time.monotonic() < end:
        now = _bytes(file)
        if now != before or not now:
            return "beats" if now else "released"
        time.sleep(LOOK_SECONDS)
    return "still"


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _boot() -> str:
    """Which machine this is, and since when it runs; its name where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def started(pid: int) -> int | None:
    """When a process of this machine began; None: there is none of that number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _in_use(folder: Path, by: Holder | None) -> RunError:
    return RunError(
        f"{folder} is in use by another process ({by or 'unknown'}); wait for it, or stop it: nas "
        f"stop {folder} (a search), Ctrl-C there (a training)"
    )


def _unwritable(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"{folder} cannot be written ({error.strerror}): {advice(error)}, or copy the folder"
    )

"""A process beside a search that says it when the search's process ends without a word.

A kernel that wants memory, a `kill -9`, a segmentation fault and Ray's library (which ends its
process when the raylet has gone) leave a process no time to say anything. So a small one stands
beside it, in a session of its own, with a pipe between them: a byte in it is the word. Where the
search's process ends without it, the witness says so, on the screen and in `log.txt`.

This file is also what the witness runs: it imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

LOOK_SECONDS = 1.0
FAREWELL_SECONDS = 5.0
DEAF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # they are for the search
_watching: list[subprocess.Popen[bytes]] = []


@contextlib.contextmanager
def witnessed(folder: Path) -> Iterator[None]:
    """Have the search in a run folder watched, as far as the machine has a process for it."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError:
        yield
        return
    _watching.append(process)
    try:
        yield
    finally:
        dismiss()


def dismiss() -> None:
    """Give the word: this process has ended its search, or says itself why it ends."""
    while _watching:
        process = _watching.pop()
        try:
            process.communicate(b".", timeout=FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:  # it was stopped from outside
            process.kill()
            process.wait()


def watch(parent: int, folder: Path) -> str | None:
    """What to say once the process `parent` has ended; None where it gave the word."""
    killed = kills()
    while not select.select([0], [], [], LOOK_SECONDS)[0] and os.getppid() == parent:
        killed = kills()
    os.set_blocking(0, False)
    with contextlib.suppress(BlockingIOError):
        if os.read(0, 1):
            return None
    memory = "the kernel killed a process for want of memory in that second; "
    return (
        f"the search's process (pid {parent}) ended without a word of its own: it was killed, or "
        f"a library ended it ({memory if kills() > killed else ''}what was said before may tell). "
        f"Nothing that was finished is lost; go on: nas search --resume {shlex.quote(str(folder))}"
    )


def kills() -> int:
    """How many processes this kernel has killed for want of memory; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/vmstat").read_text()
        return int(text.partition("\noom_kill ")[2].split()[0])
    return 0


def main(parent: int, folder: Path) -> None:
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)
    said = watch(parent, folder)
    if said is None:
        return
    with contextlib.suppress(OSError), (folder / "log.txt").open("a") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {said}\n")
    cursor = "\x1b[?25h" if os.isatty(2) else ""  # a live view had hidden it
    with contextlib.suppress(OSError):  # a closed terminal
        os.write(2, f"{cursor}\nerror: {said}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

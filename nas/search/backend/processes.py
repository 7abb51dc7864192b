"""The processes of a local Ray, as Linux lists them; none elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

Process = tuple[int, int]  # pid, and when it started: a pid is used again


def of_session(folder: str, driver: int | None = None) -> list[Process]:
    """Children of the driver that have Ray's folder on their command lines, and all below them.

    Workers, their own children and Ray's agents are below the raylet. `driver` None: this process.
    """
    parents: dict[int, list[int]] = {}
    started: dict[int, int] = {}
    for pid, (parent, start) in _listed().items():
        parents.setdefault(parent, []).append(pid)
        started[pid] = start
    found = [pid for pid in parents.get(driver or os.getpid(), []) if _names(pid, folder)]
    for pid in found:  # grows meanwhile
        found.extend(parents.get(pid, []))
    return [(pid, started[pid]) for pid in found]


def end(processes: Iterable[Process]) -> None:
    """By what cannot be blocked; those that are gone are left alone."""
    for pid, _ in alive(processes):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def alive(processes: Iterable[Process]) -> list[Process]:
    """Those that are still there."""
    told = ((process, _stat(process[0])) for process in processes)
    return [process for process, stat in told if stat is not None and stat[1] == process[1]]


def _listed() -> dict[int, Process]:
    """By pid: the parent's, and when it started."""
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return {}
    told = {int(name): _stat(int(name)) for name in names}
    return {pid: stat for pid, stat in told.items() if stat is not None}


def _stat(pid: int) -> Process | None:
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(words[1]), int(words[19])


def _names(pid: int, folder: str) -> bool:
    try:
        return folder.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False

"""What a container may use of its machine: the kernel's control groups, version 2 and 1.

Within a container the kernel still tells the whole machine's memory and CPUs. A bound may stand
at this process's own group or at any group above it; the container itself sees its groups as the
root, and mounts of both versions beside each other are common.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

GROUPS = Path("/sys/fs/cgroup")  # where the kernel's control groups are mounted
OWN = Path("/proc/self/cgroup")  # which of them this process is in
UNLIMITED = 2**60  # bytes; version 1 writes the largest multiple of a page for no bound

T = TypeVar("T", int, float)


def memory_limit(groups: Path = GROUPS, own: Path = OWN) -> int | None:
    """Bytes of main memory that this process's groups may have; None: as many as there are."""
    found = [
        *_bounds(groups, own, "", "memory.max", _bytes),
        *_bounds(groups, own, "memory", "memory.limit_in_bytes", _bytes),
    ]
    return min(found, default=None)


def cpu_limit(groups: Path = GROUPS, own: Path = OWN) -> int | None:
    """CPUs whose time this process's groups may use, a started one whole; None: all of them."""
    found = [
        *_bounds(groups, own, "", "cpu.max", _quota_of_both),
        *_bounds(groups, own, "cpu", "cpu.cfs_quota_us", _quota),
    ]
    return max(1, math.ceil(min(found))) if found else None


def _bounds(
    groups: Path, own: Path, controller: str, name: str, read: Callable[[Path], T | None]
) -> Iterator[T]:
    """What stands in the files of that name, at this process's group and those above it.

    controller  of version 1; "": version 2
    """
    for mount, group in _groups(groups, own, controller):
        inner = [] if ".." in group.split("/") else [part for part in group.split("/") if part]
        for depth in range(len(inner), -1, -1):  # what is outside of this container is its root
            folder = Path(*inner[:depth])
            value = read(mount / folder / name)
            if value is not None:
                yield value


def _groups(groups: Path, own: Path, controller: str) -> Iterator[tuple[Path, str]]:
    """Where the controller is mounted, and this process's group there."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        names, _, group = rest.partition(":")
        if controller not in names.split(",") or not (controller or number == "0"):
            continue
        if controller:
            yield from ((groups / each, group) for each in dict.fromkeys((controller, names)))
        else:
            yield from ((mount, group) for mount in (groups, groups / "unified"))


def _bytes(file: Path) -> int | None:
    value = _number(file)
    return value if value is not None and 0 < value < UNLIMITED else None


def _quota(file: Path) -> float | None:
    """Version 1: the quota and its period in two files; -1 for no bound."""
    quota, period = _number(file), _number(file.with_name("cpu.cfs_period_us"))
    return quota / period if quota and period and quota > 0 else None


def _quota_of_both(file: Path) -> float | None:
    """Version 2: "200000 100000", or "max 100000"."""
    try:
        quota, period = (int(word) for word in file.read_text().split())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None

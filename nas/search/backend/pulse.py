"""Whether Ray still answers: a Ray that hangs raises nothing, and ends this process in the end.

Its thread comes by at every step of Tune, ten times a second. Where it does not, it is inside a
call that does not come back. A raylet that is stopped, or hangs, lets Tune step on and answers
no trial: the kernel and the GCS tell of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import ray

from .health import vital

START_SECONDS = 240.0  # without a sign from a Ray that starts, which takes 3 to 8 s on two cores
SILENT_SECONDS = 60.0  # the same of one that runs, at ten signs a second
SPENT_SECONDS = 12.0  # the same where the budget is spent
STOPPED_SECONDS = 10.0  # that a process of Ray's may be stopped
ASLEEP_SECONDS = 5.0  # between two looks: this process itself stood still
ASK_SECONDS = 5.0  # between two questions to the GCS


class Pulse:
    """Kept by two threads: one that beats, one that looks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beaten = self._looked = clock()
        self._limit = START_SECONDS
        self._stopped: dict[str, float] = {}  # since when
        self._inside = 0  # the core: what it waits for is not Ray

    def beat(self, limit: float = SILENT_SECONDS) -> None:
        """The thread came by; `limit`: seconds that it may take to come by again."""
        self._beaten, self._limit = self._clock(), limit

    def hurry(self, seconds: float) -> None:
        """It has to come by within so many seconds from now, however long it has been silent."""
        self._limit = self._clock() - self._beaten + seconds

    def enter(self) -> None:
        self._inside += 1

    def leave(self) -> None:
        self._inside -= 1
        self._beaten = self._clock()

    def look(self, spent: bool) -> float | None:
        """Seconds of silence, where they are too many; to be called several times a second."""
        now = self._clock()
        if now - self._looked > ASLEEP_SECONDS or self._inside:
            self._beaten = now
            self._stopped.clear()
        self._looked = now
        silent, limit = now - self._beaten, self._limit
        return silent if silent > (min(limit, SPENT_SECONDS) if spent else limit) else None

    def stopped(self, states: Mapping[str, str]) -> str | None:
        """The part of Ray that has been stopped for too long, by the kernel's words."""
        now = self._clock()
        for part, state in states.items():
            if state not in "Tt":
                self._stopped.pop(part, None)
            elif now - self._stopped.setdefault(part, now) > STOPPED_SECONDS:
                del self._stopped[part]
                return part
        return None


def states() -> dict[str, str]:
    """What the kernel says that Ray's own vital processes do; nothing where it does not say."""
    found = {}
    for part, pid in vital().items():
        try:
            words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        found[part] = words[0].decode()
    return found


class Node:
    """Our own Ray's only node, as its GCS sees it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._asked = clock, clock()

    def given_up(self) -> bool:
        """Whether the GCS has had no answer from the raylet for too long. Asked now and then."""
        if self._clock() - self._asked < ASK_SECONDS:
            return False
        self._asked = self._clock()
        return not any(node["Alive"] for node in ray.nodes())

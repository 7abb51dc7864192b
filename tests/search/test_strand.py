"""The thread that talks to Ray: what it raises, who hears signals, and when it is left behind."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from nas.search.backend import strand as strands
from nas.search.backend.strand import LEAVE_SECONDS, Left, Strand


class Core:
    """As much of the core as a strand looks at."""

    def __init__(self) -> None:
        self.ending: str | None = None
        self.suspended = 0
        self.lines: list[str] = []
        self.run = SimpleNamespace(log=self.lines.append)

    def suspend(self) -> None:
        self.suspended += 1


@pytest.fixture
def core() -> Any:
    return Core()


@pytest.fixture
def exits(monkeypatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(strands, "_exit_without_ray", codes.append)
    return codes


def test_what_the_work_raises_comes_out(core):
    with pytest.raises(KeyError, match="epoch"):
        Strand(core).run(lambda: {}["epoch"])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is blocked")
def test_what_the_thread_starts_does_not_hear_sigterm_and_the_caller_does(core):
    blocked: list[set[Any]] = []
    Strand(core).run(lambda: blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    assert signal.SIGTERM in blocked[0]
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize(("why", "code"), [("interrupted", 130), ("error", 1)])
def test_a_thread_that_does_not_come_back_is_left_behind(core, exits, why, code):
    hang, after = threading.Event(), []
    times = iter([0.0, LEAVE_SECONDS - 1, LEAVE_SECONDS + 1])
    strand = Strand(core, clock=lambda: next(times))

    def work() -> None:
        with strand.core() as inner:
            inner.ending = why
        hang.wait()  # a call to Ray
        try:
            with strand.core():
                after.append("the core was touched")
        except Left:
            after.append("left")

    strand.run(work)
    assert core.suspended == 1 and exits == [code]
    assert core.lines == ["Ray did not come to its end: it is left behind"]
    hang.set()
    _until(lambda: after)
    assert after == ["left"]


def test_a_dead_ray_is_left_sooner(core, exits, monkeypatch):
    monkeypatch.setattr(strands, "dead_part", lambda: "its raylet was killed by SIGKILL")
    times = iter([0.0, strands.DEAD_SECONDS + 1])
    hang = threading.Event()
    core.ending = "interrupted"
    Strand(core, clock=lambda: next(times)).run(hang.wait)
    assert exits == [130]
    hang.set()


def test_a_core_that_is_at_work_is_not_taken_away(core, exits, monkeypatch):
    monkeypatch.setattr(strands, "CORE_SECONDS", 0.01)
    core.ending = "interrupted"
    seconds = iter(range(0, 10_000, 100))
    strand = Strand(core, clock=lambda: float(next(seconds)))

    def work() -> None:
        with strand.core():
            time.sleep(1.0)

    strand.run(work)
    assert exits == [] and core.suspended == 0


def _until(done: Any) -> None:
    limit = time.monotonic() + 30
    while not done() and time.monotonic() < limit:
        time.sleep(0.01)

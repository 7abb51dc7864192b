"""The thread that talks to Ray: what it raises, who hears signals, and when it is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from nas.search.backend import health
from nas.search.backend import pulse as pulses
from nas.search.backend import strand as strands
from nas.search.backend.strand import LEAVE_SECONDS, Left, Strand


class Core:
    """As much of the core as a strand looks at."""

    def __init__(self) -> None:
        self.ending: str | None = None
        self.suspended = 0
        self.over = False
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.run = SimpleNamespace(log=self.lines.append, path="runs/r")
        self.ledger = SimpleNamespace(spent=lambda: False)
        self.table = SimpleNamespace(finalists=lambda: ["one"])

    def interrupt(self, why: str) -> None:
        self.ending = why

    def suspend(self) -> None:
        self.suspended += 1


class Steps:
    """A clock that goes on by so many seconds at every look."""

    def __init__(self, seconds: float) -> None:
        self.now, self._seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self._seconds
        return self.now


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
    strand = Strand(core, clock=Steps(LEAVE_SECONDS))

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
    hang = threading.Event()
    core.ending = "interrupted"
    Strand(core, clock=Steps(strands.DEAD_SECONDS)).run(hang.wait)
    assert exits == [130]
    hang.set()


def test_a_core_that_is_at_work_is_not_taken_away(core, exits, monkeypatch):
    monkeypatch.setattr(strands, "CORE_SECONDS", 0.01)
    core.ending = "interrupted"
    strand = Strand(core, clock=Steps(100.0))

    def work() -> None:
        with strand.core():
            time.sleep(1.0)

    strand.run(work)
    assert exits == [] and core.suspended == 0


@pytest.fixture
def hang():
    """What a call to Ray waits for; it comes back after the test."""
    event = threading.Event()
    yield event
    event.set()


def hang_at_once(strand: Strand, hang: threading.Event) -> Any:
    """Work that makes a step, and is then stuck in a call."""

    def work() -> None:
        strand.pulse.beat(0.3)
        hang.wait()

    return work


def test_a_ray_that_hangs_is_killed_once_and_a_thread_that_stays_stuck_is_left(
    core, exits, hang, monkeypatch
):
    monkeypatch.setattr(strands, "AFTER_SECONDS", 0.3)
    monkeypatch.setattr(strands, "alive", lambda _: True)
    strand = Strand(core)
    ended: list[str] = []
    monkeypatch.setattr(strand, "end_processes", lambda: ended.append("killed"))
    strand.run(hang_at_once(strand, hang))
    assert core.ending == "error" and exits == [1] and core.suspended == 1
    assert "its processes are killed" in core.lines[0] and ended == ["killed", "killed"]
    (note,) = core.notes
    assert "Ray hangs: it has not answered for" in note and "nas search --resume runs/r" in note


def test_a_ray_that_dies_of_being_killed_is_outlived_by_its_thread(core, exits, monkeypatch):
    monkeypatch.setattr(strands, "alive", lambda _: True)
    strand, dead = Strand(core), threading.Event()
    monkeypatch.setattr(strand, "end_processes", dead.set)
    strand.run(hang_at_once(strand, dead))
    assert exits == [] and core.ending is None and core.notes == []


def test_a_cluster_that_does_not_answer_is_left_and_nothing_of_it_killed(core, exits, hang):
    strand = Strand(core)
    strand.run(hang_at_once(strand, hang))
    assert exits == [1] and len(core.notes) == 1
    assert "killed" not in core.lines[0]


def test_where_only_the_end_of_ray_hangs_the_search_has_not_failed(core, exits, hang):
    core.over = True
    strand = Strand(core)
    strand.run(hang_at_once(strand, hang))
    assert exits == [0] and core.ending is None and core.notes == []


def test_a_part_of_ray_that_was_stopped_is_told_to_go_on(core, exits, monkeypatch):
    """A real process: while a raylet is stopped no trial is answered, and Tune steps on."""
    monkeypatch.setattr(pulses, "STOPPED_SECONDS", 0.3)
    with subprocess.Popen(["sleep", "1"]) as process:
        for module in (pulses, health):
            monkeypatch.setattr(module, "vital", lambda: {"raylet": process.pid})
        process.send_signal(signal.SIGSTOP)
        Strand(core).run(lambda: process.wait(30))
        assert process.returncode == 0
    assert exits == [] and "raylet was stopped from outside" in core.lines[0]


def test_what_the_core_waits_for_and_sleep_of_this_process_are_no_silence_of_ray():
    clock = SimpleNamespace(now=0.0)
    pulse = pulses.Pulse(lambda: clock.now)
    pulse.beat()

    def later(seconds: float, spent: bool = False) -> float | None:
        end = clock.now + seconds
        silent = None
        while clock.now < end and silent is None:
            clock.now += 1.0
            silent = pulse.look(spent)
        return silent

    pulse.enter()
    assert later(1000) is None, "a full disk, say"
    pulse.leave()
    assert later(pulses.SILENT_SECONDS - 1) is None
    clock.now += 3600  # Ctrl-Z
    assert later(pulses.SILENT_SECONDS - 1) is None
    assert later(5) is not None
    pulse.beat()
    assert later(pulses.SPENT_SECONDS + 1, spent=True) is not None, "no budget is left to wait"


def _until(done: Any) -> None:
    limit = time.monotonic() + 30
    while not done() and time.monotonic() < limit:
        time.sleep(0.01)

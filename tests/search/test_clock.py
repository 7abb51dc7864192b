"""The clock of the machine jumps an hour: no budget notices. What a search counts is monotonic."""

from __future__ import annotations

import math
import time

import pytest

from nas.api import searching
from nas.search import backend
from nas.search import run as driver
from nas.search.work import Ask


class Times:
    """The module `time`, one second a tick on the monotonic clock; the other one may jump."""

    def __init__(self) -> None:
        self.now, self.jump = 1000.0, 0.0
        self.strftime, self.localtime, self.sleep = time.strftime, time.localtime, time.sleep

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1.7e9 + self.now + self.jump


@pytest.mark.parametrize("budget", ["100s", "0.04gpu-h"])
@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_jump_of_the_clock_changes_no_budget(tmp_path, monkeypatch, budget, jump):
    times = Times()

    def execute(core, data, slots, refresh, say):
        """Ray's part, in one loop: each trial an epoch a second, on two slots."""
        times.now += 5.0  # what the workers' start takes
        live: dict[int, int] = {}
        while not core.over:
            while len(live) < 2 and isinstance(work := core.next(), Ask):
                live[work.number] = work.known_epoch
                core.on_start(work.number)
            times.now += 1.0
            if times.now > 1030.0:
                times.jump = jump
            for number in list(live):
                live[number] += 1
                value = 0.9 - 0.5 * math.exp(-live[number] / 3) - 0.001 * (number % 7)
                report = {"epoch": live[number], "validation": value, "seconds": 1.0}
                if core.on_report(number, {"kind": "epoch", **report}):
                    del live[number]
            refresh()

    monkeypatch.setattr(driver, "time", times)
    monkeypatch.setattr(time, "time", times.time)
    monkeypatch.setattr(backend, "execute", execute)
    prepared = searching.prepare("tiny", "digits", budget, trials_at_once=2, device="cpu")
    session = searching.begin(prepared, tmp_path / "run")
    with session.run.lock():
        state = driver.search(session.run, prepared, view=lambda _: None)
    spent = state["budget"]
    bounds = {"100s": ("wall_seconds", 100), "0.04gpu-h": ("spent_device_seconds", 144)}
    key, bound = bounds[budget]
    assert 0.8 * bound <= spent[key] <= bound + 2
    assert state["finalists"][0]["final"] and state["stopped"] == "budget"

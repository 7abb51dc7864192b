"""Workers that die, hang or do not come up, as the core sees them: on a virtual clock."""

from __future__ import annotations

import pytest

from nas.errors import UserError
from nas.search.request import parse_timeout
from nas.search.work import Ask

from .simulator import Simulation


@pytest.mark.parametrize("retries", [0, 2])
def test_a_trial_is_retried_as_often_as_asked_then_told_failed_with_its_cause(tmp_path, retries):
    core = Simulation(tmp_path / "run", "5trials", slots=1).core
    core.faults.retries = retries
    for _ in range(retries + 1):
        assert core.next().number == 0
        core.on_death(0, "the worker was killed")
    row = core.table.rows[0]
    assert row["cause"] == "failed" and row["error"] == "the worker was killed"
    (record,) = [r for r in core._studies.records("coarse") if r.number == 0]
    assert not record.running and record.error == "the worker was killed"
    assert core.next().number == 1


def test_what_became_of_trials_whose_workers_died_is_told_with_every_death(tmp_path):
    simulation = Simulation(tmp_path / "run", "5trials", slots=1)
    core = simulation.core
    ask = core.next()
    core.on_start(ask.number)
    core.on_report(0, {"kind": "epoch", "epoch": 1, "validation": 0.5, "seconds": 1.0})
    core.on_death(0, "the worker was killed")
    assert core.faults.notes() == [
        "workers died or hung 1 time: trial 0 went on from the last checkpoint"
    ]
    assert core.next().number == 0
    core.on_report(0, {"kind": "epoch", "epoch": 2, "validation": 0.6, "seconds": 1.0})
    while core.next().number == 0:
        core.on_report(0, {"kind": "epoch", "epoch": 3, "validation": 0.6, "seconds": 1.0})
    core.on_death(1, "the worker was killed")
    assert core.next().number == 1
    for _ in range(2):
        core.on_death(1, "the worker was killed")
        core.next()
    core.on_death(2, "the worker was killed")
    (said,) = (note for note in core.faults.notes() if "workers" in note)
    assert said == (
        "workers died or hung 5 times: trial 0 went on from the last checkpoint, trial 2 began "
        "again, trial 1 was given up"
    )


def test_a_worker_killed_for_memory_is_out_of_memory_after_its_retries(tmp_path):
    simulation = Simulation(tmp_path / "run", "5trials", slots=1)
    core = simulation.core
    for _ in range(3):
        core.next()
        core.on_death(0, "the kernel killed the worker: out of memory", "out_of_memory")
    assert core.table.rows[0]["cause"] == "out_of_memory"
    (told,) = [t for t in simulation.studies.study("coarse").trials if t.constraints]
    assert told.constraints["memory"] > 0


def test_where_workers_died_the_budget_alone_is_not_blamed(tmp_path):
    simulation = Simulation(tmp_path / "run", "100s", slots=1)
    core = simulation.core
    core.on_start(core.next().number)
    core.on_death(0, "the worker was killed")
    core.on_start(core.next().number)
    simulation.clock.now = 99.0
    assert core.on_report(0, {"kind": "pause", "share": 0.5})
    assert "workers died or hung 1 time: see log.txt" in core.finish()["notes"][-1]


def test_a_worker_that_dies_while_the_search_stops_is_no_retry(tmp_path):
    core = Simulation(tmp_path / "run", "50trials", slots=1).core
    core.on_start(core.next().number)
    core.interrupt()
    core.on_death(0, "the worker was killed")
    assert core.live == 0 and core.faults.deaths == 0
    (record,) = [r for r in core._studies.records("coarse") if r.number == 0]
    assert record.running, "a resume goes on with it"
    assert "its worker died" not in core.run.log_file.read_text()


def test_a_silent_worker_is_overdue_and_a_reporting_one_is_not(tmp_path):
    simulation = Simulation(tmp_path / "run", "50trials", slots=2)
    core, clock = simulation.core, simulation.clock
    core.faults.timeout = 60.0
    for _ in range(2):
        ask = core.next()
        assert isinstance(ask, Ask)
        core.on_start(ask.number)
    for second in range(0, 60, 10):
        clock.now = float(second)
        core.on_report(1, {"kind": "pause", "share": 0.0})
        assert core.overdue() == []
    clock.now = 61.0
    assert core.overdue() == [0]
    assert "1 min" in core.faults.silence()


def wait_for_worker(core, clock, began):
    """Seconds until a trial that waits for its worker is overdue, and what was said on the way."""
    said = []
    for seconds in range(0, 10_000, 10):
        clock.now = began + seconds
        if core.overdue():
            return seconds, said
        said.append(core.slow_start())
    return None


@pytest.mark.parametrize(
    ("start", "timeout", "cluster", "seconds"),
    [
        (None, 60, False, 240), (0.1, 60, False, 120), (40, 600, False, 240),
        (150, 600, False, 600), (10, 1800, False, 1800), (10, 60, True, 600),
    ],
)  # fmt: skip
def test_a_worker_that_does_not_come_up_is_waited_for_as_long_as_starts_take_here(
    tmp_path, start, timeout, cluster, seconds
):
    simulation = Simulation(tmp_path / "run", "50trials", slots=2)
    core, clock = simulation.core, simulation.clock
    core.faults.timeout, core.faults.cluster = float(timeout), cluster
    if start is not None:
        first = core.next()
        clock.now += start
        core.on_start(first.number)
        core.on_report(first.number, {"kind": "failed", "cause": "failed", "error": "E: x"})
    number = core.next().number
    waited, said = wait_for_worker(core, clock, clock.now)
    assert seconds < waited <= seconds + 10
    (told,) = filter(None, said)  # once, long before
    assert f"no worker has come up for trial {number} in" in told and said.index(told) <= 4
    assert f"for trial {number} in" in core.faults.no_worker(number)


def test_a_driver_that_slept_itself_blames_no_worker(tmp_path):
    simulation = Simulation(tmp_path / "run", "50trials", slots=1)
    core, clock = simulation.core, simulation.clock
    core.on_start(core.next().number)
    assert core.overdue() == []
    clock.now = 5000.0  # a laptop that was closed
    assert core.overdue() == []
    clock.now = 5100.0
    assert core.overdue() == []


def test_nothing_is_charged_and_shown_before_a_worker_is_up(tmp_path):
    simulation = Simulation(tmp_path / "run", "50trials", slots=2)
    core, clock = simulation.core, simulation.clock
    first, second = core.next(), core.next()
    core.on_start(first.number)
    clock.now = 30.0
    core.on_report(first.number, {"kind": "pause", "share": 0.5})
    assert [row[0] for row in core.status().running] == [first.number]
    core.suspend()
    assert core.ledger.device_seconds == 30.0
    records = core._studies.records("coarse")  # those without a number are drawn ahead
    costs = {r.number: r.device_seconds for r in records if r.number is not None}
    assert costs == {first.number: 30.0, second.number: 0.0}


@pytest.mark.parametrize(
    ("text", "seconds"), [("5min", 300), ("90", 90), (12.5, 12.5), ("1h", 3600)]
)
def test_timeouts_are_read(text, seconds):
    assert parse_timeout(text) == seconds


@pytest.mark.parametrize("text", ["", "5 weeks", "0", "-3", "0min"])
def test_timeouts_that_cannot_be_read_are_refused(text):
    with pytest.raises(UserError, match=r"--trial-timeout .* must be a time above 0, such as"):
        parse_timeout(text)

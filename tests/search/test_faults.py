"""Faults of workers and candidates, as the core sees them: on a virtual clock, without Ray."""

from __future__ import annotations

import math

import pytest

from nas.errors import UserError
from nas.search.backend import RayDied, _sessions
from nas.search.backend.strand import Strand
from nas.search.faults import STARTS, Faults, is_out_of_memory, likeness, outlive
from nas.search.memory import Memory
from nas.search.request import parse_timeout
from nas.search.run import _keeping
from nas.search.work import Ask, Signal

from .simulator import TEXT, Price, Simulation, quadratic

PLACE = 'Traceback (most recent call last):\n  File "cells.py", line {line}, in forward\n'


def failed(error: str, cause: str = "failed"):
    return {"kind": "failed", "cause": cause, "error": error}


# --- workers that die or hang ---------------------------------------------------------------


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


def test_a_fault_of_the_code_is_noted_once_however_many_trials_still_run(tmp_path):
    core = Simulation(tmp_path / "run", "20trials", slots=5).core
    asks = [core.next() for _ in range(5)]
    for ask in asks:
        core.on_start(ask.number)
    for ask in asks:
        core.on_report(ask.number, failed(PLACE.format(line=3) + "ValueError: no"))
    assert len([note for note in core.notes if "in a row failed" in note]) == 1


def test_a_worker_killed_for_memory_is_out_of_memory_after_its_retries(tmp_path):
    simulation = Simulation(tmp_path / "run", "5trials", slots=1)
    core = simulation.core
    for _ in range(3):
        core.next()
        core.on_death(0, "the kernel killed the worker: out of memory", "out_of_memory")
    assert core.table.rows[0]["cause"] == "out_of_memory"
    (told,) = [t for t in simulation.studies.study("coarse").trials if t.constraints]
    assert told.constraints["memory"] > 0


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


def test_when_ray_dies_the_running_trials_go_on_and_no_retry_is_used_up(tmp_path):
    core = Simulation(tmp_path / "run", "5trials", slots=2).core
    running = {core.next().number, core.next().number}
    core.on_report(0, {"kind": "epoch", "epoch": 1, "validation": 0.5})
    assert outlive(core, "its raylet was killed by SIGKILL")
    assert core.live == 0
    assert {core.next().number, core.next().number} == running
    assert core._live[0].deaths == 0 and core._live[0].epoch == 1
    assert any("Ray died 1 time" in note for note in core.finish()["notes"])


def test_a_ray_that_keeps_dying_without_an_epoch_stops_the_search_resumably(tmp_path):
    core = Simulation(tmp_path / "run", "50trials", slots=1).core
    for _ in range(7):  # with an epoch in between it may go on for ever
        number = core.next().number
        epoch = core._live[number].epoch + 1
        core.on_report(number, {"kind": "epoch", "epoch": epoch, "validation": 0.5})
        assert outlive(core, "gone")
    again = 0
    while outlive(core, "gone"):
        core.next()
        again += 1
        assert again < 10
    state = core.finish()
    assert state["stopped"] == "error" and not state["ended"]
    assert any("Ray died 5 times in a row" in note for note in state["notes"])
    assert core.next() is Signal.DONE
    assert [r for r in core._studies.records("coarse") if r.running], "a resume goes on with it"


def test_ray_is_not_started_again_for_the_last_seconds_of_a_budget(tmp_path):
    simulation = Simulation(tmp_path / "run", "100s", slots=1)
    core = simulation.core
    core.on_start(core.next().number)
    simulation.clock.now = 95.0
    assert not outlive(core, "its raylet was killed by SIGKILL")
    state = core.finish()
    assert state["stopped"] == "budget" and state["trials"]["budget"] == 1
    last = state["notes"][-1]
    assert last.startswith(
        "nothing survived (1 budget); Ray died: its raylet was killed by SIGKILL"
    )
    assert "give a larger budget" not in last


def test_where_workers_died_the_budget_alone_is_not_blamed(tmp_path):
    simulation = Simulation(tmp_path / "run", "100s", slots=1)
    core = simulation.core
    core.on_start(core.next().number)
    core.on_death(0, "the worker was killed")
    core.on_start(core.next().number)
    simulation.clock.now = 99.0
    assert core.on_report(0, {"kind": "pause", "share": 0.5})
    assert "workers died or hung 1 time: see log.txt" in core.finish()["notes"][-1]


# --- the same failure again and again -------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "stops"),
    [
        (["ValueError: no"] * 3, True),
        ([f"ValueError: shape (128, {n}, 8) at 0x7f3a{n:06x}" for n in (3, 5, 7)], True),
        (["ValueError: no", "ValueError: no", "TypeError: no"] * 3, False),
    ],
)
def test_three_alike_in_a_row_stop_the_search(tmp_path, errors, stops):
    def curve(ask, recipe, epoch):
        if ask.number == 0 or ask.number > len(errors):
            return quadratic(ask, recipe, epoch)
        return failed(PLACE.format(line=12) + errors[ask.number - 1])

    simulation = Simulation(tmp_path / "run", "15trials", slots=1, curve=curve)
    state = simulation.go()
    assert (state["stopped"] == "error") == stops
    if stops:
        assert state["trials"]["failed"] == 3
        assert any("mend the code, then go on with --resume" in note for note in state["notes"])
        resumed = Simulation(tmp_path / "run", "15trials", slots=1)
        assert resumed.go()["stopped"] == "budget"
    else:
        assert any("6 trials failed: ValueError: no" in note for note in state["notes"])


def test_the_same_cause_of_death_of_three_candidates_stops_it_too(tmp_path):
    core = Simulation(tmp_path / "run", "50trials", slots=1).core
    core.faults.retries = 0
    for _ in range(3):
        ask = core.next()
        core.on_death(ask.number, f"the worker crashed: Segmentation fault at 0x{ask.number:08x}")
    assert core.ending == "error"


def test_one_candidate_that_fails_on_every_seed_is_no_broken_code():
    faults = Faults()
    assert not any(faults.failed("the same network", "ValueError: no") for _ in range(5))


def test_a_place_tells_failures_apart_and_depth_does_not():
    shallow, deep = PLACE.format(line=3) + "E: 1", PLACE.format(line=3) * 4 + "E: 20"
    assert likeness(shallow) == likeness(deep)
    assert likeness(shallow) != likeness(PLACE.format(line=4) + "E: 1")
    here = shallow.replace("cells.py", "/tmp/nas-plugins-a1b2/cells.py")
    there = shallow.replace("cells.py", "/tmp/nas-plugins-zyx/cells.py")
    assert likeness(here) == likeness(there), (
        "each worker unpacks plug-ins into a folder of its own"
    )


# --- reports that lack something ------------------------------------------------------------


@pytest.mark.parametrize(
    "report",
    [
        {"epoch": 1},
        {"epoch": 1, "validation": None},
        {"epoch": 1, "validation": "0.9"},
        {"validation": 0.9},
    ],
)
def test_a_metric_that_never_arrives_fails_its_trial_and_the_search_goes_on(tmp_path, report):
    def curve(ask, recipe, epoch):
        return report if ask.number == 1 else quadratic(ask, recipe, epoch)

    simulation = Simulation(tmp_path / "run", "8trials", curve=curve)
    state = simulation.go()
    assert state["stopped"] == "budget" and state["trials"]["failed"] == 1
    assert "has to give its" in simulation.table.rows[1]["error"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_validation_that_is_no_number_ends_its_trial_as_nan(tmp_path, value):
    def curve(ask, recipe, epoch):
        told = quadratic(ask, recipe, epoch)
        return told | {"validation": value} if ask.number == 1 else told

    simulation = Simulation(tmp_path / "run", "8trials", curve=curve)
    state = simulation.go()
    assert state["trials"]["nan"] >= 1 and simulation.table.rows[1]["cause"] == "nan"
    assert 1 not in {entry["candidate"] for entry in state["finalists"]}


# --- memory ---------------------------------------------------------------------------------


def test_libraries_say_in_many_ways_that_memory_ran_out():
    for words in (
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
        "CUDA out of memory. Tried to allocate 20 MiB",
    ):
        assert is_out_of_memory(words)
    assert not is_out_of_memory("mat1 and mat2 shapes cannot be multiplied")


def grown(architecture) -> Price:
    width = int(architecture.network[0]["channels"])
    depth = int(architecture.network[1].get("repeat", 1))
    return Price(1000 * width * depth, 10_000 * width * depth, 10**6 * width * depth)


def test_what_ran_out_of_memory_keeps_larger_ones_off_the_device(tmp_path):
    """Of 128 units at the most, 64 are too many for this device."""

    def curve(ask, recipe, epoch):
        if grown(_network(ask)).memory >= 64 * 10**6:
            return failed("torch.OutOfMemoryError: CUDA out of memory", "out_of_memory")
        return quadratic(ask, recipe, epoch)

    folder = tmp_path / "run"
    simulation = Simulation(folder, "40trials", slots=1, curve=curve, price=grown)
    state = simulation.go()
    burst = [row for row in simulation.table.rows.values() if row["cause"] == "out_of_memory"]
    sizes = [row["params"] for row in burst]
    assert sizes and sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    assert state["trials"]["infeasible"] > 0
    told = [
        trial
        for name in simulation.studies.names()
        for trial in simulation.studies.study(name).trials
        if trial.user_attrs.get("cause") == "out_of_memory"
    ]
    assert told and all(trial.constraints["memory"] > 0 for trial in told)
    again = Simulation(folder, "60trials", slots=1, curve=curve, price=grown)
    assert again.core._memory.bound() == simulation.core._memory.bound(), "it survives a resume"
    again.go()
    later = [again.table.rows[n] for n in again.table.rows if n not in simulation.table.rows]
    assert later and all(row["params"] < min(sizes) for row in later)


def _network(ask: Ask):
    from nas.space import parse

    return parse(ask.architecture, path="architecture.yaml")


def trained(memory: Memory, number: int, predicted: float, peak: float | None = None) -> None:
    memory.begin(number, {"memory": predicted})
    memory.end(number, "finished", 3, peak)


def burst(memory: Memory, number: int, predicted: float) -> None:
    memory.begin(number, {"memory": predicted})
    memory.end(number, "out_of_memory", 0, None)


def test_measured_peaks_correct_the_prediction():
    memory = Memory(1000.0)
    assert memory.excess(900) < 0 < memory.excess(1100)
    for number in range(3):
        trained(memory, number, 100, peak=200)
    assert memory.bound() == 500
    assert memory.excess(499) < 0 < memory.excess(501)


def test_one_that_burst_below_what_fits_is_no_bound():
    memory = Memory(1000.0)
    trained(memory, 0, 600)
    burst(memory, 1, 300)
    assert memory.bound() == 1000
    burst(memory, 2, 800)
    assert memory.bound() == 760


def test_a_leak_in_a_small_network_says_nothing_of_others():
    memory = Memory(1e9)
    burst(memory, 0, 1e4)
    assert memory.bound() == 1e9


def test_what_is_being_tried_is_not_refused_in_others():
    memory = Memory(None)
    memory.begin(0, {"memory": 500.0})
    burst(memory, 1, 500)
    assert memory.bound() is None, "trial 0 is of the same size, and may fit"
    memory.end(0, "out_of_memory", 0, None)
    assert memory.bound() == 475


# --- what is asked --------------------------------------------------------------------------


def test_the_default_text_can_be_simulated_with_faults_of_all_kinds(tmp_path):
    """A search over candidates of which half fail, each in its own way, ends by its budget."""

    def curve(ask, recipe, epoch):
        kinds = {
            1: failed("ValueError: no"),
            2: failed("MemoryError", "out_of_memory"),
            3: {"epoch": epoch},
            4: {"kind": "died", "error": "the worker was killed"},
        }
        if ask.stage != "final" and ask.number % 10 in kinds:
            return kinds[ask.number % 10]
        return quadratic(ask, recipe, epoch)

    simulation = Simulation(tmp_path / "run", "60trials", slots=4, curve=curve, text=TEXT)
    state = simulation.go()
    assert state["stopped"] == "budget" and state["finalists"]
    counts = state["trials"]
    assert counts["failed"] >= 15 and counts["out_of_memory"] >= 1
    assert counts["total"] - counts["infeasible"] == 60
    numbers = sorted(simulation.table.rows)
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize(
    ("text", "seconds"), [("5min", 300), ("90", 90), (12.5, 12.5), ("1h", 3600)]
)
def test_timeouts_are_read(text, seconds):
    assert parse_timeout(text) == seconds


@pytest.mark.parametrize("text", ["", "5 weeks", "0", "-3", "0min"])
def test_timeouts_that_cannot_be_read_are_refused(text):
    with pytest.raises(UserError, match=r"--trial-timeout .* must be a time above 0, such as"):
        parse_timeout(text)


# --- trials without a worker, searches that are stopping ------------------------------------


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


def test_a_worker_that_dies_while_the_search_stops_is_no_retry(tmp_path):
    core = Simulation(tmp_path / "run", "50trials", slots=1).core
    core.on_start(core.next().number)
    core.interrupt()
    core.on_death(0, "the worker was killed")
    assert core.live == 0 and core.faults.deaths == 0
    (record,) = [r for r in core._studies.records("coarse") if r.number == 0]
    assert record.running, "a resume goes on with it"
    assert "its worker died" not in core.run.log_file.read_text()


def test_a_ray_that_does_not_start_is_tried_again_then_said_with_what_to_do(tmp_path):
    core = Simulation(tmp_path / "run", "50trials", slots=1).core
    for _ in range(STARTS - 1):
        assert outlive(core, "The current node timed out during startup", begun=False)
    assert not outlive(core, "The current node timed out during startup", begun=False)
    (note,) = core.notes
    assert note.startswith(f"Ray did not start {STARTS} times: The current node timed out")
    assert "/dev/shm" in note and f"nas search --resume {core.run.path}" in note
    state = core.finish()
    assert state["stopped"] == "error"
    assert state["notes"] == [f"nothing survived: {note}"], "said once, and nothing of the budget"


def test_a_cluster_that_does_not_come_back_ends_the_search_with_what_it_has(tmp_path):
    """The first time it is the user's to know at once; later, what was found is kept."""
    core = Simulation(tmp_path / "run", "50trials", slots=1).core
    strand, began = Strand(core), []

    def gone() -> None:
        began.append(len(began))
        if len(began) == 2:
            raise RayDied("the cluster's head is gone")
        raise UserError("--ray-address far:6379: no Ray answered there")

    with pytest.raises(UserError, match="no Ray answered"):
        _sessions(strand, gone)
    _sessions(strand, gone)
    assert len(began) == 2 + STARTS and core.ending == "error"
    assert f"Ray did not start {STARTS} times: " in core.notes[-1]
    assert "no Ray answered" in core.notes[-1]


def test_whatever_breaks_a_search_off_is_said_and_what_was_found_is_kept(tmp_path):
    core = Simulation(tmp_path / "run", "50trials", slots=1).core
    core.on_start(core.next().number)
    core.on_report(0, {"kind": "epoch", "epoch": 1, "validation": 0.5})
    with _keeping(core._studies.storage, core):
        raise OSError(5, "Input/output error", "metrics.csv")
    state = core.finish()
    assert state["stopped"] == "error" and not state["ended"] and core.live == 0
    assert any("Input/output error: 'metrics.csv'" in note for note in state["notes"])
    assert "Traceback" in core.run.log_file.read_text()
    (open_still,) = [r for r in core._studies.records("coarse") if r.running]
    assert open_still.number == 0, "a resume goes on with it"
    with pytest.raises(UserError), _keeping(core._studies.storage, core):
        raise UserError("what the user wrote")

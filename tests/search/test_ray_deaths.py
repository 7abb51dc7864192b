"""Ray that dies or does not start, and whatever else breaks a search off: without Ray."""

from __future__ import annotations

import pytest

from nas.errors import UserError
from nas.search.backend import RayDied, _sessions
from nas.search.backend.strand import Strand
from nas.search.faults import STARTS, outlive
from nas.search.run import _keeping
from nas.search.work import Signal

from .simulator import Simulation


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

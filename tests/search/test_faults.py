"""Faults of candidates, as the core sees them: on a virtual clock, without Ray."""

from __future__ import annotations

import math

import pytest

from nas.search.faults import Faults, likeness

from .simulator import TEXT, Simulation, quadratic

PLACE = 'Traceback (most recent call last):\n  File "cells.py", line {line}, in forward\n'


def failed(error: str, cause: str = "failed"):
    return {"kind": "failed", "cause": cause, "error": error}


def test_a_fault_of_the_code_is_noted_once_however_many_trials_still_run(tmp_path):
    core = Simulation(tmp_path / "run", "20trials", slots=5).core
    asks = [core.next() for _ in range(5)]
    for ask in asks:
        core.on_start(ask.number)
    for ask in asks:
        core.on_report(ask.number, failed(PLACE.format(line=3) + "ValueError: no"))
    assert len([note for note in core.notes if "in a row failed" in note]) == 1


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

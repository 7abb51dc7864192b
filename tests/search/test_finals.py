"""The final training on a machine that becomes slower: what is whole, and what is said."""

from __future__ import annotations

import re

import pytest

from nas.units import parse_budget

from .simulator import Simulation

FULL = 18  # epochs, of the simulator's space


def searched(folder, budget: str, slower: float, *, slots: int = 1) -> Simulation:
    """A search whose final trainings' epochs take `slower` times as long as the search's own."""
    simulation = Simulation(
        folder, budget, slots=slots, interval=1.0,
        epoch_seconds=lambda ask: slower if ask.stage == "final" else 1.0,
    )  # fmt: skip
    simulation.go()
    return simulation


def finals_of(simulation: Simulation) -> dict[tuple[int, int], dict]:
    rows = simulation.table.final_rows()
    return {(row["candidate"], row["seed_index"]): row for row in rows}


def noted(simulation: Simulation) -> list[str]:
    return [note for note in simulation.state["notes"] if "before the final training did" in note]


@pytest.mark.parametrize(
    ("budget", "slots", "slower"),
    [("500s", 1, 2.0), ("0.2cpu-h", 2, 1.4), ("0.2cpu-h", 3, 2.0), ("400s,1cpu-h", 2, 2.0)],
)
def test_on_a_slower_machine_the_best_and_trial_0_are_whole_and_nothing_is_cut_off(
    tmp_path, budget, slots, slower
):
    simulation = searched(tmp_path / "run", budget, slower, slots=slots)
    rows, best = finals_of(simulation), simulation.table.ranked(1)[0]["trial"]
    assert rows[0, 0]["cause"] == rows[best, 0]["cause"] == "finished"
    assert rows[0, 0]["epoch"] == rows[best, 0]["epoch"] == FULL
    assert {row["cause"] for row in rows.values()} == {"finished"}


def test_trainings_that_never_began_are_told_in_one_note_with_a_budget(tmp_path):
    simulation = searched(tmp_path / "run", "0.2cpu-h", 3.0)
    (note,) = noted(simulation)
    missing = int(re.search(r"(\d+) trainings never began", note)[1])
    assert missing > 0
    assert "epochs took 3.0 times as long as in the search" in note
    asked = re.search(r"about (\S+cpu-h) would have held it", note)[1]
    needed = simulation.ledger.device_seconds + missing * FULL * 3.0
    assert needed <= parse_budget(asked).device_seconds <= 1.5 * needed


def test_the_best_is_shortened_or_its_end_told_where_not_even_it_fits(tmp_path):
    simulation = searched(tmp_path / "run", "150s", 4.0)
    best = simulation.table.ranked(1)[0]["trial"]
    row = finals_of(simulation).get((best, 0))
    (note,) = noted(simulation)
    if row is None:
        assert "never began" in note
    else:
        done = row["epoch"] if row["cause"] == "budget" else row["epochs"]
        assert f"trial {best}, the best of the search, on seed 1" in note
        assert f"{done} of {FULL} epochs" in note


def test_where_all_is_whole_nothing_is_said(tmp_path):
    simulation = searched(tmp_path / "run", "0.2cpu-h", 1.0)
    assert noted(simulation) == []


def test_an_interrupted_final_training_is_not_called_too_large_for_the_budget(tmp_path):
    simulation = Simulation(tmp_path / "run", "500s", interval=1.0)
    simulation.go(lambda s: s.asked and s.asked[-1].stage == "final")
    simulation.core.interrupt()
    simulation.go()
    assert noted(simulation) == []


def test_a_trial_0_that_was_killed_too_often_is_the_baseline_all_the_same(tmp_path):
    simulation = Simulation(tmp_path / "run", "12trials", slots=1)

    def kill(s):
        live = s.core._live.get(0)
        if live is not None and live.epoch == 1:
            s.core.on_death(0, "the worker was killed")
        return False

    simulation.core.faults.retries = 0
    state = simulation.go(kill)
    assert simulation.table.rows[0]["cause"] == "failed"
    assert {entry["candidate"] for entry in state["finalists"] if entry["complete"]} > {0}
    assert not any("baseline" in note for note in state["notes"])


def test_without_an_epoch_of_trial_0_it_is_said_that_there_is_no_baseline(tmp_path):
    simulation = Simulation(tmp_path / "run", "12trials", slots=1)
    simulation.core.faults.retries = 0
    assert simulation.core.next().number == 0
    simulation.core.on_death(0, "the worker was killed")
    state = simulation.go()
    assert all(entry["candidate"] for entry in state["finalists"])
    (said,) = [note for note in state["notes"] if "baseline" in note]
    assert said.startswith("trial 0, the default network, ended as failed: ")

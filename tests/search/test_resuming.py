"""Runs that stages.json calls ended, and that are not: by their budget, or by their journal."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nas.api.searching import carry_out, prepare, reopen
from nas.errors import NasError
from nas.rundir import RunDir, lock
from nas.search.run import create, unfinished

from .simulator import Simulation
from .test_storage import begun

ENDED = {
    "stages": [{"name": "coarse"}], "ended": True, "stopped": "budget", "finalists": [],
    "budget": {"asked": "5trials"}, "trials": {"total": 5},
}  # fmt: skip


@pytest.fixture
def run(tmp_path) -> RunDir:
    """It has ended, under its five trials."""
    run = begun(tmp_path / "run", f"sqlite:///{tmp_path / 'trials.db'}")
    run.write_stages(ENDED)
    return run


def test_what_was_done_counts_and_not_what_was_asked_last(run):
    assert reopen(run.path, None, {}).prepared is None
    assert reopen(run.path, "5trials", {}).prepared is None
    run.write_request(replace(run.request, budget="20trials"))  # and was killed
    for budget in (None, "20trials"):
        going_on = reopen(run.path, budget, {}).prepared
        assert going_on is not None and going_on.request.budget == "20trials"
    with pytest.raises(NasError, match="4trials is not larger than what run has spent"):
        reopen(run.path, "4trials", {})
    assert reopen(run.path, "5trials", {}).prepared is None, "these were done"


def test_a_resume_that_finds_its_database_gone_leaves_the_request_as_it_was(run, tmp_path):
    session = reopen(run.path, "20trials", {})
    for file in tmp_path.glob("trials.db*"):
        file.rename(file.with_name("gone-" + file.name))
    with pytest.raises(NasError):
        carry_out(session)
    assert RunDir.open(run.path).request.budget == "5trials"
    for file in tmp_path.glob("gone-*"):
        file.rename(file.with_name(file.name.removeprefix("gone-")))
    assert reopen(run.path, "20trials", {}).prepared is not None


def test_a_resume_says_which_lock_it_waits_for_and_how_long(run, monkeypatch):
    monkeypatch.setattr(lock, "STALE_SECONDS", 1.0)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.05)
    other = replace(lock.ourselves(), pid=4711, host="farhost", boot="another")
    text = f"{other}\n{json.dumps(asdict(other))}\n"
    (run.path / lock.NAME).write_bytes(text.encode().ljust(lock.WIDTH))
    heard: list[str] = []
    reopen(run.path, None, {}, heard.append)
    (waiting,) = heard
    assert str(run.path / lock.NAME) in waiting and "pid 4711 on farhost" in waiting
    assert "waiting up to 1 s" in waiting


@pytest.mark.parametrize("changed", ["x_train", "y_train", "y_test", None])
def test_other_images_in_the_place_of_the_run_s_are_refused(changed, tmp_path):
    digits = load_digits()
    arrays = {"x_train": digits.images[:600], "y_train": digits.target[:600]}
    arrays |= {"x_test": digits.images[600:700], "y_test": digits.target[600:700]}
    file = tmp_path / "own.npz"
    np.savez(file, **arrays)
    run = create(prepare("tiny", str(file), "5trials"), tmp_path / "run")
    if changed is None:  # written anew, as it was
        np.savez_compressed(file, **arrays)
        assert reopen(run.path, None, {}).prepared is not None
        return
    spoilt = arrays[changed].copy()
    spoilt[:2] = spoilt[1::-1]
    np.savez(file, **arrays | {changed: spoilt})
    with pytest.raises(NasError, match=r"of .*own\.npz are not those that the run was begun with"):
        reopen(run.path, None, {})
    run.write_request(replace(run.request, data_digest=""))  # as before there were any
    assert reopen(run.path, None, {}).prepared is not None


def cut_records(run: RunDir, records: int) -> None:
    """Cut the journal in the middle of its last record but so many."""
    lines = run.journal.read_bytes().splitlines(keepends=True)
    run.journal.write_bytes(b"".join(lines[: -1 - records]) + lines[-1 - records][:9])


def test_a_run_whose_last_record_was_torn_off_after_its_end_goes_on(tmp_path):
    run = begun(tmp_path / "run", "journal")
    run.write_stages({**ENDED, "stages": [{"name": "coarse", "trials": 1}]})
    assert reopen(run.path, None, {}).prepared is None, "all of it is there"
    cut_records(run, 0)
    assert reopen(run.path, None, {}).prepared is not None, "trial 0 is open again"


def test_a_journal_that_cannot_be_read_leaves_an_ended_run_ended(tmp_path):
    run = begun(tmp_path / "run", "journal")
    run.write_stages({**ENDED, "stages": [{"name": "coarse", "trials": 1}]})
    run.journal.write_bytes(b"no record\n" + run.journal.read_bytes())
    assert reopen(run.path, None, {}).prepared is None


@pytest.mark.parametrize("budget", ["12trials", "60s"])
@pytest.mark.parametrize("records", [0, 5, 60])
def test_what_a_cut_journal_lost_of_an_ended_search_is_made_up_for(tmp_path, budget, records):
    """Torn off: the word of the last trial's end, its figures, several trials with it."""
    ended = Simulation(tmp_path / "run", budget)
    before = ended.go()
    cut_records(ended.run, records)
    found = unfinished(ended.run, before)
    if found is None:
        assert (budget, records) == ("60s", 60), "no time is left for what is lost altogether"
        return
    again = Simulation(tmp_path / "run", budget)
    if budget == "60s":  # it is spent: the workers are not started again
        again.core.give_up(None)
        after = again.core.finish()
    else:
        after = again.go()
    assert after["ended"] and unfinished(again.run, after) is None
    spent = "spent_device_seconds"  # what was lost was paid for all the same
    assert after["budget"][spent] >= before["budget"][spent]
    assert all(row["cause"] for row in again.table.rows.values())
    if records == 0:
        assert after["trials"] == before["trials"] and after["finalists"] == before["finalists"]
        assert again.trained == {}, "nothing was trained twice"


@pytest.mark.parametrize("budget", ["120s", "0.05gpu-h"])
def test_a_larger_budget_that_holds_nothing_more_names_one_that_does(tmp_path, budget):
    Simulation(tmp_path / "run", budget).go()
    number, unit = float(budget.rstrip("sgpu-h")), budget.lstrip("0123456789.")
    little = Simulation(tmp_path / "run", f"{number * 1.01:.4f}{unit}")
    before = little.core.table.rows.keys() - {None}
    state = little.go()
    (note,) = [note for note in state["notes"] if "held no more training" in note]
    assert ("were spent before, and this start took" in note) == (unit == "s")
    named = note.rpartition("is about ")[2]
    assert named.endswith(unit)
    enough = Simulation(tmp_path / "run", named)
    state = enough.go()
    assert len(enough.core.table.rows) > len(before) + 1
    assert not [note for note in state["notes"] if "held no more" in note]


def test_a_resume_keeps_nothing_back_for_final_trainings_that_are_made(tmp_path):
    """It searches with what a larger budget has more."""
    Simulation(tmp_path / "run", "300s").go()
    more = Simulation(tmp_path / "run", "400s")
    made = len(more.core.table.rows)
    assert more.core.ledger.reserved_wall_seconds < 40, "one training, not all of them"
    more.go()
    rows = list(more.core.table.rows.values())[made:]
    assert sum(row["stage"] != "final" for row in rows) >= 4
    assert [row for row in rows if row["candidate"] and row["epoch"] == 18]

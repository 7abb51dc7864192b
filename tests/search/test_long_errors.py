"""Texts of any length that other people's code raises: what is kept of them, and where."""

from __future__ import annotations

import csv

import pytest

from nas.errors import MOST_CHARACTERS, ShapeError, cut, words_of
from nas.rundir import TRIAL_COLUMNS, RunDir
from nas.search.work import Ask, Signal

from .simulator import Simulation, price

LONG = "Traceback:\n" + '  File "cells.py", line 3, in forward\n' * 50_000


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (LONG + "ValueError: the cause", "\nValueError: the cause"),
        (LONG + "ValueError: " + "x" * 10**6, "999,512 characters cut)"),
        ("ValueError: " + "x" * 10**6, "999,512 characters cut)"),
    ],
)
def test_a_cut_text_keeps_its_beginning_and_its_last_line(text: str, end: str) -> None:
    kept = cut(text)
    assert len(kept) <= MOST_CHARACTERS
    assert kept.startswith(text[:500]) and kept.endswith(end)
    assert "characters cut" in kept
    assert cut(kept) == kept


def test_a_text_of_ordinary_length_stays_as_it_is() -> None:
    assert cut("ValueError: no\n") == "ValueError: no\n"
    assert words_of(ValueError("no")) == "ValueError: no" and words_of(KeyError()) == "KeyError"


@pytest.mark.parametrize("way", ["failed", "out_of_memory", "death", "wrong_type"])
def test_no_file_of_a_run_holds_an_error_whole(tmp_path, way):
    simulation = Simulation(tmp_path / "run", "5trials", slots=1)
    core, error = simulation.core, LONG + "ValueError: " + "x" * 10**6
    core.faults.retries = 0
    assert core.next().number == 0
    if way == "death":
        core.on_death(0, error)
    elif way == "wrong_type":
        core.on_report(0, {"kind": "epoch", "epoch": 1, "validation": error})
    else:
        core.on_report(0, {"kind": "failed", "cause": way, "error": error})
    core.table.save(force=True)
    (row,) = core.run.trials()
    assert len(row["error"]) in range(500, 1000)
    sizes = {path.name: path.stat().st_size for path in core.run.path.rglob("*") if path.is_file()}
    assert max(sizes.values()) < 50_000, sizes


def test_a_table_with_an_error_of_any_length_can_be_read(tmp_path):
    run = RunDir(tmp_path)
    csv.field_size_limit(131_072)  # Python's own
    with (tmp_path / "trials.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, TRIAL_COLUMNS)
        writer.writeheader()
        writer.writerow({"trial": "0", "error": "x" * 20_000_000})
    (row,) = run.trials()
    assert len(row["error"]) == 20_000_000


# --- draws that take long ---------------------------------------------------------------------


def test_a_search_that_is_told_to_stop_while_it_draws_draws_no_more(tmp_path):
    asked: list[int] = []

    def misfit(architecture):
        if not asked:
            asked.append(0)
            return price(architecture)
        asked.append(len(asked))
        if len(asked) == 5:
            simulation.core.interrupt()
        raise ShapeError("it does not come to an end")

    simulation = Simulation(tmp_path / "run", "50trials", slots=2, price=misfit)
    assert isinstance(simulation.core.next(), Ask)
    assert simulation.core.next() is Signal.WAIT
    assert len(asked) == 5 and simulation.core.stopped is None


def test_a_budget_that_ends_while_candidates_are_drawn_ends_the_draws(tmp_path):
    asked: list[int] = []

    def misfit(architecture):
        asked.append(len(asked))
        if len(asked) > 1:
            simulation.clock.now += 10.0  # one that hangs
            raise ShapeError("it does not come to an end")
        return price(architecture)

    simulation = Simulation(tmp_path / "run", "5min", slots=2, price=misfit)
    assert isinstance(simulation.core.next(), Ask)
    assert simulation.core.next() is Signal.WAIT
    assert simulation.core.stopped == "budget"
    assert simulation.clock.now <= 300 and len(asked) < 35


def test_each_kind_of_misfit_is_logged_once(tmp_path):
    def misfit(architecture):
        width = architecture.network[0]["channels"]
        if width != 16:
            raise ShapeError(f"it crashes on an input of {width}x8x8")
        return price(architecture)

    simulation = Simulation(tmp_path / "run", "5trials", slots=1, price=misfit)
    simulation.go()
    log = simulation.core.run.log_file.read_text()
    for width in (8, 32):
        assert log.count(f"refused: it crashes on an input of {width}x8x8") == 1

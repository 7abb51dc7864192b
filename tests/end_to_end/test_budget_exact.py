"""Real searches and their budgets: `pytest -m slow`."""

from __future__ import annotations

import re
import time

import pytest

DIGITS = ("search", "--space", "tiny", "--data", "digits", "--json")
REPORT_SECONDS = 1.0  # between two words of a worker, at the most
EXPORT_SECONDS = 5.0  # with the interpreter's own end


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("budget", "turn"), [("45s", 0), *(("10min", n) for n in range(10))])
def test_a_wall_clock_is_kept_and_the_finals_are_whole(nas, budget, turn):
    seconds = 45 if budget == "45s" else 600
    began = time.monotonic()
    done = nas(*DIGITS, "--budget", budget, "--seed", turn, timeout=850)
    taken = time.monotonic() - began
    assert done.code == 0, done.err
    assert taken <= seconds + REPORT_SECONDS + EXPORT_SECONDS
    full = {e["candidate"] for e in done.json["finalists"] if e["complete"] and e["epochs"] == 12}
    assert {0, done.json["finalists"][0]["candidate"]} <= full


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("budget", ["5s", "0.0001gpu-h", "0.0001cpu-h", "4epochs"])
def test_the_budget_that_is_named_instead_of_a_small_one_is_enough(nas, tmp_path, budget):
    told = nas(*DIGITS, "--budget", budget, "--run-dir", tmp_path / "small")
    said = re.search(r"smallest useful budget is about (.+?) \(less", told.out + told.err)
    assert said, told.err
    done = nas(*DIGITS, "--budget", said[1], "--run-dir", tmp_path / "enough")
    assert done.code == 0, done.err
    assert done.json["trials"]["total"] >= 2
    finalists = done.json["finalists"]
    full = {e["candidate"] for e in finalists if e["complete"] and e["epochs"] == 12}
    assert {0, finalists[0]["candidate"]} <= full and len(full) >= 2

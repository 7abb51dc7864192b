"""The object of `nas search --json`, from the folder alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nas.report.overview import run_row
from nas.report.summary import summary
from nas.search.sheet import Sheet

from .conftest import RESULTS, ended, finalist

STABLE = {
    "run", "space", "data", "seed", "objective", "best", "reference", "trials", "stages", "budget",
    "stopped",
}  # fmt: skip
NETWORK = {
    "architecture", "weights", "trial", "validation", "validation_std", "test", "params", "macs"
}  # fmt: skip
TRIALS = {
    "total", "finished", "stalled", "pruned", "exploded", "nan", "out_of_memory", "infeasible",
    "failed", "budget", "duplicates",
}  # fmt: skip
BUDGET = {"asked", "spent_device_seconds", "wall_seconds", "reserved_final_seconds"}


def test_stable_names(make_run):
    run = make_run(ended(results=RESULTS))
    found = summary(run)
    assert set(found) >= STABLE
    assert set(found["best"]) == NETWORK == set(found["reference"])
    assert set(found["trials"]) == TRIALS
    assert set(found["budget"]) >= BUDGET
    assert found["run"] == str(run.path)
    assert found["best"]["architecture"] == str(run.path / "best.yaml")
    assert found["reference"]["weights"] == str(run.path / "reference.pt")
    assert found["best"]["trial"] == 7
    assert (found["stopped"], found["state"]) == ("budget", "finished")


def test_the_same_names_before_anything_happened(make_run):
    found = summary(make_run())
    assert set(found) >= STABLE
    assert set(found["trials"]) == TRIALS and found["trials"]["total"] == 0
    assert set(found["budget"]) == BUDGET and found["budget"]["asked"] == "3min"
    assert found["best"] is None and found["reference"] is None and found["stopped"] is None


def test_state_of_a_run(make_run):
    assert summary(make_run(name="a"))["state"] == "killed"
    assert summary(make_run(ended(finalists=[]), "b"))["state"] == "failed"
    broken_off = ended(stopped="interrupted", ended=False)
    assert summary(make_run(broken_off, "c"))["state"] == "interrupted"
    run = make_run(broken_off, "d")
    with run.lock():
        assert summary(run)["state"] == "running"
    assert summary(run)["state"] == "interrupted"


def test_json_has_no_nan(make_run):
    run = make_run(ended(finalists=[finalist(3, float("nan"))]))
    text = json.dumps(summary(run), allow_nan=False)
    assert json.loads(text)["finalists"][0]["validation"] is None


def test_test_accuracy_only_of_what_was_tested(make_run):
    entries = [finalist(7, 0.96), finalist(3, 0.955), finalist(0, 0.95)]
    found = summary(make_run(ended(finalists=entries, results=RESULTS)))
    assert [entry["test"] for entry in found["finalists"]] == [0.9722, None, 0.9722]


def test_best_so_far_counts_whole_trainings_only(make_run, row):
    run = make_run()
    rows = [
        row(0, "finished", 0.8), row(1, "pruned", 0.99), row(2, "stalled", 0.85),
        row(3, None, 0.95), row(4, "finished", float("nan")), row(5, "finished", 0.97, "final"),
    ]  # fmt: skip
    sheet = Sheet()
    for each in rows:
        sheet.change(each["trial"])
    run.write_trials(lambda: sheet.text({each["trial"]: each for each in rows}))
    assert summary(run)["best_so_far"] == {"trial": 2, "validation": 0.85}
    assert run_row(run)["validation"] == 0.85


def test_a_run_that_was_moved(make_run, tmp_path: Path):
    run = make_run(ended(results=RESULTS))
    moved = run.path.rename(tmp_path / "elsewhere")
    found = summary(type(run)(moved))
    assert found["best"]["weights"] == str(moved / "best.pt")


@pytest.mark.parametrize("module", ["summary", "tables", "live", "describe", "overview", "survey"])
def test_reports_need_neither_torch_nor_optuna(module):
    code = (
        f"import sys, nas.report.{module}; heavy = {{'torch', 'optuna', 'ray', 'pandas', 'numpy'}};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"

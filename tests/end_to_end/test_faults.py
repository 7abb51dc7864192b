"""What happens to a search from outside: kills, interrupts, second processes."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path

import pytest

WORDS = ("search", "--space", "tiny", "--data", "digits", "--run-dir", "run")


def rows(run: Path) -> dict[int, dict[str, str]]:
    """trials.csv by number; a search that has not got so far has none."""
    try:
        with (run / "trials.csv").open() as file:
            return {int(row["trial"]): row for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}


def wait(run: Path, ended: int, process, seconds: float = 120) -> dict[int, dict[str, str]]:
    """Wait until that many trials have ended."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        assert process.poll() is None, process.communicate()
        told = {number: row for number, row in rows(run).items() if row["cause"]}
        if len(told) >= ended:
            return told
        time.sleep(0.1)
    raise AssertionError(f"fewer than {ended} trials ended in {seconds} s")


@pytest.mark.parametrize(
    "word", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_exports_the_best_so_far_and_says_how_to_resume(start, tmp_path, word):
    run = tmp_path / "run"
    process = start(*WORDS, "--budget", "200trials", "--json")
    wait(run, 3, process)
    began = time.monotonic()
    process.send_signal(word)  # Ctrl-C, or a cluster's pre-emption
    out, err = process.communicate(timeout=90)
    assert time.monotonic() - began < 60
    assert process.returncode == 130, err
    assert "nas search --resume" in err
    assert "Traceback" not in err and "SIGTERM received" not in err

    told = json.loads(out)
    assert told["stopped"] == "interrupted"
    assert Path(told["best"]["weights"]).exists()
    assert told["best"]["test"] is None, "test data are for the end alone"


def test_a_recipe_that_explodes_is_stopped_within_ten_steps_and_nothing_survives(nas, tmp_path):
    done = nas(*WORDS, "--budget", "4trials", "--set", "recipe.lr=1e4", "--json",
               "--set", "recipe.warmup_epochs=0")  # fmt: skip
    assert done.code == 1, done.err
    told = done.json
    assert told["best"] is None
    assert told["trials"]["exploded"] + told["trials"]["nan"] == 4
    assert "exploded" in done.err or "nan" in done.err
    for folder in (tmp_path / "run" / "trials").iterdir():
        with (folder / "metrics.csv").open() as file:
            (row,) = csv.DictReader(file)
        assert row["stop"] in ("exploded", "nan") and int(row["steps"]) <= 10


@pytest.mark.slow
def test_a_budget_shorter_than_the_start_of_the_workers_is_kept_and_explained(nas):
    done = nas(*WORDS, "--budget", "2s", "--json")
    assert done.code == 1
    assert done.json["best"] is None and done.json["stopped"] == "budget"
    assert "the smallest useful budget is about" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("word", "seconds"),
    [
        (signal.SIGTERM, 1.5),
        (signal.SIGINT, 4.0),
        pytest.param(signal.SIGINT, 1.5, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 4.0, marks=pytest.mark.slow),
    ],
)
def test_a_signal_before_the_first_trial_is_answered_too(start, here, tmp_path, word, seconds):
    process = start(*WORDS, "--budget", "200trials", "--json")
    time.sleep(seconds)
    process.send_signal(word)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert json.loads(out)["stopped"] == "interrupted"
    assert "Traceback" not in err
    if (tmp_path / "run").exists():
        assert here("show", tmp_path / "run", "--json").json["state"] == "interrupted"


WHILE_LOADED = {
    # Python ends itself by SIGINT after one within an `exec` of text: imports are full of them
    "within exec": 'exec("raise KeyboardInterrupt")',
    "swallowed": """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)
except BaseException:
    pass
""",
}


@pytest.mark.parametrize("how", WHILE_LOADED)
def test_an_interrupt_while_something_is_loaded_leaves_its_exit_code(nas, tmp_path, how):
    (tmp_path / "slow.py").write_text(WHILE_LOADED[how])
    done = nas(*WORDS, "--budget", "20trials", "--plugin", "slow.py", "--json")
    assert done.code == 130, done.err
    assert done.json["stopped"] == "interrupted"

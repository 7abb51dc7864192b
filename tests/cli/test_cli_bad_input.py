"""What contradicts a finished run, or does not fit its files; the rest of what may be wrong is a
table of tests/end_to_end/test_bad_input.py."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

NEW = ("search", "--space", "tiny", "--data", "digits", "--budget", "1min")


def test_json_does_not_change_where_errors_go(nas, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = nas(*NEW[:6], "0min", "--json")
    assert (told.code, told.out) == (2, "") and told.err.startswith("error: ")
    told = nas("describe", "resnet_cell", "--json")
    assert (told.code, told.out) == (2, "") and "did you mean 'resnet_cells'" in told.err


@pytest.mark.parametrize("command", ["search", "plan"])
def test_no_budget_of_several_is_passed_over(command, nas):
    told = nas(command, *NEW[1:], "--budget", "9trials", "--budget", "2min")
    assert told.code == 2 and "'1min,9trials,2min' bounds the same thing twice" in told.err


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("--data", "mnist"), "--data mnist contradicts"),
        (("--space", "resnet_cells"), "--space resnet_cells contradicts"),
        (("--seed", "7"), "--seed 7 contradicts"),
        (("--set", "recipe.epochs=4"), "--set"),
        (("--run-dir", "other"), "leave one out"),
        (("--budget", "1trials"), "not larger"),
        (("--budget", "1s"), "not larger"),
    ],
)
def test_resume_keeps_what_the_run_was_begun_with(words, needed, nas, searched):
    told = nas("search", "--resume", searched["run"], *words)
    assert told.code == 2 and needed in told.err


def test_resume_with_the_same_words_is_no_contradiction(nas, searched):
    told = nas(
        "search", "--resume", searched["run"], "--space", "tiny", "--data", "digits", "--budget",
        "14trials", "-q",
    )  # fmt: skip
    assert told.code == 0, told.err


def test_run_dir_that_holds_a_run(nas, searched):
    told = nas(*NEW, "--run-dir", searched["run"])
    assert told.code == 2 and "--resume" in told.err


def test_predict_with_weights_of_another_network(nas, searched, pictures, tmp_path):
    file = tmp_path / "best.yaml"
    text = Path(searched["best"]["architecture"]).read_text()
    file.write_text(re.sub(r"(conv1, op: conv, channels: )", r"\g<1>1", text))
    told = nas("predict", file, pictures[0])
    assert told.code == 2 and "no weights" in told.err
    shutil.copy(searched["best"]["weights"], tmp_path / "best.pt")
    told = nas("predict", file, pictures[0])
    assert told.code == 2 and "another network" in told.err
    (tmp_path / "best.pt").write_bytes(b"not a zip")
    told = nas("predict", file, pictures[0])
    assert told.code == 2 and "read" in told.err and "Traceback" not in told.err


def test_predict_on_what_is_no_picture(nas, searched, tmp_path):
    (tmp_path / "x.png").write_text("no picture")
    told = nas("predict", searched["best"]["architecture"], tmp_path / "x.png")
    assert told.code == 2 and "neither PNG nor JPEG" in told.err


def test_predict_by_a_file_without_data(nas, searched, pictures, tmp_path):
    plain = Path(searched["run"]) / "trials" / "0" / "architecture.yaml"
    told = nas("predict", plain, pictures[0])
    assert told.code == 2 and "no data." in told.err and "best.yaml" in told.err

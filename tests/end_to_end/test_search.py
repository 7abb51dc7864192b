"""One real search on digits, looked at from all sides."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import nas as toolkit
from nas.api.reproduction import reproduce
from nas.cli import main
from nas.space import parse

NAMES = {
    "run", "space", "data", "seed", "objective", "best", "reference", "trials", "stages",
    "budget", "stopped",
}  # fmt: skip
NETWORK = {
    "architecture", "weights", "trial", "validation", "validation_std", "test", "params", "macs",
}  # fmt: skip


@pytest.fixture
def nas(here, tmp_path, monkeypatch):
    """What is done with a run afterwards is done in this process."""
    monkeypatch.chdir(tmp_path)
    return here


def test_the_json_has_the_promised_names(searched):
    found = searched
    assert set(found) >= NAMES
    assert set(found["best"]) >= NETWORK and set(found["reference"]) >= NETWORK
    for path in (found["run"], found["best"]["architecture"], found["best"]["weights"]):
        assert Path(path).is_absolute() and Path(path).exists()
    assert found["reference"]["trial"] == 0
    assert found["stopped"] == "budget"
    ends = {key: n for key, n in found["trials"].items() if key not in ("total", "duplicates")}
    assert sum(ends.values()) == found["trials"]["total"]
    assert found["trials"]["total"] - found["trials"]["infeasible"] == 14


def test_it_learns_and_never_ends_below_the_textbook(searched):
    found = searched
    assert found["best"]["validation"] >= found["reference"]["validation"]
    assert found["best"]["test"] > 0.9
    assert 0 <= found["best"]["validation_std"] < 0.1


def test_the_run_folder_holds_what_its_readme_says(searched):
    run = Path(searched["run"])
    assert run.parent.name == "runs"
    for name in (
        "request.yaml", "space.yaml", "environment.json", "study.journal", "trials.csv",
        "stages.json", "best.yaml", "best.pt", "log.txt",
    ):  # fmt: skip
        assert (run / name).is_file(), name
    with (run / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(len(rows)))
    for row in rows:
        assert row["cause"]
        folder = run / "trials" / row["trial"]
        assert isinstance(toolkit.load(folder / "architecture.yaml"), object)
        if row["cause"] == "finished":
            with (folder / "metrics.csv").open() as file:
                assert len(list(csv.DictReader(file))) == int(row["epoch"])
    assert not list(run.rglob(".new-*")) and not list(run.glob("*.tmp"))


def test_causes_and_numbers_stand_in_the_study(searched):
    run = Path(searched["run"])
    storage = JournalStorage(JournalFileBackend(str(run / "study.journal")))
    names = [study.study_name for study in storage.get_all_studies()]
    assert names[0] == f"{run.name}.coarse" and names[-1] == f"{run.name}.final"
    numbers = []
    for name in names:
        for trial in optuna.load_study(study_name=name, storage=storage).trials:
            assert trial.state.is_finished()
            assert "cause" in trial.user_attrs
            if "trial" in trial.user_attrs:
                numbers.append(trial.user_attrs["trial"])
    assert sorted(numbers) == list(range(len(numbers)))


def test_predict_names_the_digits(searched, tmp_path, nas):
    from PIL import Image
    from sklearn.datasets import load_digits

    found = searched["best"]
    digits = load_digits()
    paths = []
    for i in range(12):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.round(digits.images[i] * 255 / 16).astype(np.uint8)).save(path)
        paths.append(path)
    done = nas("predict", found["architecture"], *paths, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    labels = [str(row["label"]) for row in told["predictions"]]
    right = sum(a == str(b) for a, b in zip(labels, digits.target[:12], strict=True))
    assert right >= 9


def test_a_copied_run_folder_is_shown_too(searched, tmp_path, nas):
    import shutil

    run = Path(searched["run"])
    shutil.copytree(run, tmp_path / "elsewhere")
    shown = nas("show", "elsewhere", "--json")
    assert shown.code == 0, shown.err
    assert shown.json["best"]["test"] == searched["best"]["test"]
    moved = toolkit.open_run(tmp_path / "elsewhere")
    assert len(moved.study.trials) > 0, "the studies keep the name they were made under"


@pytest.mark.slow
def test_a_loaded_space_can_be_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = toolkit.load("tiny")
    options = {"data": "digits", "budget": "2trials", "constants": {"recipe.epochs": 1}}
    run = toolkit.search(space, **options)
    assert run.summary["trials"]["total"] == 2
    again = toolkit.search(space, **{**options, "budget": "3trials"}, resume=run.path)
    assert again.summary["trials"]["total"] == 3


def test_a_space_goes_on_with_its_own_run_alone(searched):
    again = toolkit.search(toolkit.load("tiny"), resume=searched["run"])
    assert again.summary == searched
    with pytest.raises(toolkit.UserError, match="contradicts the run"):
        toolkit.search(toolkit.load("resnet_cells"), resume=searched["run"])


@pytest.mark.slow
def test_a_space_made_of_text_can_be_searched_and_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text("something: else\n")  # no file of this space
    space = parse(toolkit.load("tiny").text)
    options = {"data": "digits", "budget": "2trials", "constants": {"recipe.epochs": 1}}
    run = toolkit.search(space, **options)
    again = toolkit.search(space, **{**options, "budget": "3trials"}, resume=run.path)
    assert again.summary["trials"]["total"] == 3
    with pytest.raises(toolkit.UserError, match="contradicts the run"):
        toolkit.search(toolkit.load("resnet_cells"), resume=run.path)


def test_each_trial_trained_again_gives_its_own_curve(searched, nas):
    run = Path(searched["run"])
    with (run / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    before = sorted((file, file.stat().st_mtime_ns) for file in run.rglob("*"))
    one_of_each = {(row["stage"] == "final", row["cause"]): row["trial"] for row in rows}
    assert {final for final, _ in one_of_each} == {True, False}
    for number in one_of_each.values():
        done = reproduce(run / "trials" / number / "architecture.yaml")
        assert done.equal, done.difference
        assert done.epochs == int(rows[int(number)]["epoch"]) or done.epochs == 1
    told = nas("train", run / "trials" / "0" / "architecture.yaml", "--exact", "-q")
    assert told.code == 0, told.err
    assert "trial 0 reproduced" in told.out and "epochs equal" in told.out
    assert sorted((file, file.stat().st_mtime_ns) for file in run.rglob("*")) == before


def test_a_trial_that_was_trained_otherwise_is_told_where_it_differs(searched, tmp_path, nas):
    import shutil

    run = Path(searched["run"])
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run" / "trials" / "0" / "conditions.json"
    file.write_text(file.read_text().replace('"seed": ', '"seed": 1'))
    done = nas("train", "run/trials/0/architecture.yaml", "--exact", "--json")
    assert done.code == 1, done.err
    assert "epoch 1 differs: train_loss was" in done.json["difference"]
    assert re.search(r"\(they are [\d.e+-]+ apart\)", done.json["difference"])
    assert done.json["equal"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run/best.yaml", "--exact"), "is no trial's: --exact takes RUN/trials/<n>/"),
        (("nowhere/architecture.yaml", "--exact"), "does not exist"),
        (("run/trials/0/architecture.yaml", "--exact", "--seed", "1"), "leave --seed out"),
        (("run/trials/0/architecture.yaml", "--exact", "--epochs", "3"), "leave --epochs out"),
        (("run/best.yaml",), "--data is missing"),
    ],
)
def test_what_cannot_be_trained_exactly_is_refused(searched, tmp_path, monkeypatch, words, said):
    (tmp_path / "run").symlink_to(searched["run"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end, redirect_stderr(io.StringIO()) as told:
        main(["train", *words])
    assert end.value.code == 2 and said in told.getvalue()

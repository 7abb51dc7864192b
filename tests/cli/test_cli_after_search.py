"""A finished run through every command that reads one, and what the user takes home."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

import nas as toolkit
from nas import export
from nas.api import searching
from nas.cli.dashboard import bind
from nas.data import load as load_data
from nas.report.summary import summary
from nas.rundir import RunDir


def test_show_is_the_summary_again(nas, searched):
    assert nas("show", searched["run"], "--json").json == searched
    told = nas("show", searched["run"])
    assert told.code == 0 and "Finalists" in told.out and "nas predict" in told.out


def test_resume_of_a_finished_run_prints_it_and_touches_nothing(nas, searched):
    run = Path(searched["run"])
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    told = nas("search", "--resume", run, "--json")
    assert told.code == 0 and told.json == searched
    assert "finished already" in told.err
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    assert after == before


def test_runs_lists_it(nas, searched):
    told = nas("runs", "--dir", Path(searched["run"]).parent, "--json")
    (row,) = told.json["runs"]
    assert (row["name"], row["state"]) == (Path(searched["run"]).name, "finished")
    assert row["validation"] == searched["best"]["validation"]


def test_no_runs(nas, tmp_path):
    told = nas("runs", "--dir", tmp_path / "none")
    assert told.code == 0 and "nas search" in told.out


def test_stop_of_a_finished_run_says_so(nas, searched):
    told = nas("stop", searched["run"])
    assert told.code == 0 and "not running" in told.out
    found = nas("stop", searched["run"], "--json").json
    assert found == {"run": searched["run"], "running": False, "by": None}
    assert not (Path(searched["run"]) / "stop").exists()


def test_stop_of_a_running_one_leaves_the_word(nas, searched, tmp_path):
    shutil.copytree(searched["run"], tmp_path / "run")
    run = RunDir(tmp_path / "run")
    with run.lock():
        told = nas("stop", run.path)
        assert nas("show", run.path, "--json").json["state"] == "running"
    assert told.code == 0 and "asked" in told.out and "--resume" in told.out
    assert run.asked_to_stop()


@pytest.fixture
def taken_home(searched, tmp_path) -> Path:
    """best.yaml and best.pt on another machine: without the run folder."""
    for key in ("architecture", "weights"):
        shutil.copy(searched["best"][key], tmp_path)
    return tmp_path / "best.yaml"


def test_predict(nas, taken_home, pictures):
    told = nas("predict", taken_home, *pictures, "--json")
    rows = told.json["predictions"]
    assert [row["image"] for row in rows] == [str(path) for path in pictures]
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert max(row["probabilities"].values()) == row["probability"]
        assert row["probabilities"][row["label"]] == row["probability"]
    assert sum(row["label"] == Path(row["image"]).stem for row in rows) >= 2
    told = nas("predict", taken_home, pictures[0], "--top", "2")
    assert told.code == 0 and told.out.count("%") == 2


def test_predict_many_images_of_one_array(nas, taken_home, tmp_path):
    np.save(tmp_path / "two.npy", np.zeros((2, 1, 8, 8), np.uint8))
    rows = nas("predict", taken_home, tmp_path / "two.npy", "--json").json["predictions"]
    assert [row["image"][-4:] for row in rows] == ["y[0]", "y[1]"]


def test_test_gives_the_accuracy_of_the_search(nas, searched, taken_home):
    found = nas("test", taken_home, "--data", "digits", "--json").json
    assert found["accuracy"] == pytest.approx(searched["best"]["test"])
    confusion = np.array(found["confusion"])
    assert confusion.sum() == found["images"] and np.trace(confusion) / confusion.sum() == (
        pytest.approx(found["accuracy"])
    )
    told = nas("test", taken_home, "--data", "digits", "--weights", taken_home.with_suffix(".pt"))
    assert told.code == 0 and "Confusion" in told.out


def test_test_on_data_of_another_shape(nas, taken_home, tmp_path):
    x, y = np.zeros((20, 9, 9), np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "other.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    told = nas("test", taken_home, "--data", tmp_path / "other.npz")
    assert told.code == 2 and "size" in told.err


def test_the_exported_file_is_whole(searched, taken_home):
    loaded = toolkit.load(taken_home)
    assert set(loaded.data) >= {"size", "channels", "mean", "std", "classes"}
    assert loaded.data["classes"] == [str(digit) for digit in range(10)]
    found = loaded.found
    assert found["trial"] == searched["best"]["trial"]
    assert found["test"] == searched["best"]["test"]
    assert {"run", "seed", "versions", "data", "budget", "validation_std"} <= set(found)
    assert "# `repeat` is the depth" in taken_home.read_text(), "comments are kept"
    state = torch.load(taken_home.with_suffix(".pt"), weights_only=True)
    network = toolkit.build(loaded, classes=10, channels=1, size=8)
    network.load_state_dict(state)
    assert sum(p.numel() for p in network.parameters()) == searched["best"]["params"]


def test_load_model_in_python(taken_home, pictures):
    model = toolkit.load_model(taken_home)
    assert not model.training
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    by_file = model.predict(pictures)
    assert [p.label for p in by_file] == [p.label for p in toolkit.predict(taken_home, pictures)]
    with pytest.raises(toolkit.UserError, match="shape"):
        model.predict(np.zeros((1, 3, 8, 8), np.uint8))
    with pytest.raises(toolkit.UserError, match="trained on uint8"):
        model.predict(np.zeros((1, 1, 8, 8), np.float32))


def test_describe_of_an_export_is_of_its_own_images(nas, searched, taken_home):
    found = nas("describe", taken_home, "--json").json
    assert found["params"] == searched["best"]["params"]
    assert found["macs"] == searched["best"]["macs"]
    assert found["input"] == {"size": [8, 8], "channels": 1, "classes": 10}
    assert sum(row["params"] for row in found["rows"]) == found["params"]


def test_open_run(searched):
    run = toolkit.open_run(searched["run"])
    assert run.summary == searched
    assert run.best.validation == searched["best"]["validation"]
    assert run.reference.trial == 0 and run.best.load()(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    trials = run.trials
    assert list(trials["trial"]) == list(range(len(trials)))
    assert {"cause", "stage"} <= set(trials.columns)
    assert str(trials["epochs"].dtype) == "Int64" and trials["validation"].dtype == float
    last = [stage["name"] for stage in searched["stages"] if stage["name"] != "final"][-1]
    assert run.study.study_name == f"{run.path.name}.{last}" and run.study.trials


def test_a_finished_export_is_not_tested_again(searched, monkeypatch):
    def never(*_):
        raise AssertionError("the test images were touched again")

    monkeypatch.setattr(export, "test_accuracy", never)
    assert toolkit.search(resume=searched["run"]).summary == searched


def test_an_export_that_a_crash_broke_off_is_made_up_for(searched, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(searched["run"], folder)
    run = RunDir(folder)
    state = run.stages()
    del state["results"]
    run.write_stages(state)
    (folder / "best.yaml").unlink()
    again = searching.carry_out(searching.reopen(folder, None, {}))
    for key in ("best", "reference"):
        own, before = again.summary[key], searched[key]
        assert own["test"] == before["test"] and Path(own["architecture"]).parent == folder
    assert (folder / "best.yaml").is_file()


def test_a_network_whose_test_fails_is_exported_all_the_same(searched, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(searched["run"], folder)
    run = RunDir(folder)
    for name in ("best.yaml", "best.pt"):
        (folder / name).unlink()

    def crash(*_):
        raise RuntimeError("the test crashed:\nSegmentation fault")

    state = export.best(run, load_data("digits", seed=0), again=True, test=crash)
    assert state["results"]["best"]["test"] is None and state == run.stages()
    assert export.load_model(folder / "best.yaml").classes
    told = [note for note in summary(run)["notes"] if "the test of trial" in note]
    assert told and "the test crashed: Segmentation fault; " in told[0]
    assert f"{folder / 'best'}.yaml and its weights are exported" in told[0]
    assert summary(run)["state"] == "finished"


def test_dashboard_answers_on_this_machine_only(searched):
    with bind(RunDir(Path(searched["run"])), 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/api/studies"
        with urllib.request.urlopen(url, timeout=20) as answer:
            studies = json.load(answer)["study_summaries"]
        server.shutdown()
    assert f"{Path(searched['run']).name}.coarse" in [study["study_name"] for study in studies]


def test_dashboard_on_a_taken_port(nas, searched):
    with bind(RunDir(Path(searched["run"])), 0) as server:
        told = nas("dashboard", searched["run"], "--port", server.server_port)
    assert told.code == 2 and "--port" in told.err

"""Searches whose trials are kept in a database, and searches that agree with one another."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import torch

import nas as toolkit
from nas.cli.dashboard import bind
from nas.rundir import RunDir
from nas.search import storage

from ..postgresql import PASSWORD
from .test_faults import WORDS, rows, wait


@pytest.fixture(autouse=True)
def forgotten():
    yield
    storage._typed.clear()


def kill_and_resume(start, nas, tmp_path, trials, *more, between=lambda: None):
    """Kill a search once four trials have ended, and see that a resume makes up for it."""
    run = tmp_path / "run"
    process = start(*WORDS, "--budget", f"{trials}trials", *more)
    before = wait(run, 4, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    stamps = {number: _stamp(run, number) for number in before}
    between()
    done = nas("search", "--resume", "run", "--json")
    assert done.code == 0, done.err
    after = rows(run)
    for number, row in before.items():
        for column in ("validation", "cause", "device_seconds", "epoch"):
            assert after[number][column] == row[column]
        assert _stamp(run, number) == stamps[number], "a finished trial ran again"
    assert done.json["trials"]["total"] - done.json["trials"]["infeasible"] == trials
    spent = sum(float(row["device_seconds"]) for row in after.values())
    assert spent == pytest.approx(done.json["budget"]["spent_device_seconds"], abs=0.5)


def _stamp(run: Path, number: int) -> float:
    return (run / "trials" / str(number) / "metrics.csv").stat().st_mtime


def test_a_search_on_postgresql_survives_a_kill_and_its_password_is_nowhere(
    start, nas, tmp_path, database, monkeypatch
):
    monkeypatch.delenv("PGPASSWORD")
    typed = database.replace("tester@", f"tester:{quote(PASSWORD, safe='')}@")

    def between():
        refused = nas("search", "--resume", "run")
        assert refused.code == 2
        assert "no password supplied" in refused.err and "PGPASSWORD" in refused.err
        monkeypatch.setenv("PGPASSWORD", PASSWORD)

    kill_and_resume(
        start, nas, tmp_path, 6, "--set", "recipe.epochs=9", "--storage", typed, between=between
    )
    run = RunDir.open(tmp_path / "run")
    assert run.request.storage == database
    assert not run.journal.exists()
    for file in run.path.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert PASSWORD.encode() not in content and quote(PASSWORD, safe="").encode() not in content
    assert len(toolkit.open_run(run.path).study.trials) > 0
    assert shown_names(run) >= {f"run.{run.request.id}.coarse", f"run.{run.request.id}.final"}


@pytest.mark.slow
def test_a_search_on_sqlite_survives_a_kill(start, nas, tmp_path):
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    kill_and_resume(start, nas, tmp_path, 10, "--set", "recipe.epochs=18", "--storage", url)
    assert any(name.endswith(".final") for name in shown_names(RunDir.open(tmp_path / "run")))


def shown_names(run: RunDir) -> set[str]:
    """The studies that the dashboard lists."""
    with bind(run, 0) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/api/studies"
            with urllib.request.urlopen(address, timeout=60) as answer:
                found = json.loads(answer.read())
        finally:
            server.shutdown()
            serving.join()
    return {study["study_name"] for study in found["study_summaries"]}


@contextmanager
def server_that_stops(server, run: Path, ended: int):
    """Stops it once that many trials of the run have ended."""

    def watch():
        limit = time.monotonic() + 120
        while time.monotonic() < limit:
            if sum(bool(row["cause"]) for row in rows(run).values()) >= ended:
                break
            time.sleep(0.1)
        server.stop()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        watching.join()


@pytest.mark.slow
def test_a_server_that_goes_for_good_ends_the_search_and_a_resume_finishes_it(
    server, database, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(storage, "PATIENCE", 3.0)
    options = {"data": "digits", "budget": "10trials", "storage": database}
    with server_that_stops(server, tmp_path / "run", 3):
        run = toolkit.search("tiny", run_dir="run", **options)
    assert run.summary["stopped"] == "error" and run.best is not None
    assert any("was lost" in note and "--resume" in note for note in run.summary["notes"])
    before = {n: row for n, row in rows(run.path).items() if row["cause"]}
    server.start()
    again = toolkit.search(resume="run")
    assert again.summary["stopped"] == "budget"
    after = rows(run.path)
    for number, row in before.items():
        assert after[number]["validation"] == row["validation"]
    searched = [row for row in after.values() if row["stage"] != "final"]
    assert len(searched) == 10 and all(row["cause"] for row in after.values())


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["8trials", "40epochs"])
def test_two_searches_of_one_seed_agree_whatever_their_storage(nas, tmp_path, budget):
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    words = (*WORDS[:-2], "--trials-at-once", "1", "--seed", "7", "--budget", budget, "--run-dir")
    for name, more in (("one", ()), ("two", ("--storage", url))):
        done = nas(*words, name, "--set", "recipe.epochs=6", *more, timeout=500)
        assert done.code == 0, done.err
    one, two = (read(tmp_path / name) for name in ("one", "two"))
    assert one["trials"] == two["trials"]
    assert one["metrics"] == two["metrics"] and one["metrics"]
    assert one["best"] == two["best"]
    assert one["weights"].keys() == two["weights"].keys()
    for name, tensor in one["weights"].items():
        assert torch.equal(tensor, two["weights"][name]), name


def read(run: Path):
    """What two runs have in common, seconds left out."""
    timed = ("device_seconds", "seconds")

    def table(file):
        with file.open() as lines:
            return [{k: v for k, v in r.items() if k not in timed} for r in csv.DictReader(lines)]

    files = sorted(run.glob("trials/*/metrics.csv"))
    best = toolkit.load(run / "best.yaml")
    return {
        "trials": table(run / "trials.csv"),
        "metrics": {str(file.relative_to(run)): table(file) for file in files},
        "best": (best.network, best.recipe),
        "weights": torch.load(run / "best.pt", weights_only=True),
    }

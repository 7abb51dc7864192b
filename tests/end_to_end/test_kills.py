"""SIGKILL of a whole search, at any moment: what is there afterwards, what a resume makes of it."""

from __future__ import annotations

import csv
import math
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.data import load as load_data
from nas.rundir import RunDir
from nas.search import trainable
from nas.search.request import available_cpus
from nas.search.work import Ask

# augmentation, dropout and a schedule: all that a resumed training could draw otherwise
SPACE = """
name: shaken
network:
  - {name: conv1, op: conv, channels: !choice [8, 16], kernel: 3}
  - {name: pool1, op: max_pool, kernel: 2}
  - {name: conv2, op: conv, channels: x2, kernel: 3, repeat: !int {low: 1, high: 2, default: 1}}
  - {op: global_pool}
  - {op: linear}
recipe:
  lr: !log {low: 1e-2, high: 0.3, default: 0.1}
  dropout: 0.2
  augment: flip_crop
  batch_size: 64
  epochs: 9
"""
WORDS = ("search", "--space", "shaken.yaml", "--data", "digits", "--keep", "all")
RESUME = ("search", "--resume", "run")
INTERVAL = 3.0  # seconds between two words of a running trial, on a machine that is busy


@dataclass(frozen=True)
class Seen:
    """What Optuna's own backend reads of a copy of the journal: by number of the trial."""

    ended: dict[int, tuple[str, float | None, str]]  # state, value, cause
    running: dict[int, int]  # the last epoch that was reported
    device_seconds: float


def read(run: Path, copy: Path) -> Seen:
    shutil.copyfile(run / "study.journal", copy)
    storage = JournalStorage(JournalFileBackend(str(copy)))
    ended: dict[int, tuple[str, float | None, str]] = {}
    running: dict[int, int] = {}
    spent = 0.0
    for name in optuna.get_all_study_names(storage):
        for trial in optuna.load_study(study_name=name, storage=storage).trials:
            attributes = trial.user_attrs
            if "trial" not in attributes:
                continue
            number = attributes["trial"]
            assert number not in ended and number not in running, "a number twice"
            progress = attributes.get("progress", {})
            spent += attributes.get("device_seconds", progress.get("device_seconds", 0.0))
            if trial.state.is_finished():
                value = trial.value if trial.state.name == "COMPLETE" else None
                ended[number] = (trial.state.name, value, attributes["cause"])
            else:
                running[number] = max([*trial.intermediate_values, progress.get("epoch", 0), 0])
    return Seen(ended, running, spent)


def kill(process, run: Path, copy: Path) -> Seen | None:
    """SIGKILL to the whole group; what stood in the journal then. None: there is no folder yet."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return read(run, copy) if run.exists() else None


def stamps(run: Path, seen: Seen) -> dict[int, float]:
    return {n: (run / "trials" / str(n) / "metrics.csv").stat().st_mtime for n in seen.ended}


def check(run: Path, before: list[Seen], last: Seen, found: dict[str, Any], trials: int) -> None:
    """Nothing lost, nothing twice, nothing charged twice."""
    for seen in before:
        for number, told in seen.ended.items():
            assert last.ended[number] == told, "what had ended has changed"
    assert not last.running
    assert sorted(last.ended) == list(range(len(last.ended))), "a number is lost"
    assert found["trials"]["total"] - found["trials"]["infeasible"] == trials
    rows = {int(row["trial"]): row for row in _rows(run / "trials.csv")}
    assert set(rows) == set(last.ended)
    ledger = found["budget"]["spent_device_seconds"]
    assert ledger == pytest.approx(last.device_seconds, abs=0.01 * len(rows))
    assert not list(run.rglob("*.tmp")) and not list(run.rglob("checkpoint.previous.pt"))


def check_charged(run: Path, seen: Seen) -> None:
    """The ledger holds what workers reported, but for an interval of each running trial."""
    reported = sum(
        float(row["seconds"])
        for number in (*seen.ended, *seen.running)
        for row in _rows(run / "trials" / str(number) / "metrics.csv")
    )
    assert seen.device_seconds >= reported - INTERVAL * max(1, len(seen.running))


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with file.open(newline="") as text:
            return list(csv.DictReader(text))
    except FileNotFoundError:
        return []


def uninterrupted(run: Path, number: int, epoch: int, folder: Path) -> None:
    """Train a trial anew, in this process, up to that epoch."""
    (row,) = [r for r in _rows(run / "trials.csv") if int(r["trial"]) == number]
    folder.mkdir()
    text = (run / "trials" / str(number) / "architecture.yaml").read_text()
    stops_early = row["stage"] != "final"
    ask = Ask(
        number,
        row["stage"],
        text,
        int(row["epochs"]),
        int(row["seed"]),
        str(folder),
        0,
        stops_early,
    )
    request = RunDir(run).request
    before = torch.get_num_threads()  # sums depend on how many there are
    torch.set_num_threads(max(1, available_cpus() // request.trials_at_once))
    try:
        _train(ask, request.seed, epoch)
    finally:
        torch.set_num_threads(before)


def _train(ask: Ask, seed: int, epoch: int) -> None:
    for report in trainable.train(ask, load_data("digits", seed=seed), "cpu"):
        if report["kind"] == "epoch" and report["epoch"] >= epoch:
            return


def check_curve(run: Path, number: int, folder: Path) -> None:
    """The trial's curve and its last state are those of a training that nobody interrupted."""
    own = run / "trials" / str(number)
    epoch = len(_rows(own / "metrics.csv"))
    uninterrupted(run, number, epoch, folder)
    for row, other in zip(_rows(own / "metrics.csv"), _rows(folder / "metrics.csv"), strict=True):
        assert {**row, "seconds": ""} == {**other, "seconds": ""}
    states = [torch.load(f / "checkpoint.pt", weights_only=True)["state"] for f in (own, folder)]
    assert _same(*({**state, "history": None} for state in states))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def wait(run: Path, copy: Path, enough, process, seconds: float = 300) -> None:
    """Until the journal says so."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and process.poll() is None:
        if run.exists() and enough(read(run, copy)):
            return
        time.sleep(0.1)
    raise AssertionError(f"not in {seconds} s: {process.poll()}")


def test_killed_at_three_moments_everything_is_finished_and_bit_identical(start, nas, tmp_path):
    """Before there is a folder, in mid-search, and in the middle of the resume."""
    run, copy = tmp_path / "run", tmp_path / "copy"
    (tmp_path / "shaken.yaml").write_text(SPACE)
    words = (*WORDS, "--run-dir", "run", "--budget", "6trials")
    process = start(*words)
    time.sleep(0.4)
    assert kill(process, run, copy) is None, "a kill before the folder leaves none"
    process = start(*words)  # the same command again
    wait(
        run,
        copy,
        lambda seen: len(seen.ended) >= 2 and max(seen.running.values(), default=0),
        process,
    )
    first = kill(process, run, copy)
    assert first is not None
    check_charged(run, first)
    written = stamps(run, first)
    process = start(*RESUME)
    wait(run, copy, lambda seen: len(seen.ended) > len(first.ended), process)
    second = kill(process, run, copy)
    assert second is not None
    check_charged(run, second)
    done = nas(*RESUME, "--json")
    assert done.code == 0, done.err
    last = read(run, copy)
    check(run, [first, second], last, done.json, 6)
    assert {n: stamps(run, last)[n] for n in written} == written, "a finished trial ran again"
    for number in {*first.running, *second.running}:
        check_curve(run, number, tmp_path / f"again-{number}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(50))
def test_killed_at_a_random_moment_and_in_the_resume_it_finishes(start, nas, tmp_path, seed):
    """60 short trials; every fifth kill in the first two seconds, every third resume killed too."""
    run, copy, moments = tmp_path / "run", tmp_path / "copy", random.Random(seed)
    words: tuple[str, ...] = ("search", "--space", "tiny", "--data", "digits", "--run-dir", "run",
                              "--budget", "60trials", "--set", "recipe.epochs=2")  # fmt: skip
    before: list[Seen] = []
    for _ in range(2 if seed % 3 == 0 else 1):
        process = start(*words)
        time.sleep(moments.uniform(0, 2) if seed % 5 == 0 else moments.uniform(2, 30))
        seen = kill(process, run, copy)
        if seen is not None:
            check_charged(run, seen)
            before.append(seen)
            words = RESUME
    done = nas(*words, "--json", timeout=900)
    assert done.code == 0, done.err
    check(run, before, read(run, copy), done.json, 60)

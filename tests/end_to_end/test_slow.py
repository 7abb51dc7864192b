"""Long real runs: `pytest -m slow`. What they gave stands in tests/benchmarks/README.md."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from nas.data import data_folder

from .test_faults import WORDS, rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("seed", range(10))
def test_killed_again_and_again_it_ends_and_trains_nothing_twice(start, nas, tmp_path, seed):
    run, moments = tmp_path / "run", random.Random(seed)
    words = [*WORDS, "--budget", "40trials"]
    ended: dict[int, str] = {}
    for _ in range(4):
        process = start(*words)
        time.sleep(moments.uniform(0.2, 15))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if run.exists():
            words = ["search", "--resume", "run"]
            now = {n: row["validation"] for n, row in rows(run).items() if row["cause"]}
            assert {n: now[n] for n in ended} == ended, "what had ended has changed"
            ended = now
    done = nas(*words, "--json", timeout=600)
    assert done.code == 0, done.err
    after = rows(run)
    assert {n: after[n]["validation"] for n in ended} == ended
    assert sorted(after) == list(range(len(after)))
    assert done.json["trials"]["total"] - done.json["trials"]["infeasible"] == 40


@pytest.mark.parametrize("turn", range(3))
def test_a_wall_clock_budget_is_kept(nas, turn):
    began = time.monotonic()
    done = nas("search", "--space", "tiny", "--data", "digits", "--budget", "60s", "--json")
    assert done.code == 0, done.err
    assert time.monotonic() - began < 60 + 5, "one interval, the export, the interpreter's end"
    assert all(entry["final"] for entry in done.json["finalists"])


def test_fashion_mnist_in_half_an_hour(nas):
    if not (data_folder() / "fashion-mnist").exists() and "NAS_DATA" not in os.environ:
        pytest.skip("NAS_DATA names no folder with fashion-mnist")
    done = nas(
        "search", "--space", "tiny", "--data", "fashion-mnist", "--budget", "30min", "--json",
        timeout=2400,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["best"]["test"] > 0.88
    assert done.json["best"]["validation"] >= done.json["reference"]["validation"]

"""Long real runs: `pytest -m slow`. What they gave stands in tests/benchmarks/README.md."""

from __future__ import annotations

import os
import time

import pytest

from nas.data import data_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


JUMP = """
import time
real, began = time.time, time.monotonic()
time.time = lambda: real() + ({jump} if time.monotonic() - began > 5 else 0)
"""  # sitecustomize: in the driver, in the workers, in Ray's own processes


@pytest.mark.parametrize("jump", [0, -3600, 3600])
def test_a_wall_clock_budget_is_kept(nas, tmp_path, monkeypatch, jump):
    if jump:
        (tmp_path / "sitecustomize.py").write_text(JUMP.format(jump=jump))
        path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
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

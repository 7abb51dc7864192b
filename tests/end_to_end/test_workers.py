"""Workers that die or hang, and Ray itself, in real searches: the trials go on."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from .test_faults import WORDS, rows

CELLS = Path(__file__).parents[1] / "search" / "faulty_cells.py"
SPACE = """
name: faulty
network:
  - {op: conv, channels: 8, kernel: 3}
  - {op: own_faulty, name: cell, fault: !choice [none, FAULTS], units: UNITS}
  - {op: global_pool}
  - {op: linear}
recipe: {lr: 0.05, epochs: 2, batch_size: 256}
"""
ENDED_ITSELF = "the worker was killed, or ended itself"


def write_space(folder: Path, faults: str, units: str = "1") -> tuple[str, ...]:
    """A space whose trial 0 is sound; the words of a search over it."""
    text = SPACE.replace("FAULTS", faults).replace("UNITS", units)
    (folder / "faulty.yaml").write_text(text)
    return (
        "search", "--space", "faulty.yaml", "--plugin", str(CELLS), "--data", "digits",
        "--run-dir", "run", "--strategy", "random", "--json",
    )  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        {
            "segfault": "the worker crashed: Segmentation fault, faulty_cells.py, line",
            "raise": "ValueError: shape (256, 8, 8, 8)",
            "tuple": "'tuple' object",
            "allocate": "can't allocate memory",
            "interrupt": "KeyboardInterrupt",
            "leave": "SystemExit: 3",
            "nan_in_validation": "",
            "init": None,
        },
        pytest.param(
            {
                "kill": ENDED_ITSELF, "exit": ENDED_ITSELF, "text": "'str' object",
                "misfit": "batch_size", "infinite_loss": "", "memory_error": "MemoryError",
            },
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda told: next(iter(told)),
)  # fmt: skip
def test_what_candidates_do_to_their_workers_is_recorded_and_the_search_goes_on(
    nas, tmp_path, told
):
    words = write_space(tmp_path, ", ".join(told))
    done = nas(*words, "--budget", "500trials", "--retries", "0", timeout=500)
    assert done.code == 0, done.err
    found = {row["network.cell.fault"]: row for row in rows(tmp_path / "run").values()}
    assert set(found) == {"none", *(fault for fault, words in told.items() if words is not None)}
    for fault, words in told.items():
        if words is None:
            assert done.json["trials"]["infeasible"] > 0
        else:
            assert words in found[fault]["error"], fault
            memory = fault in ("allocate", "memory_error")
            cause = "out_of_memory" if memory else "failed" if words else "nan"
            assert found[fault]["cause"] == cause, fault
    assert done.json["best"]["trial"] in (0, *range(len(told), 20))
    assert any("failed: " in note for note in done.json["notes"])
    assert "Traceback" in (tmp_path / "run" / "log.txt").read_text()
    assert "(raylet)" not in done.err, "Ray's own pages about dead processes stay away"


@pytest.mark.slow
def test_a_worker_that_hangs_is_killed_and_its_trial_told_failed(nas, tmp_path):
    words = write_space(tmp_path, "hang")
    done = nas(*words, "--budget", "500trials", "--retries", "1", "--trial-timeout", "20s")
    assert done.code == 0, done.err
    (row,) = [r for r in rows(tmp_path / "run").values() if r["network.cell.fault"] == "hang"]
    assert row["cause"] == "failed" and "no report for 20 s" in row["error"]
    assert float(row["device_seconds"]) >= 40, "a hung worker is charged too"


@pytest.mark.slow
def test_a_code_that_crashes_every_worker_stops_the_search_and_says_so(nas, tmp_path):
    words = write_space(tmp_path, "segfault", "!choice [1, 2, 3, 4, 5, 6, 7, 8]")
    done = nas(
        *words, "--budget", "20trials", "--retries", "0", "--set", "network.cell.fault=segfault",
        timeout=500,
    )  # fmt: skip
    assert done.code == 1, done.err
    assert done.json["stopped"] == "error" and done.json["trials"]["failed"] <= 4
    assert "3 candidates in a row failed in the same way: the worker crashed" in done.err
    assert "nas search --resume" in done.err


VICTIMS = (  # and the raylet, which has the object store
    "worker", "stopped worker", "gcs_server", "stopped raylet", "stopped gcs_server",
)  # fmt: skip


@pytest.mark.parametrize(
    "victim",
    ["raylet", *(pytest.param(each, marks=pytest.mark.slow) for each in VICTIMS)],
)
def test_a_dead_process_of_ray_costs_no_trial_and_no_epoch(start, tmp_path, victim):
    run = tmp_path / "run"
    words = [*WORDS, "--budget", "30epochs", "--trials-at-once", "1", "--set", "recipe.epochs=60"]
    process = start(*words, "--trial-timeout", "30s", "--json")
    epochs = wait_for_epoch(run, 3, process)
    kill(victim, process.pid, run)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    told = (run / "log.txt").read_text()
    if victim in ("raylet", "gcs_server"):
        assert f"Ray died: its {victim} was killed by SIGKILL" in told
        assert "Ray died 1 time and was started again" in out
    elif victim.startswith("stopped") and victim != "stopped worker":
        assert f"Ray's {victim.split()[1]} was stopped from outside" in told
    else:
        why = "no report for 30 s" if victim == "stopped worker" else "the worker was killed"
        assert why in told and "retry 1 of 2" in told
    after = rows(run)
    assert after[0]["cause"] == "finished" and after[0]["epoch"] == "10"
    with (run / "trials" / "0" / "metrics.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["epoch"] for row in written] == [str(epoch) for epoch in range(1, 11)]
    assert written[: len(epochs)] == epochs, "it went on from its checkpoint"
    assert sum(int(row["epoch"]) for row in after.values()) <= 30, "none was paid for twice"


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["ray::DashboardAgent", "ray::RuntimeEnvAgent"])
def test_an_end_that_ray_gives_this_process_is_told_and_a_resume_finishes(
    start, nas, tmp_path, agent
):
    """A raylet without its agents ends in order; Ray's library may then end its process."""
    run = tmp_path / "run"
    process = start(*WORDS, "--budget", "6trials", "--set", "recipe.epochs=30")
    before = wait_for_epoch(run, 2, process)
    (raylet,) = children(process.pid, "/raylet ")
    (pid,) = children(raylet, agent)
    os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=400)
    if process.returncode != 0:
        assert "ended without a word of its own" in err
        assert f"nas search --resume {run}" in err
        assert "ended without a word of its own" in (run / "log.txt").read_text()
    assert nas("search", "--resume", "run").code == 0
    with (run / "trials" / "0" / "metrics.csv").open() as file:
        assert list(csv.DictReader(file))[: len(before)] == before
    assert all(row["cause"] for row in rows(run).values())


def wait_for_epoch(run: Path, epoch: int, process: subprocess.Popen[str]) -> list[dict[str, str]]:
    """Wait until trial 0 has trained so far; its epochs."""
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        assert process.poll() is None, process.communicate()
        metrics = run / "trials" / "0" / "metrics.csv"
        if metrics.exists():
            with metrics.open() as file:
                written = list(csv.DictReader(file))
            if len(written) >= epoch:
                return written
        time.sleep(0.02)
    raise AssertionError(f"trial 0 did not reach epoch {epoch}")


def kill(victim: str, driver: int, run: Path) -> None:
    """Kill a process of the search from outside, or stop it."""
    if "worker" in victim:
        (file,) = run.glob(".worker-*")
        pid = int(file.name.removeprefix(".worker-"))
        os.kill(pid, signal.SIGSTOP if "stopped" in victim else signal.SIGKILL)
        return
    name = victim.removeprefix("stopped ")
    (pid,) = children(driver, f"/{name} ")
    os.kill(pid, signal.SIGKILL if name == victim else signal.SIGSTOP)


def children(parent: int, name: str) -> list[int]:
    """The pids of a process's children whose command line has `name` in it."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [int(line.split()[0]) for line in listed if name in line]


SIGNS = """
import os, sys
from pathlib import Path
from torch import nn
from nas.models import operator


@operator("signs")
class Signs(nn.Module):
    def __init__(self, in_channels: int):
        super().__init__()

    def forward(self, x):
        if not x.is_meta and "ray" in sys.modules:
            (Path(os.environ["SIGNS"]) / str(os.getpid())).touch()
        return x
"""


@pytest.mark.slow
def test_the_final_training_begins_on_the_workers_that_are_there(nas, tmp_path, monkeypatch):
    """Its trainings come at once, when nothing has waited for a worker any more."""
    (tmp_path / "signs.py").write_text(SIGNS)
    space = SPACE.replace(
        "own_faulty, name: cell, fault: !choice [none, FAULTS], units: UNITS", "signs"
    )
    (tmp_path / "faulty.yaml").write_text(space.replace("lr: 0.05", "lr: !log [0.01, 0.1]"))
    pids = tmp_path / "pids"
    pids.mkdir()
    monkeypatch.setenv("SIGNS", str(pids))
    done = nas(
        "search", "--space", "faulty.yaml", "--plugin", "signs.py", "--data", "digits",
        "--run-dir", "run", "--json", "--budget", "90s", "--trials-at-once", "2",
    )  # fmt: skip
    assert done.code == 0, done.err
    finals = [row for row in rows(tmp_path / "run").values() if row["stage"] == "final"]
    assert len(finals) >= 4
    log = (tmp_path / "run" / "log.txt").read_text().splitlines()
    began = next(line for line in log if "the final training begins" in line)
    time_of = datetime.strptime(began[:19], "%Y-%m-%d %H:%M:%S")
    last = [datetime.fromtimestamp(file.stat().st_mtime) for file in pids.iterdir()]
    assert len(last) == 2 and min(last) > time_of + timedelta(seconds=1)

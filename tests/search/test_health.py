"""What is said of a dead worker: by its last words, the kernel's count, and what Ray tells."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nas.search.backend import health
from nas.search.backend.health import Workers, dead_part, ours
from nas.search.trainable import last_words_of

RAYS_WORDS = (
    "The actor died unexpectedly before finishing this task.\n\tpid: 26984\nThe actor is dead "
    "because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
)
MEMORY = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node was 10GB\n"
    "Considered workers: [\nSelected to kill: (Actor(d3): task name=A.__init__, pid=4242, actual "
    "memory used=4.59GB)\n]\nTop 10 memory users: PID\tMEM(GB)\tCOMMAND\n17\t4.59\tray::A.hog"
)


@pytest.fixture
def workers(tmp_path) -> Workers:
    workers = Workers(tmp_path)
    workers.started(3, None)
    workers.reported(3, 4242, "elsewhere")
    return workers


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("Worker exits unexpectedly. Worker exits with an exit code 3.", "exit code 3"),
        ("Worker unexpectedly exits with a connection error code 2. End of file.", "no word"),
    ],
)
def test_rays_page_is_cut_down_to_its_gist(workers, told, words):
    cause, error = workers.died(3, RAYS_WORDS + told)
    assert cause == "failed" and words in error and len(error) < 100


def test_a_crash_below_python_leaves_its_place(tmp_path):
    """A real segmentation fault, in a process that has opened its file as a worker does."""
    code = (
        "import ctypes, pathlib, sys\n"
        "from nas.search.trainable import keep_last_words\n"
        "kept = keep_last_words(pathlib.Path(sys.argv[1]))\n"
        "def forward(): ctypes.string_at(0)\n"
        "forward()\n"
    )
    (tmp_path / "cells.py").write_text(code)
    process = subprocess.Popen([sys.executable, tmp_path / "cells.py", tmp_path])
    assert process.wait() == -11
    workers = Workers(tmp_path)
    workers.started(7, None)
    workers.reported(7, process.pid, "here")
    cause, error = workers.died(7, RAYS_WORDS)
    assert cause == "failed"
    last = error.splitlines()[-1]
    assert "Segmentation fault" in last and "cells.py, line 4 in forward" in last
    assert not last_words_of(tmp_path, process.pid).exists()


def test_a_kill_by_the_kernel_for_memory_is_told(tmp_path, monkeypatch):
    kills = iter([5, 6])
    monkeypatch.setattr(health, "_out_of_memory_kills", lambda: next(kills))
    workers = Workers(tmp_path)
    assert workers.died(3, RAYS_WORDS)[0] == "out_of_memory"


def test_whom_ray_killed_for_memory_is_found(workers):
    workers.started(4, None)
    workers.reported(4, 17, "elsewhere")
    assert workers.killed_for_memory(MEMORY) == [3]
    assert workers.killed_for_memory(MEMORY.replace("running low on memory", "")) == []


def test_without_ray_nothing_is_dead():
    assert dead_part() is None and not ours()


def test_a_worker_that_is_not_known_cannot_be_killed(workers):
    assert not workers.kill(99, "silent")
    assert workers.died(99, "gone")[1] == "gone"


def test_the_kernels_count_is_read():
    assert health._out_of_memory_kills() >= 0
    assert os.path.exists("/proc/vmstat") or health._out_of_memory_kills() == 0

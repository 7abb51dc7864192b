"""Processes that train for a moment: forked from one that has torch, and gone at the end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import nas
from nas.data import load
from nas.search import loadtest
from nas.search.loadtest import Pilots


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_one_that_hangs_counts_as_no_progress_and_none_outlives_the_measurement(monkeypatch):
    space = nas.load("tiny")
    first = nas.fill(space, space.default())
    with Pilots(first, load("digits", seed=0).without_test(), "cpu") as pilots:
        alone = pilots.measure(1, 1)
        assert alone.pace > 0 and alone.memory > 0
        assert pilots.measure(2, 1).pace > 0
        pids = [process._pid for process in pilots._running]
        assert len(set(pids)) == 2 and all(map(alive, pids))
        os.kill(pids[1], signal.SIGSTOP)
        monkeypatch.setattr(loadtest, "PATIENCE_SECONDS", 5.0)
        assert pilots.measure(2, 1).pace == 0
        monkeypatch.undo()
        assert pilots.measure(2, 1).pace > 0, "another takes its place"
        pids += [process._pid for process in pilots._running]
        pids.append(pilots._starter._child.pid)
    limit = time.monotonic() + 30
    while any(map(alive, pids)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not [pid for pid in pids if alive(pid)]

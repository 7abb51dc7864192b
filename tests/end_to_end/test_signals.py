"""Closed terminals, second processes, pre-emption in the middle of a long step."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from nas.rundir import RunDir
from nas.search.backend.processes import alive, of_session

from .conftest import command, environment
from .test_faults import WORDS, wait

SLEEPER = '''
import time
from torch import nn
from nas.models import operator


@operator("sleeper")
class Sleeper(nn.Module):
    """Forwards a batch in a minute and a half."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1)

    def forward(self, x):
        if len(x) > 2:
            time.sleep(90)
        return self.conv(x)
'''
SLOW_SPACE = """
network:
  - {op: sleeper, name: first, channels: !choice [4, 8]}
  - {op: global_pool}
  - {op: linear}
recipe: {epochs: 2, batch_size: 64}
"""


@pytest.fixture
def in_terminal(tmp_path):
    """Begin `nas …` in a terminal of its own; returns the process and the terminal's other end."""
    begun = []

    def run(*words):
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", *command(*words)], cwd=tmp_path, env=environment(),
            stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        begun.append(process)
        return process, ours

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_it_outlives_its_terminal_refuses_a_second_process_and_stops_when_asked(
    in_terminal, here, tmp_path
):
    run = tmp_path / "run"
    process, terminal = in_terminal(*WORDS, "--budget", "300trials")
    os.set_blocking(terminal, False)
    limit = time.monotonic() + 120
    while not RunDir(run).trials() if run.exists() else True:
        _drain(terminal)
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.1)
    os.close(terminal)  # the kernel sends SIGHUP; from here on every write is an error
    ended = sum(bool(row["cause"]) for row in RunDir(run).trials())
    wait(run, ended + 2, process)
    second = here("search", "--resume", run)
    assert second.code == 2
    assert f"pid {process.pid} on {socket.gethostname()}" in second.err
    assert here("doctor", run).code == 2
    assert "running" in here("runs", "--dir", tmp_path).out
    assert here("stop", run).code == 0
    assert process.wait(timeout=90) == 130
    assert (run / "best.pt").exists()
    log = (run / "log.txt").read_text()
    assert "what was printed could not all be written" in log and "nas search --resume" in log
    assert here("show", run, "--json").json["state"] == "interrupted"


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65536):
            pass
    except BlockingIOError:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_a_step_of_a_minute_does_not_keep_a_pre_emption_waiting(start, tmp_path, word):
    (tmp_path / "cells.py").write_text(SLEEPER)
    (tmp_path / "slow.yaml").write_text(SLOW_SPACE)
    words = ("search", "--space", "slow.yaml", "--plugin", "cells.py", "--data", "digits")
    process = start(*words, "--budget", "20trials", "--run-dir", "run")
    limit = time.monotonic() + 120
    while not (tmp_path / "run" / "trials" / "0").exists():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.1)
    time.sleep(8)  # the worker has begun its first step
    began = time.monotonic()
    process.send_signal(word)
    out, err = process.communicate(timeout=90)
    assert time.monotonic() - began < 30
    assert process.returncode == 130, err
    assert "nas search --resume" in out and "Traceback" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Ray's processes hear it")
@pytest.mark.parametrize("ray", ["lives", pytest.param("is stuck", marks=pytest.mark.slow)])
def test_a_pre_emption_of_the_whole_group_exports_and_leaves_nothing(start, tmp_path, ray):
    """As `timeout`, systemd and Slurm send it: to every process. Or Ray does not answer at all."""
    run = tmp_path / "run"
    process = start(*WORDS, "--budget", "300trials", "--set", "recipe.epochs=60")
    limit = time.monotonic() + 120
    while not list(run.glob("trials/*/metrics.csv")) and time.monotonic() < limit:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    (folder,) = Path(tempfile.gettempdir()).glob(f"nas-{process.pid}-*")
    below = of_session(str(folder), process.pid)
    assert len(below) > 3, "Ray's processes, and the workers"
    if ray == "is stuck":
        for pid, _ in below:
            os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    for pid in (process.pid, *(pid for pid, _ in below)):
        os.kill(pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)  # `timeout` sends it to its child, then to the group
    out, err = process.communicate(timeout=90)
    assert time.monotonic() - began < 45, "30 s, on an idle machine"
    assert process.returncode == 130, err
    assert (run / "best.yaml").exists() and "nas search --resume" in out
    assert "Traceback" not in err and "SIGTERM received" not in err
    log = (run / "log.txt").read_text()
    assert "its worker died" not in log and ("left behind" in log) == (ray == "is stuck")
    while alive(below) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not alive(below)


@pytest.mark.slow
def test_the_second_interrupt_stops_at_once(start, tmp_path):
    process = start(*WORDS, "--budget", "300trials", "--set", "recipe.epochs=200")
    wait(tmp_path / "run", 0, process)
    limit = time.monotonic() + 120
    while not list(tmp_path.glob("run/trials/*/metrics.csv")) and time.monotonic() < limit:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped at once; nas search --resume" in err

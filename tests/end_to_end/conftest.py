"""The program as a user runs it: the installed `nas`, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "default", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "nas", *map(str, words)]


@pytest.fixture
def nas(tmp_path: Path) -> Callable[..., Done]:
    """Run `nas …` in tmp_path to its end."""

    def run(*words: object, timeout: float = 300) -> Done:
        done = subprocess.run(
            command(*words), cwd=tmp_path, capture_output=True, text=True, env=environment(),
            timeout=timeout, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def _listening() -> None:
    """A shell's background processes, and their children, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path: Path):
    """Begin `nas …` in a process group of its own; killed at the end of the test."""
    begun: list[subprocess.Popen[str]] = []

    def run(*words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(*words), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=environment(), start_new_session=True, stdin=subprocess.DEVNULL,
            preexec_fn=_listening,
        )  # fmt: skip
        begun.append(process)
        return process

    yield run
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, 9)
        process.communicate()

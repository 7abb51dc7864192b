"""Fixtures of more than one package of tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.cli import main

from . import postgresql


class Result:
    """What a command did: exit code and both streams."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def here(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Run `nas …` in this process, which has loaded torch already, and in its working folder."""
    monkeypatch.setenv("COLUMNS", "100")
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        streams = capfd.readouterr()
        return Result(int(exit_.value.code or 0), streams.out, streams.err)

    yield run
    for name, handler in before.items():  # the program's own are for the program's process
        signal.signal(name, handler)


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON of a real search of 14 trials, run once, as a process of its own."""
    folder = tmp_path_factory.mktemp("searched")
    words = "search --space tiny --data digits --budget 14trials --json"
    done = subprocess.run(
        [sys.executable, "-m", "nas", *words.split()], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)  # one object and nothing else
    assert Path(found["run"]).parent == folder / "runs"
    return found


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server of its own; skipped, with the reason, where there is none."""
    why = postgresql.missing()
    if why:
        pytest.skip(why)
    with postgresql.server() as running:
        yield running


@pytest.fixture
def database(server: postgresql.Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database; its password is in the environment."""
    monkeypatch.setenv("PGPASSWORD", postgresql.PASSWORD)
    if server.process is None:
        server.start()
    return server.new_database()

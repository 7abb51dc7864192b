"""Small trained things, made once: a run with its export, and pictures."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.cli import main


class Result:
    """What a command did: exit code and both streams."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def nas(capfd, monkeypatch) -> Callable[..., Result]:
    """Run a command in this process."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        streams = capfd.readouterr()
        return Result(int(exit_.value.code or 0), streams.out, streams.err)

    return run


@pytest.fixture(scope="session")
def searched(tmp_path_factory) -> dict[str, Any]:
    """The JSON of a real, very small search, run as a process of its own."""
    folder = tmp_path_factory.mktemp("searched")
    words = (
        "search --space tiny --data digits --budget 2trials --set recipe.epochs=3 --json "
        "--trials-at-once 1 --run-dir run"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "nas", *words.split()], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    found = json.loads(done.stdout)  # one object and nothing else
    assert Path(found["run"]) == folder / "run"
    return found


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> list[Path]:
    """Four handwritten digits as PNG, named by what they show."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for place in range(4):
        pixels = np.round(digits.images[place] * 255 / 16).astype(np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        path = folder / f"{digits.target[place]}.png"
        path.write_bytes(content.getvalue())
        paths.append(path)
    return paths

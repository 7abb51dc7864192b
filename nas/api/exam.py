"""The test of an exported network with operators of the user's own, in a process of its own.

Their code may crash, end its process or never come back, and at the end of a search it has run
nowhere but in the workers. Here that costs the test, and not the export of everything else.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from .. import export, plugins
from ..data import ImageData, Images
from ..errors import NasError, words_of
from ..plugins import Plugin, load_plugins, read_plugin
from ..rundir import RunDir
from ..search.crashes import Crash, read_crash
from ..search.pilots import python
from ..space import Architecture, parse, require_architecture
from ..units import show_seconds

CHILD = "from nas.api.exam import live; live()"
SILENT_SECONDS = 600.0  # without a word: torch and the images are loaded, one batch is tested
WORD_SECONDS = 1.0  # between two words


class Failed(NasError):
    """The network's own code has ended the test."""


@dataclass(frozen=True)
class Paper:
    """What is to be tested, as it travels."""

    text: str
    path: str
    weights: Mapping[str, Tensor]
    data: ImageData
    device: str
    plugins: Sequence[Plugin]


def tester(run: RunDir) -> export.Tester | None:
    """For `export.best`: apart where the run has operators that are not ours, else None."""
    if not (run.request.plugins or plugins.installed()):
        return None

    def test(
        architecture: Architecture, weights: Mapping[str, Tensor], data: ImageData, device: str
    ) -> float:
        few = Images(data.train.x[:1], data.train.y[:1])
        own = replace(data, train=few, validation=few)
        brought = [read_plugin(path) for path in run.plugins]
        paper = Paper(architecture.text, architecture.path, weights, own, device, brought)
        return examine(paper)

    return test


def examine(paper: Paper) -> float:
    """The share of the test images that it gets right. Raises Failed with what came between."""
    own, theirs = socket.socketpair()
    with (
        tempfile.TemporaryDirectory(prefix="nas-exam-") as folder,
        tempfile.TemporaryFile() as words,
        contextlib.closing(Connection(own.detach())) as line,
    ):
        file = Path(folder) / "paper"
        with file.open("wb") as output:
            pickle.dump(paper, output)
        with theirs:
            numbers = theirs.fileno(), words.fileno()
            child = python(
                CHILD, str(file), *map(str, numbers), files=numbers, output=subprocess.DEVNULL,
                own_session=True,  # a terminal's Ctrl-C is not for it
            )  # fmt: skip
        try:
            told = _told(line)
            if told is None:
                raise Failed(_end(_death(child, words)))
        finally:
            child.kill()
            child.wait()
    if "error" in told:
        raise Failed(str(told["error"]))
    return float(told["accuracy"])


def _told(line: Connection) -> dict[str, Any] | None:
    """Its last word; None: it is dead, or has been silent for too long."""
    with contextlib.suppress(EOFError, OSError):
        while line.poll(SILENT_SECONDS):
            told: dict[str, Any] = json.loads(line.recv_bytes())
            if told:
                return told
    return None


def _death(child: subprocess.Popen[bytes], words: IO[bytes]) -> Crash:
    """What it died of; one that lives is made to say where it stands."""
    late = False
    try:
        child.wait(1.0)
    except subprocess.TimeoutExpired:
        late = True
        child.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(3.0)
    words.seek(0)
    return read_crash(words.read().decode(errors="replace"), child.returncode, late=late)


def _end(death: Crash) -> str:
    place = f" at {death.place}" if death.place else ""
    if death.late:
        return f"it gave no sign of life for {show_seconds(SILENT_SECONDS)}{place}"
    if death.said:
        return f"it crashed: {death.said}{place}"
    return f"its process {death.end}"


# --- within the process -----------------------------------------------------------------------


def live() -> None:
    """Its own life: load everything, test, tell."""
    faulthandler.enable(int(sys.argv[3]), all_threads=False)
    line = Connection(int(sys.argv[2]))
    spoken = time.monotonic()

    def sign() -> None:
        nonlocal spoken
        if time.monotonic() - spoken > WORD_SECONDS:
            spoken = time.monotonic()
            line.send_bytes(b"{}")

    try:
        told: dict[str, Any] = {"accuracy": _accuracy(Path(sys.argv[1]), sign)}
    except BaseException as error:
        told = {"error": words_of(error)}
    with contextlib.suppress(OSError):  # nobody listens any more
        line.send_bytes(json.dumps(told).encode())
    os._exit(0)  # a plug-in may have left threads


def _accuracy(file: Path, sign: Callable[[], None]) -> float:
    with file.open("rb") as content:
        paper: Paper = pickle.load(content)
    load_plugins(paper.plugins)
    architecture = require_architecture(parse(paper.text, path=paper.path))
    return export.test_accuracy(architecture, paper.weights, paper.data, paper.device, sign)

"""Processes that train for a moment before a search, as its workers will.

Whatever trials fight for (cores, memory, a GPU's time) they fight for here as well. Each is asked,
and answers, in lines of JSON; `pilot` is what it does. One may start from nothing, as a worker
does (`fresh`), or be forked from a process that has torch loaded (`Starter`): of many, only the
first is waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

FRESH = "from nas.search.pilots import live; live()"
STARTER = "from nas.search.pilots import serve; serve()"


class Process:
    """One of them, at the other end of `line`; `child`: where it is one of this process."""

    def __init__(
        self, line: socket.socket, errors: IO[bytes], child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self._line, self._errors, self._child = line, errors, child
        self._words = line.makefile("r")
        self._pid: int | None = None
        self._said: str | None = None  # its last word, once it is closed

    @property
    def alive(self) -> bool:
        return self._said is None

    def ask(self, **question: Any) -> None:
        with contextlib.suppress(OSError):  # of one that is gone: it will not answer
            self._line.sendall(f"{json.dumps(question)}\n".encode())

    def answer(self, seconds: float | None = None) -> dict[str, Any] | None:
        """Its next answer. Where none comes (within so many seconds): None, and it is closed."""
        with contextlib.suppress(OSError):
            self._line.settimeout(seconds)
            while text := self._words.readline():
                told: dict[str, Any] = json.loads(text)
                if "pid" not in told:
                    return told
                self._pid = told["pid"]
        self.close()
        return None

    @property
    def last_words(self) -> str:
        """The last line that it printed, once it is closed."""
        return self._said or ""

    def close(self) -> None:
        if not self.alive:
            return
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        elif self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._words.close()
        self._line.close()
        self._said = _last_line(self._errors)
        self._errors.close()


def fresh(folder: Path) -> Process:
    """One that starts from nothing; its work lies in the folder."""
    line, theirs = socket.socketpair()
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
    with theirs:
        child = _python(FRESH, folder, theirs, errors)
    return Process(line, errors, child)


class Starter:
    """Loads torch once, and starts processes whose work lies in `folder`; used as a context.

    Leaving the context ends all of them. It may begin before the work is known: to load torch
    takes it some seconds, and needs nothing.
    """

    def __enter__(self) -> Starter:
        self._temporary = tempfile.TemporaryDirectory(prefix="nas-pilot-")
        self.folder = Path(self._temporary.name)
        self._errors = tempfile.TemporaryFile()
        self._line, theirs = socket.socketpair()
        with theirs:
            self._child = _python(STARTER, self.folder, theirs, self._errors, own_session=True)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._line.close()
        self._errors.close()
        self._temporary.cleanup()

    @property
    def last_words(self) -> str:
        """The last line that the starter itself printed."""
        return _last_line(self._errors)

    def start(self) -> Process:
        line, theirs = socket.socketpair()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        with theirs, contextlib.suppress(OSError):  # of one that died: there will be no answer
            socket.send_fds(self._line, [b"1"], [theirs.fileno(), errors.fileno()])
        return Process(line, errors)


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def python(
    program: str, *arguments: str, files: Sequence[int], output: IO[bytes] | int,
    own_session: bool = False,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """A fresh interpreter that finds this nas; `files` stay open there under their numbers."""
    home = str(Path(__file__).parents[2])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=files,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, start_new_session=own_session,
    )  # fmt: skip


def _python(
    program: str, folder: Path, line: socket.socket, errors: IO[bytes], *, own_session: bool = False
) -> subprocess.Popen[bytes]:
    words = str(folder), str(line.fileno())
    return python(program, *words, files=[line.fileno()], output=errors, own_session=own_session)


# --- within the processes ---------------------------------------------------------------------


def live() -> None:
    """A fresh process's own life."""
    _answer(Path(sys.argv[1]), int(sys.argv[2]))


def serve() -> None:
    """The starter's own life: load torch, then fork for every two files that it is sent.

    It computes nothing itself, and looks at no GPU: neither threads nor CUDA outlive a fork.
    """
    from . import pilot

    pilot.load_torch()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(fileno=int(sys.argv[2])) as control:
        while True:
            message, files, _, _ = socket.recv_fds(control, 1, 2)
            if not message:
                return
            with warnings.catch_warnings():  # of libraries' threads, which sleep
                warnings.simplefilter("ignore")
                forked = os.fork() == 0
            if forked:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                control.close()
                os.dup2(files[1], 1)
                os.dup2(files[1], 2)
                _answer(Path(sys.argv[1]), files[0])
            for file in files:
                os.close(file)


def _answer(folder: Path, line: int) -> None:
    """Answer questions to their end, then leave; a fault is printed before its line closes."""
    from . import pilot

    with socket.socket(fileno=line) as own, own.makefile("rw") as words:
        code = 1
        try:
            print(json.dumps({"pid": os.getpid()}), file=words, flush=True)
            for told in pilot.answers(folder, words):
                print(json.dumps(told), file=words, flush=True)
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)

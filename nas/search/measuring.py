"""The process in which plug-ins are measured: what they do there does not happen to the search.

A candidate is priced before it is trained, and for that a plug-in's code runs. It may crash, end
its process or never come back. So, within `apart`, a process beside this one loads the plug-ins
and answers what models/measured.py asks of them; where it dies, how it died is the answer, and the
next question starts another one. It loads torch by itself: a fork of a process with threads (Ray's)
is not safe.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from .. import plugins
from ..errors import words_of
from .crashes import Crash, read_crash
from .pilots import python

if TYPE_CHECKING:
    from ..models.measured import Question

CHILD = "from nas.search.measuring import live; live()"
START_SECONDS = 120.0  # to load torch and the plug-ins, on a machine that is busy
ANSWER_SECONDS = 10.0  # a measurement takes some milliseconds
SLACK_SECONDS = 5.0  # the process ends itself where it takes longer; one that is stopped cannot
TRIES = 2  # of a question at which it was killed from outside: the machine may lack memory
STARTS = 2  # in vain, after which plug-ins are measured in this process after all

_lock = threading.Lock()
_users = 0
_measurer: Measurer | None = None


@contextlib.contextmanager
def apart(*, begin: bool = False) -> Iterator[None]:
    """Inside, plug-ins are measured in a process of their own. Within another one: the same.

    It is started where there is something to ask, or right away (`begin`): it loads torch
    meanwhile.
    """
    global _users, _measurer
    with _lock:
        _users += 1
        if _measurer is None:
            _measurer = Measurer()
            plugins.elsewhere = _measurer.ask
        if begin:
            _measurer.begin()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                plugins.elsewhere = None
                _measurer.close()
                _measurer = None


class Measurer:
    """Asks the process, and starts it where there is none."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._in_vain = 0  # starts
        self._lock = threading.Lock()

    def begin(self) -> None:
        if self._child is None:
            self._child = _Child()

    def ask(self, question: Question) -> Any:
        """Its Answer; a Misfit that tells how the question ended it. None: it cannot be asked."""
        if question.home == "__main__" or not (plugins.loaded() or plugins.installed()):
            return None
        try:
            packed = pickle.dumps(question)
        except Exception:  # a default that is no plain value
            return None
        with self._lock:
            if self._in_vain >= STARTS:
                return None
            death = None
            for _ in range(TRIES):
                told, death = self._ask(packed)
                if death is None or not death.from_outside:
                    break
            return told if death is None else _as_misfit(question, death)

    def _ask(self, packed: bytes) -> tuple[Any, Crash | None]:
        if self._child is not None and not self._child.is_up_to_date:
            self.close()
        self.begin()
        child = self._child
        assert child is not None
        try:
            if not child.ready():
                self.close()
                self._in_vain += 1
                return None, None
            self._in_vain = 0
            answered, told = child.ask(packed)
            if answered:
                return told, None
            return None, child.death()
        except BaseException:  # Ctrl-C: its answer would be taken for that to the next question
            self.close()
            raise
        finally:
            if not child.alive:
                self._child = None

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


def _as_misfit(question: Question, death: Crash) -> Exception:
    from ..models.tally import Misfit

    if death.late:
        place = f" ({death.place})" if death.place else ""
        begun = question.about("does not come to an end")
        return Misfit(f"{begun}: broken off after {ANSWER_SECONDS:.0f} s{place}")
    if death.said:
        place = f" at {death.place}" if death.place else ""
        return Misfit(f"{question.about('crashes')}: {death.said}{place}")
    return Misfit(f"{question.about('ends its process')}, which {death.end}")


class _Child:
    """One such process."""

    def __init__(self) -> None:
        own, theirs = socket.socketpair()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        with theirs:
            numbers = theirs.fileno(), self._words.fileno()
            self._process = python(
                CHILD, *map(str, numbers), files=numbers, output=subprocess.DEVNULL,
                own_session=True,  # a terminal's Ctrl-C is not for it
            )  # fmt: skip
        self._line = Connection(own.detach())
        self._is_ready: bool | None = None
        self._brought = 0  # plug-ins
        self.alive = True

    def ready(self) -> bool:
        """Waits until it has loaded everything, once; whether it could."""
        if self._is_ready is None:
            brought = plugins.loaded()
            self._brought = len(brought)
            first = pickle.dumps((sys.path, brought, ANSWER_SECONDS))
            answered, told = self._exchange(first, START_SECONDS)
            self._is_ready = answered and told is True
        return self._is_ready

    @property
    def is_up_to_date(self) -> bool:
        """Whether no plug-in came after those that it has loaded."""
        return self._is_ready is None or self._brought == len(plugins.loaded())

    def ask(self, packed: bytes) -> tuple[bool, Any]:
        """Whether it has answered, and what."""
        return self._exchange(packed, ANSWER_SECONDS + SLACK_SECONDS)

    def _exchange(self, packed: bytes, seconds: float) -> tuple[bool, Any]:
        try:
            self._line.send_bytes(packed)
            if self._line.poll(seconds):
                return True, self._line.recv()
        except (EOFError, OSError):  # it is dead
            pass
        return False, None

    def death(self) -> Crash:
        """What it died of; it is killed where it has not."""
        late = False
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            late, code = True, -signal.SIGKILL
        self._words.seek(0)
        text = self._words.read().decode(errors="replace")
        self.close()
        return read_crash(text, code, late=late)

    def close(self) -> None:
        self.alive = False
        self._line.close()
        self._process.kill()
        self._process.wait()
        self._words.close()


# --- within the process -----------------------------------------------------------------------


def live() -> None:
    """Its own life: load everything, then answer to the end of the line."""
    words = int(sys.argv[2])
    faulthandler.enable(words, all_threads=False)
    code = 1
    try:
        with contextlib.suppress(EOFError, OSError):  # the search is over, or was killed
            _answer(Connection(int(sys.argv[1])), words)
        code = 0
    finally:
        os._exit(code)  # a plug-in may have left threads


def _answer(line: Connection, words: int) -> None:
    from torch import nn

    from ..models import measured
    from ..models.tally import Misfit, Tally

    torch_loads_more = measured.measured_cost(nn.Conv2d, ("in_channels",))
    torch_loads_more(Tally(1, 4, 4), out_channels=1, kernel_size=3)
    paths, brought, seconds = line.recv()
    sys.path[:] = paths
    with _watched(START_SECONDS, words):
        plugins.load_plugins(brought)
    line.send(True)
    while True:
        question = line.recv()
        with _watched(seconds, words):
            try:
                found = measured.answer(question)
            except KeyboardInterrupt:  # the plug-in's own: the user's goes to the search
                found = Misfit(f"{question.about('fails')}: KeyboardInterrupt")
        try:
            line.send(found)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
            line.send(Misfit(f"{question.about('leaves what is no number')}: {words_of(error)}"))


@contextlib.contextmanager
def _watched(seconds: float, words: int) -> Iterator[None]:
    """End this process, saying where it stands, after so long: also where nobody watches it."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=words)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()

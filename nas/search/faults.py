"""What goes wrong with a trial, and what follows from it.

A dead or silent worker is no fault of its candidate until it has happened too often: the trial
goes on from its checkpoint, at most `retries` times. An error of the candidate's own is told at
once. Where different candidates fail in the same way one after the other, the code is broken and
not the candidates: the search stops.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..units import counted, show_seconds
from .work import Live

if TYPE_CHECKING:
    from .core import Core

RETRIES = 2  # of a trial whose worker died
# Without a report a worker counts as hung. While it trains it reports every second; the longest
# silence of a sound one is its start: the network is built, the data move to the device, the
# first batches are compiled for it.
TRIAL_TIMEOUT = 600.0
# A worker of our own Ray comes up in 4 s on two cores, and in some 50 where 25 others want them.
FIRST_START = 240.0  # seconds that the first one of a session may take
LEAST_START = 120.0  # the others, or
SLOWER = 6.0  # times the slowest one so far
START_TOLD = 30.0  # until it is said
SAME_FAILURES = 3  # in a row, of different candidates: the code is broken, not the candidates
MOST_TOLD = 3  # kinds of failures in the summary
WENT_ON, BEGAN_AGAIN, GIVEN_UP = (  # what becomes of a trial whose worker died
    "went on from the last checkpoint", "began again", "was given up",
)  # fmt: skip
RESTARTS = 5  # of Ray in a row, without one epoch in between
STARTS = 4  # of a Ray that does not come up; it gives up by itself after 30 s, busy machine or not
RESTART_SECONDS = 8.0  # that a new start takes: with less of the budget left it is not worth it

UNSTARTED = (
    "; see that this machine has time, memory, and space in its temporary folder and in /dev/shm, "
    "then go on: nas search --resume {run}"
)

LOST_CLUSTER = (
    "; start the cluster again, or name another one: nas search --resume {run} --ray-address …"
)

OUT_OF_MEMORY = (  # what libraries say, lower case, where the type of the error does not
    "can't allocate memory", "cannot allocate memory", "out of memory", "std::bad_alloc",
    "alloc_failed",  # cuBLAS, cuDNN, cuFFT: CUBLAS_STATUS_ALLOC_FAILED
)  # fmt: skip


@dataclass
class Faults:
    """The faults of one session. `retries` of a trial; `timeout`: seconds without a report."""

    retries: int = RETRIES
    timeout: float = TRIAL_TIMEOUT
    cluster: bool = False  # its workers wait for room, which others may use
    deaths: int = 0  # of workers
    restarts: int = 0  # of Ray
    lost: list[str] = field(default_factory=list)  # nodes of the cluster
    notice: str | None = None  # for the live view, while nodes are missing
    ray: str | None = None  # what Ray died of last, or why it did not start
    _fruitless: int = 0
    _epochs: int = -1
    _looked: float | None = None
    _slowest: float | None = None  # start of a worker
    _told: set[int] = field(default_factory=set)  # trials whose workers were slow to start
    _alike: dict[str, str] = field(default_factory=dict)  # digest -> likeness of its failure
    _fates: dict[int, str] = field(default_factory=dict)  # of trials whose workers died
    _said: Counter[str] = field(default_factory=Counter)  # by the last line

    # --- workers ------------------------------------------------------------------------

    def died(self, live: Live, error: str) -> str:
        """Count a worker's death under the trial; the line for the log."""
        live.deaths += 1
        self.deaths += 1
        told = f"trial {live.ask.number}: its worker died: {last_line(error)}"
        if live.deaths > self.retries:
            return f"{told}; after {self.retries} retries it is given up"
        return f"{told}; it goes on from epoch {live.epoch} (retry {live.deaths} of {self.retries})"

    def again(self, live: Live) -> bool:
        """Whether the trial is to be tried again."""
        if live.deaths > self.retries:
            self._fates[live.ask.number] = GIVEN_UP
            return False
        self._fates[live.ask.number] = WENT_ON if live.epoch else BEGAN_AGAIN
        return True

    def overdue(self, lives: Iterable[Live], now: float) -> list[int]:
        """Trials whose workers have been silent for too long.

        A driver that was itself asleep (suspended, Ctrl-Z) gives everyone the time anew.
        """
        least = min(self.timeout, self.start_timeout)
        asleep = self._looked is not None and now - self._looked > least / 2
        self._looked = now
        late = []
        for live in lives:
            if asleep:
                live.heard = now
            elif now - live.heard > (self.timeout if live.started else self.start_timeout):
                late.append(live.ask.number)
        return late

    @property
    def start_timeout(self) -> float:
        """Seconds that a worker may take to come up: no candidate runs in it yet."""
        most = max(self.timeout, TRIAL_TIMEOUT)
        if self.cluster or self.timeout > TRIAL_TIMEOUT:  # a plug-in may take its time to load
            return most
        if self._slowest is None:
            return FIRST_START
        return min(max(LEAST_START, SLOWER * self._slowest), most)

    def came_up(self, seconds: float) -> None:
        """A trial got its worker: a new one, or one that was there."""
        self._slowest = max(seconds, self._slowest or 0.0)

    def slow_start(self, lives: Iterable[Live], now: float) -> str | None:
        """What to say of a trial that waits for its worker; None: nothing new."""
        for live in lives:
            number, waited = live.ask.number, now - live.heard
            if not live.started and waited > START_TOLD and number not in self._told:
                self._told.add(number)
                return (
                    f"no worker has come up for trial {number} in {show_seconds(waited)}; it is "
                    f"waited for up to {show_seconds(self.start_timeout)}"
                )
        return None

    def no_worker(self, number: int) -> str:
        """What Ray died of, where a worker does not come up."""
        return f"no worker came up for trial {number} in {show_seconds(self.start_timeout)}"

    def silence(self) -> str:
        """The cause of a hung worker's end."""
        return (
            f"the worker gave no report for {show_seconds(self.timeout)} (--trial-timeout) and was "
            "killed"
        )

    def in_vain(self, epochs: int, *, begun: bool = True) -> bool:
        """Count an end of Ray, `epochs` being done; whether too many starts were for nothing."""
        self._fruitless = 0 if begun and epochs > self._epochs else self._fruitless + 1
        self._epochs = epochs
        vain = self._fruitless >= (RESTARTS if begun else STARTS)
        self.restarts += begun and not vain
        return vain

    def nodes(self, gone: Sequence[str], notice: str | None) -> None:
        """Nodes of the cluster are gone, or have come; `notice`: what it lacks now."""
        self.lost.extend(gone)
        self.notice = notice

    @property
    def hindrance(self) -> str | None:
        """What kept trials from getting on, beside the budget; None: nothing of the kind."""
        if self.ray or not (self.deaths or self.lost):
            return self.ray
        died = f"workers died or hung {counted(self.deaths, 'time')}"
        return died if self.deaths else f"the cluster lost {', '.join(dict.fromkeys(self.lost))}"

    # --- candidates ---------------------------------------------------------------------

    def failed(self, digest: str, error: str) -> bool:
        """Note a candidate's failure; whether too many different ones failed in the same way."""
        like, words = likeness(error), last_line(error)
        self._said[words] += 1
        if any(other != like for other in self._alike.values()):
            self._alike.clear()
        self._alike[digest] = like
        return len(self._alike) >= SAME_FAILURES

    def worked(self) -> None:
        """A trial ended otherwise: what failed before it is no row any more."""
        self._alike.clear()

    def notes(self) -> list[str]:
        """What to say of this session at its end."""
        told = [
            f"{counted(number, 'trial')} failed: {words}"
            for words, number in self._said.most_common(MOST_TOLD)
        ]
        if len(self._said) > MOST_TOLD:
            told.append(f"and {len(self._said) - MOST_TOLD} other failures: see trials.csv")
        if self._fates:
            fates = [
                _fate(fate, sorted(n for n, found in self._fates.items() if found == fate))
                for fate in (WENT_ON, BEGAN_AGAIN, GIVEN_UP)
                if fate in self._fates.values()
            ]
            told.append(f"workers died or hung {counted(self.deaths, 'time')}: {', '.join(fates)}")
        if self.lost:
            rest = "; its room came back" if self.notice is None else f"; {self.notice}"
            told.append(f"the cluster lost {', '.join(dict.fromkeys(self.lost))}{rest}")
        if self.restarts:
            told.append(f"Ray died {counted(self.restarts, 'time')} and was started again")
        return told


def outlive(core: Core, error: str, hungry: Sequence[int] = (), *, begun: bool = True) -> bool:
    """Ray died under all trials: they go on from their checkpoints. Whether to start it again.

    hungry: trials whose workers were killed for memory, by which Ray died
    begun: else it did not come up at all
    """
    told = f"Ray {'died' if begun else 'did not start'}"
    core.faults.ray = f"{told}: {error}"
    core.run.log(core.faults.ray)
    for number in hungry:
        core.on_death(number, error, "out_of_memory")
    core.suspend()
    if core.ending:
        return False
    if core.ledger.wall_left < RESTART_SECONDS:
        core.give_up(f"the budget left no time to start Ray again: {error}")
        return False
    if not hungry and core.faults.in_vain(core.ledger.epochs, begun=begun):
        vain = f"{RESTARTS} times in a row without one epoch" if begun else f"{STARTS} times"
        why = LOST_CLUSTER if core.run.request.ray_address else UNSTARTED
        advice = "" if begun else why.format(run=core.run.path)
        core.notes.append(f"{told} {vain}: {error}{advice}")
        core.interrupt("error")
        return False
    return True


def broken_code(error: str, log: Path) -> str:
    """What to say where different candidates fail in the same way."""
    return (
        f"{SAME_FAILURES} candidates in a row failed in the same way: {last_line(error)}; the "
        f"traceback is in {log}; mend the code, then go on with --resume"
    )


def fault_of(report: Mapping[str, Any]) -> str | None:
    """What a report of an epoch lacks; None: it is whole."""
    for name in ("epoch", "validation"):
        value = report.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            got = "has none" if value is None else f"says {value!r}, which is no number"
            return f"the report of an epoch has to give its {name}, and {got}"
    return None


def broken(report: Mapping[str, Any]) -> tuple[str, float] | None:
    """Cause and constraint of a training that broke down; a value that is no number is one too."""
    stop = report.get("stop")
    if stop in ("exploded", "nan"):
        return str(stop), float(report["violation"])
    return None if math.isfinite(report["validation"]) else ("nan", 1.0)


def is_out_of_memory(text: str) -> bool:
    """Whether an error's words say that memory ran out."""
    lower = text.lower()
    return any(words in lower for words in OUT_OF_MEMORY)


def last_line(text: str) -> str:
    """The line of a traceback that says what happened."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no message"


def likeness(error: str) -> str:
    """What two tracebacks share that tell of the same fault.

    Addresses and numbers (shapes, pids) differ, and so do the folders that workers unpack
    plug-ins into; a deeper network passes the same place more often: each place counts once.
    """
    named = re.sub(r'"[^"\n]*/([^"/\n]+)"', r'"\1"', error)
    places = dict.fromkeys(re.findall(r'^\s*File "(.+)", line (\d+),? in (\S+)', named, re.M))
    words = re.sub(r"0x[0-9a-fA-F]+|\b[0-9a-f]{16,}\b|\d+", "#", last_line(named))
    return f"{list(places)} {words}"


def _fate(fate: str, trials: Sequence[int]) -> str:
    """ "trials 0, 2 went on from the last checkpoint"."""
    named = ", ".join(map(str, trials[:10])) + (", …" if len(trials) > 10 else "")
    verb = fate.replace("was ", "were ") if len(trials) > 1 else fate
    return f"{'trial' if len(trials) == 1 else 'trials'} {named} {verb}"

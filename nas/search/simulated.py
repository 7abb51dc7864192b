"""A backend with a virtual clock: the real driver, whose trials are learning curves.

    from nas.search.simulated import simulate

    def curve(ask, recipe, epoch):
        return trained(epoch, 0.9 - abs(math.log10(recipe["lr"] / 0.1)) / epoch)

    simulation = simulate("tiny", curve, budget="50gpu-h", gpus=256, folder=Path("run"))
    simulation.state["finalists"], simulation.utilisation()

Everything but the training is the product's own: core, studies, stages, ledger, final training,
run folder. What a trial does is said by two functions:

curve(ask, recipe, epoch)  the report at an epoch's end: `trained`, `exploded`, `broke`,
                           `out_of_memory` or `died`; `ask.architecture` is the network's file
epoch_seconds(ask)         what an epoch of the trial takes, in virtual seconds

Same seed, same functions: the same search, to the last digit. The virtual clock stands still while
the driver thinks; what that takes in truth is in `waits`, a figure of this machine.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..models import cost
from ..rundir import Request, RunDir
from ..space import Architecture, Space, load, parse
from ..train.guard import violation
from ..train.recipe import Recipe
from .collection import short_collections
from .core import Core
from .proposals import Price
from .run import assemble
from .study import Studies
from .work import Ask, Signal

IMAGE = {"classes": 10, "channels": 3, "size": 32}  # what networks are priced for

T = TypeVar("T")
Report = dict[str, Any]
Curve = Callable[[Ask, Mapping[str, Any], int], Report]
Pace = Callable[[Ask], float]


# --- what a curve says at the end of an epoch -------------------------------------------------


def trained(epoch: int, validation: float) -> Report:
    """An epoch like any other; NaN is a value too."""
    return {"kind": "epoch", "epoch": epoch, "validation": validation}


def exploded(epoch: int, ratio: float) -> Report:
    """The training loss is `ratio` times the first one, or NaN."""
    stop = "exploded" if math.isfinite(ratio) else "nan"
    return {
        "kind": "epoch", "epoch": epoch, "validation": math.nan, "stop": stop,
        "violation": violation(ratio),
    }  # fmt: skip


def broke(error: str) -> Report:
    """The candidate's code raised; `error` is the traceback."""
    return {"kind": "failed", "cause": "failed", "error": error}


def out_of_memory() -> Report:
    """The candidate does not fit its device."""
    return {
        "kind": "failed",
        "cause": "out_of_memory",
        "error": "torch.OutOfMemoryError: simulated",
    }


def died(error: str = "the worker died") -> Report:
    """The worker's process is gone; its trial has the checkpoint of the epoch before."""
    return {"kind": "died", "error": error}


def tabulated(
    table: Mapping[Hashable, Sequence[float]], key: Callable[[Architecture], Hashable]
) -> Curve:
    """Replay measured curves: `table[key(architecture)]` has the validation of every epoch.

    KeyError where the table has no such network; past a curve's end its last value holds.
    """

    def curve(ask: Ask, _: Mapping[str, Any], epoch: int) -> Report:
        values = table[key(read(ask))]
        return trained(epoch, values[min(epoch, len(values)) - 1])

    return curve


def read(ask: Ask) -> Architecture:
    """The network and recipe of a trial."""
    loaded = parse(ask.architecture, path=f"trials/{ask.number}/architecture.yaml")
    assert isinstance(loaded, Architecture)
    return loaded


class _Recipe(Mapping[str, Any]):
    """A trial's recipe, read when it is looked at: reading takes longer than many a curve."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    @cached_property
    def _values(self) -> Mapping[str, Any]:
        return read(self._ask).recipe

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


# --- the session ------------------------------------------------------------------------------


class Clock:
    """Virtual seconds; whoever drives sets `now`."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(order=True)
class _Busy:
    """A slot's next word: at `until`, of `number`'s `epoch`; `left` of it remains then."""

    until: float
    number: int
    ask: Ask
    epoch: int
    left: float


def priced(architecture: Architecture) -> Price:
    """The price by the product's own arithmetic, for images of 32 x 32 in colour."""
    return cost(architecture, **IMAGE, batch=Recipe.from_mapping(architecture.recipe).batch_size)


def simulate(
    space: str | Path | Space | Architecture,
    curve: Curve,
    *,
    budget: str,
    folder: Path,
    **options: Any,
) -> Simulation:
    """Search to the end; `options` are those of Simulation. A folder that holds a run: resume."""
    simulation = Simulation(space, curve, budget=budget, folder=folder, **options)
    simulation.go()
    return simulation


class Simulation:
    """One session over a run folder; make another one on the same folder to resume.

    gpus      trials at once
    interval  seconds between two words of a running trial, as the real worker's pauses (None:
              an epoch's end alone)
    price     of a candidate, for the limits (None: the real arithmetic, `priced`)
    studies   in another storage than the run folder's journal

    core, run, clock    the driver's parts, for tests to look at
    asked               what was handed out, in order
    epochs              number -> the epochs that were trained in this session
    waits               real seconds from a slot's last word to its next trial, one a hand-out
    spent               real and processor seconds of the driver so far, at every hand-out
    state               what `go` came to; None before
    """

    def __init__(
        self,
        space: str | Path | Space | Architecture,
        curve: Curve,
        *,
        budget: str,
        folder: Path,
        gpus: int = 1,
        seed: int = 0,
        strategy: str = "tpe",
        keep: str = "top:20",
        epoch_seconds: Pace = lambda _: 1.0,
        interval: float | None = None,
        price: Callable[[Architecture], Price] | None = None,
        studies: Studies | None = None,
    ) -> None:
        self.space = load(space) if isinstance(space, str | Path) else space
        self.slots, self.clock = gpus, Clock()
        self._curve, self._epoch_seconds, self._interval = curve, epoch_seconds, interval
        digest = hashlib.sha256(self.space.text.encode()).hexdigest()
        request = Request(
            str(self.space.path), self.space.name, digest, digest, False, "simulated", budget,
            strategy, seed, trials_at_once=gpus, keep=keep,
        )  # fmt: skip
        if folder.exists():
            self.run = RunDir.open(folder)
            self.run.write_request(request)
        else:
            self.run = RunDir.create(folder, request, self.space.text, {})
        self.run.forget_stop()
        self.core: Core = assemble(
            self.run, request, self.space, price=price or priced, clock=self.clock,
            before=self.run.stages(), studies=studies,
        )  # fmt: skip
        self.asked: list[Ask] = []
        self.epochs: dict[int, list[int]] = {}
        self.waits: list[float] = []
        self.spent: list[tuple[float, float]] = []
        self._wall = self._cpu = 0.0
        self.state: dict[str, Any] | None = None
        self._busy: list[_Busy] = []
        self._spans: list[tuple[float, float]] = []
        self._recipes: dict[int, Mapping[str, Any]] = {}
        self._checkpoints: dict[int, int] = {}
        self._free_since = [time.perf_counter()] * gpus

    def go(self, until: Callable[[Simulation], bool] = lambda _: False) -> dict[str, Any] | None:
        """Run to the end, or leave as a SIGKILL would when `until` says so."""
        with short_collections():
            while not until(self):
                if self._fill() is Signal.DONE and not self._busy:
                    self.state = self.core.finish()
                    return self.state
                assert self._busy, "nothing runs and nothing is asked: a hang"
                self._word(heapq.heappop(self._busy))
        return None

    def utilisation(self, until: float | None = None) -> float:
        """Share of the devices' time that trials held them, up to a virtual moment (the end)."""
        end = self.clock.now if until is None else until
        held = sum(max(0.0, min(stop, end) - start) for start, stop in self._spans)
        return held / max(self.slots * end, 1e-9)

    def spans_until_now(self) -> list[tuple[float, float]]:
        """When trials held devices: (from, to), a word at a time, up to the present moment."""
        now = self.clock.now
        return [(start, min(stop, now)) for start, stop in self._spans if start < now]

    def _fill(self) -> Ask | Signal | None:
        """Hand work to every free slot."""
        work: Ask | Signal | None = None
        while len(self._busy) < self.slots:
            work = self._drive(self.core.next)
            if not isinstance(work, Ask):  # the slot waits for other trials, not for the driver
                self._free_since = [time.perf_counter()] * len(self._free_since)
                break
            self.waits.append(time.perf_counter() - self._free_since.pop())
            self.spent.append((self._wall, self._cpu))
            self.asked.append(work)
            self._drive(self.core.on_start, work.number)
            done = max(work.known_epoch, self._checkpoints.get(work.number, 0))
            if done:  # the worker tells the epoch of its checkpoint once more
                heapq.heappush(self._busy, _Busy(self.clock.now, work.number, work, done, 0.0))
            else:
                self._train(work, 1, self._epoch_seconds(work))
        return work

    def _drive(self, call: Callable[..., T], *words: object) -> T:
        """The driver's part, timed."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return call(*words)
        finally:
            self._wall += time.perf_counter() - wall
            self._cpu += time.process_time() - cpu

    def _train(self, ask: Ask, epoch: int, seconds: float) -> None:
        """Hold the slot until the trial's next word."""
        now = self.clock.now
        step = seconds if self._interval is None else min(seconds, self._interval)
        self._spans.append((now, now + step))
        heapq.heappush(self._busy, _Busy(now + step, ask.number, ask, epoch, seconds - step))

    def _word(self, busy: _Busy) -> None:
        """What the slot says at this moment, and what becomes of it."""
        self.clock.now, ask = busy.until, busy.ask
        again = busy.epoch <= max(ask.known_epoch, self._checkpoints.get(ask.number, 0))
        said = self._report(busy, again)
        before = time.perf_counter()
        if said["kind"] == "died":
            self._drive(self.core.on_death, ask.number, str(said["error"]))
            stop = True
        else:
            stop = self._drive(self.core.on_report, ask.number, said)
        if stop:
            self._free_since.append(before)
        elif busy.left > 0:
            self._train(ask, busy.epoch, busy.left)
        else:
            self._train(ask, busy.epoch + 1, self._epoch_seconds(ask))

    def _report(self, busy: _Busy, again: bool) -> Report:
        ask, seconds = busy.ask, self._epoch_seconds(busy.ask)
        if busy.left > 0:
            return {"kind": "pause", "share": 1 - busy.left / seconds}
        if ask.number not in self._recipes:
            self._recipes[ask.number] = _Recipe(ask)
        recipe = self._recipes[ask.number]
        said = {"kind": "epoch", "seconds": seconds, **self._curve(ask, recipe, busy.epoch)}
        if not again and said["kind"] == "epoch":
            self.epochs.setdefault(ask.number, []).append(busy.epoch)
            self._checkpoints[ask.number] = busy.epoch
        return said

"""The core on a virtual clock: what Ray does, in one loop, with learning curves by formula."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.rundir import Request, RunDir
from nas.search.core import Core
from nas.search.journal import open_journal
from nas.search.ledger import Ledger
from nas.search.proposals import Proposer
from nas.search.strategies import STRATEGIES
from nas.search.study import Studies
from nas.search.table import Table
from nas.search.work import Ask, Signal
from nas.space import Architecture, Space, parse
from nas.units import parse_budget

TEXT = """
name: simulated
network:
  - {name: stem, op: conv, channels: !choice [8, 16, 32]}
  - {name: body, op: conv, channels: x1, repeat: !int [1, 4]}
  - {op: global_pool}
  - {op: linear}
recipe:
  lr: !log {low: 1e-4, high: 10, default: 0.1}
  weight_decay: !log {low: 1e-6, high: 1e-2, default: 1e-4}
  epochs: 18
limits: {params: 1M}
"""

Curve = Callable[[Ask, Mapping[str, Any], int], dict[str, Any]]


@dataclass(frozen=True)
class Price:
    params: int
    macs: int
    memory: int

    def limited(self, name: str) -> int:
        return int(getattr(self, name))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def quadratic(ask: Ask, recipe: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    """Best at lr 0.1; over lr 3 it explodes in its first epoch."""
    lr = float(recipe.get("lr", 0.1))
    if lr > 3:
        return {
            "stop": "exploded",
            "violation": math.log(lr),
            "epoch": epoch,
            "validation": math.nan,
        }
    noise = random.Random(ask.seed).gauss(0, 0.002)
    height = 0.9 - 0.1 * abs(math.log10(lr / 0.1))
    return {"epoch": epoch, "validation": height * (1 - math.exp(-epoch / 3)) + noise}


def price(architecture: Architecture) -> Price:
    """A price by formula: 1,000 parameters a channel and repetition."""
    width = int(architecture.network[0]["channels"])
    depth = int(architecture.network[1].get("repeat", 1))
    return Price(1000 * width * depth, 10_000 * width * depth, 10**6)


class Simulation:
    """One session over a run folder; make another one on the same folder to resume."""

    def __init__(
        self,
        folder: Path,
        budget: str,
        *,
        text: str = TEXT,
        slots: int = 2,
        strategy: str = "random",
        curve: Curve = quadratic,
        epoch_seconds: Callable[[Ask], float] = lambda ask: 1.0,
        seed: int = 0,
        keep: int | None = 20,
        price: Callable[[Architecture], Price] = price,
    ) -> None:
        loaded = parse(text, path="simulated.yaml")
        self.space: Space | Architecture = loaded
        self.clock = Clock()
        self.curve, self.epoch_seconds, self.slots = curve, epoch_seconds, slots
        if folder.exists():
            self.run = RunDir.open(folder)
        else:
            request = Request(
                "simulated.yaml", "simulated", "", "", False, "none", budget, strategy, seed
            )
            self.run = RunDir.create(folder, request, text, {})
        before = self.run.stages().get("budget", {})
        self.ledger = Ledger(
            parse_budget(budget), slots=slots, devices_per_trial=1.0, clock=self.clock,
            wall_before=before.get("wall_seconds", 0.0),
            starting_before=before.get("starting_seconds", 0.0),
        )  # fmt: skip
        make = STRATEGIES.get(strategy)
        self.studies = Studies(open_journal(self.run.journal), "run", lambda n: make(seed + n))
        self.table = Table(self.run, keep)
        proposer = Proposer(
            space=loaded, studies=self.studies, ledger=self.ledger, table=self.table,
            price=price, seed=seed, log=self.run.log,
        )  # fmt: skip
        self.core = Core(
            run=self.run, studies=self.studies, proposer=proposer, ledger=self.ledger,
            table=self.table, clock=self.clock, seed=seed,
        )  # fmt: skip
        self.asked: list[Ask] = []
        self.trained: dict[int, list[int]] = {}
        self._events: list[tuple[float, int, Ask, int]] = []
        self._checkpoints: dict[int, int] = {}

    def go(self, until: Callable[[Simulation], bool] = lambda _: False) -> dict[str, Any] | None:
        """Run to the end, or leave as a SIGKILL would when `until` says so."""
        while not until(self):
            while len(self._events) < self.slots:
                work = self.core.next()
                if work is Signal.DONE and not self._events:
                    return self.core.finish()
                if not isinstance(work, Ask):
                    break
                self.asked.append(work)
                self.core.on_start(work.number)
                self._push(work, work.known_epoch + 1)
            self._step()
        return None

    def _push(self, ask: Ask, epoch: int) -> None:
        end = self.clock.now + self.epoch_seconds(ask)
        heapq.heappush(self._events, (end, ask.number, ask, epoch))

    def _step(self) -> None:
        assert self._events, "nothing runs and nothing is asked: a hang"
        self.clock.now, _, ask, epoch = heapq.heappop(self._events)
        loaded = parse(ask.architecture, path="architecture.yaml")
        assert isinstance(loaded, Architecture)
        report = {"kind": "epoch", **self.curve(ask, loaded.recipe, epoch)}
        self.trained.setdefault(ask.number, []).append(epoch)
        if not self.core.on_report(ask.number, report):
            self._push(ask, epoch + 1)

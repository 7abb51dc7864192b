"""Candidates: drawn stage by stage, refused before they cost device time.

With several slots, some are drawn ahead while the devices are busy, so that a free slot does not
wait for the sampler. A candidate that is drawn and not begun is a RUNNING trial of the study
without a number: a crash loses nothing, the next session takes it up and begins it.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import ShapeError
from ..space import Architecture, Decisions, Space, draw, fill
from ..train.recipe import Recipe
from ..units import counted
from . import stages
from .ledger import Ledger
from .memory import Memory
from .study import Record, Studies, Trial, best_first, chooser
from .table import Table

DUPLICATES_IN_A_ROW = 100  # then the space is exhausted
INFEASIBLE_IN_A_ROW = 200  # then plain draws say how much of the space fits at all
LEAST_TRAINED = 6  # trials of a stage before its ranges are narrowed
SAMPLE = 1000  # plain draws for that
MANY_REFUSED = 20  # draws, from which the end of a search says so
GIVE_UP_AFTER = 1000  # misfits in a row, however many plain draws fit
MOST_LOGGED = 20  # misfits that differ in their words
MOST_AHEAD = 8  # candidates that are drawn before there is a slot for them
CARRIED = 250  # trials that a stage carries over: as many as its sampler is fitted on


class Price(Protocol):
    """What `models.cost` says of an architecture on this data."""

    @property
    def params(self) -> int: ...
    @property
    def macs(self) -> int: ...
    def limited(self, name: str) -> int: ...


@dataclass(frozen=True)
class Candidate:
    """A network and recipe that fit and are new; `plan` is what the study is told of them."""

    trial: Trial
    stage: str
    architecture: Architecture
    decisions: Decisions
    plan: dict[str, Any]

    @property
    def parts(self) -> tuple[Trial, str, str, Decisions, dict[str, Any]]:
        """What a trial begins with; the network as text."""
        return self.trial, self.stage, self.architecture.text, self.decisions, self.plan


class Proposer:
    """Draws candidates for one search. `price` raises ShapeError for what cannot be built.

    `memory` bounds what the device holds, by what is known of it now; what needs more is refused
    as over a limit. `first`: decisions that the coarse stage tries before any are drawn.
    """

    def __init__(
        self,
        *,
        space: Space | Architecture,
        studies: Studies,
        ledger: Ledger,
        table: Table,
        price: Callable[[Architecture], Price],
        seed: int,
        log: Callable[[str], None],
        memory: Memory | None = None,
        first: Sequence[Decisions] = (),
    ) -> None:
        self._first, self._enqueued = first, 0  # in the coarse stage, not yet asked
        self._space, self._studies, self._ledger, self._table = space, studies, ledger, table
        self._price, self._seed, self._log = price, seed, log
        self._limits, self._memory = dict(space.limits), memory or Memory(None)
        self._holes = space.holes if isinstance(space, Space) else ()
        self._seen: dict[tuple[str, int], int | None] = {}  # None: drawn, and not begun
        self._ready: deque[Candidate] = deque()
        self._kept: list[Record] = []
        self._most_ahead = min(MOST_AHEAD, ledger.slots - 1)
        self._streak: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()  # by the limit that was broken most
        self._misfits: Counter[str] = Counter()  # shapes that do not fit, by what was said
        self._misfit = ""  # what was said last
        self.halted: Callable[[], bool] = lambda: False  # whether the search is told to stop
        self.stages: list[stages.Stage] = []
        self.why_ended: str | None = None
        own = fill(space, space.default()) if isinstance(space, Space) else space
        self.default_epochs = Recipe.from_mapping(own.recipe).epochs  # of trial 0

    @property
    def stage(self) -> stages.Stage:
        return self.stages[-1]

    def start(self, names: list[str]) -> None:
        """Take up the stages that have a study, or begin with the coarse one."""
        for name in names:
            record = self._studies.stage_record(name)
            self.stages.append(stages.Stage.from_record(record, self._holes))
        if not self.stages:
            self._begin_stage(stages.coarse(self._holes))
            own = self._default()
            for decisions in (own, *(each for each in self._first if each != own)):
                self._studies.enqueue("coarse", decisions)
            self._studies.finish_creating("coarse")
        if self.stage.name == "coarse":
            self._enqueued = len(self._studies.waiting("coarse"))

    def see_pace(self, epoch_seconds: float) -> None:
        """Trial 0's first epoch is measured: a small budget gets shorter coarse trials."""
        left = self._ledger.search_epochs(epoch_seconds)
        if len(self.stages) > 1 or not self._holes or left is None or self._ledger.search_over():
            return  # no more trials: there is nothing to shorten
        wanted = max(stages.WANTED, self._enqueued + 1)
        stage = stages.shortened(self.stage, self.default_epochs, left, wanted)
        if stage is not self.stage:
            self.stages[0] = stage
            self._studies.study(stage.name).set_user_attr("stage", stage.record())
            length = stage.epochs(self.default_epochs)
            trials = f"trials of {counted(length, 'epoch')}"
            self._log(f"stage {stage.name}: {trials}, the budget being small")

    def know(self, digest: str, epochs: int, number: int) -> None:
        """That network and recipe, at that length, is trial `number`'s."""
        self._seen[digest, epochs] = number

    def keep(self, record: Record) -> None:
        """A trial that an earlier session drew and did not begin."""
        self._kept.append(record)

    def take_up(self, *, searching: bool) -> None:
        """Begin those of the present stage next; all others are told."""
        for record in self._kept:
            trial = self._studies.reopen(record)
            if searching and record.stage == self.stage.name:
                candidate = self._consider(trial)
                self._ready.extend([candidate] if candidate is not None else [])
            else:
                self._studies.end(record.stage, trial, "unused", as_cause="failed")
        self._kept.clear()

    def propose(self) -> Candidate | None:
        """The next candidate; None where the search is at its end, `why_ended` says why.

        None without `why_ended`: it was told to stop, or the budget ended, while it drew.
        """
        while self._ready:
            candidate = self._ready.popleft()
            excess = self._memory.excess(candidate.plan["memory"])
            if excess <= 0:
                return candidate
            self._forget(candidate)  # others have shown since that it will not fit
            self._refuse(candidate.stage, candidate.trial, ("memory", excess))
        return self._draw()

    def prepare(self) -> None:
        """Draw one candidate ahead; never more than MOST_AHEAD, than slots but one, or than the
        budget has trials left. With one slot each is drawn after the one before it has ended.
        """
        bound = self._ledger.budget.trials
        left = self._most_ahead if bound is None else bound - self._ledger.trials
        full = len(self._ready) >= min(self._most_ahead, left)
        if not full and self.why_ended is None and not self._ledger.search_over():
            candidate = self._draw()
            if candidate is not None:
                self._ready.append(candidate)

    def drop(self) -> None:
        """Tell the candidates that were drawn ahead, and will not be begun."""
        while self._ready:
            candidate = self._ready.popleft()
            self._studies.end(candidate.stage, candidate.trial, "unused", as_cause="failed")
            self._forget(candidate)

    def _draw(self) -> Candidate | None:
        self._maybe_next_stage()
        while self.why_ended is None and not self._broken_off():
            with self._studies.together():
                self._enqueued = max(0, self._enqueued - 1)
                candidate = self._consider(self._studies.ask(self.stage.name))
            if candidate is not None:
                return candidate
        return None

    def _broken_off(self) -> bool:
        """Whether to draw no more. A draw may take long: a plug-in that hangs is waited for."""
        return self.halted() or (bool(self._table.rows) and self._ledger.search_over())

    def refusals(self) -> list[str]:
        """What to say at the end of draws that were refused in this session."""
        refused, trained = sum(self._refused.values()), self._ledger.trials
        if self._misfits:
            said, number = self._misfits.most_common(1)[0]
            return [f"{self._refused['shape']} draws do not fit, {number} of them because: {said}"]
        if refused < MANY_REFUSED or refused < 2 * trained or self.why_ended:
            return []
        name, number = self._refused.most_common(1)[0]
        return [
            f"{refused} draws were refused untrained, {number} of them over limits.{name}: "
            f"{trained / (trained + refused):.1%} of the draws fitted; raise the limit, or make "
            "the ranges of the space smaller"
        ]

    # --- one candidate ------------------------------------------------------------------

    def _consider(self, trial: Trial) -> Candidate | None:
        """What the trial of the present stage decides; None: it is told, it costs nothing."""
        stage, architecture = self.stage, self._fill(trial)
        full = Recipe.from_mapping(architecture.recipe).epochs
        epochs = stage.epochs(full)
        known = (architecture.digest, epochs)
        if known in self._seen:
            self._duplicate(trial, self._seen[known])
            return None
        price = self._affordable(trial, architecture)
        if price is None:
            return None
        self._streak.clear()
        self._seen[known] = None
        plan = {
            "epochs": epochs, "full_epochs": full, "digest": architecture.digest,
            "params": price.params, "macs": price.macs, "memory": price.limited("memory"),
        }  # fmt: skip
        decisions = dict(architecture.decisions or {})
        return Candidate(trial, stage.name, architecture, decisions, plan)

    def _default(self) -> Decisions:
        return self._space.default() if isinstance(self._space, Space) else {}

    def _fill(self, trial: Trial) -> Architecture:
        if isinstance(self._space, Architecture):
            return self._space
        return fill(self._space, chooser(trial), within=self.stage.domain)

    def _duplicate(self, trial: Trial, number: int | None) -> None:
        """Tell a known network its earlier value (`number` None: it has none yet)."""
        row = {"validation": None, "cause": None} if number is None else self._table.rows[number]
        self._studies.end(
            self.stage.name, trial, "duplicate", row["validation"],
            as_cause=row["cause"] or "failed", duplicate_of=number,
        )  # fmt: skip
        self._table.duplicates += 1
        self._streak["duplicate"] += 1
        if self._streak["duplicate"] >= DUPLICATES_IN_A_ROW:
            self.why_ended = (
                f"{DUPLICATES_IN_A_ROW} draws in a row were known: the space is exhausted"
            )

    def _affordable(self, trial: Trial, architecture: Architecture) -> Price | None:
        over = self._excess(architecture)
        if not isinstance(over, tuple):
            return over
        self._refuse(self.stage.name, trial, over)
        if over[0] == "shape":
            if self._misfit not in self._misfits and len(self._misfits) < MOST_LOGGED:
                self._log(f"refused: {self._misfit}")
            self._misfits[self._misfit] += 1
        self._streak["infeasible"] += 1
        if self._streak["infeasible"] % INFEASIBLE_IN_A_ROW == 0:
            self._sample_feasible()
        return None

    def _refuse(self, stage: str, trial: Trial, over: tuple[str, float]) -> None:
        self._studies.end(stage, trial, "infeasible", violation=over, limit=over[0])
        self._table.infeasible += 1
        self._refused[over[0]] += 1

    def _forget(self, candidate: Candidate) -> None:
        del self._seen[candidate.plan["digest"], candidate.plan["epochs"]]

    def _excess(self, architecture: Architecture) -> Price | tuple[str, float]:
        """Its price, or the limit that it breaks most and log(value / limit)."""
        try:
            price = self._price(architecture)
        except ShapeError as error:
            self._misfit = str(error)
            return ("shape", 1.0)
        worst = ("", 0.0)
        broken = [
            (name, math.log(max(price.limited(name), 1) / limit))
            for name, limit in self._limits.items()
        ]
        for name, excess in [*broken, ("memory", self._memory.excess(price.limited("memory")))]:
            if excess > worst[1]:
                worst = (name, excess)
        return worst if worst[0] else price

    def _sample_feasible(self) -> None:
        """After many misfits in a row: how much of the space fits, by plain draws."""
        assert isinstance(self._space, Space)
        source = random.Random(self._seed + self._table.infeasible)
        broken: Counter[str] = Counter()
        for _ in range(SAMPLE):
            if self._broken_off():
                return
            over = self._excess(fill(self._space, draw(self._space, source)))
            if isinstance(over, tuple):
                broken[over[0]] += 1
        misfits = sum(broken.values())
        if misfits < SAMPLE and self._streak["infeasible"] < GIVE_UP_AFTER:
            return
        tightest = broken.most_common(1)[0][0] if broken else "none"
        self.why_ended = (
            f"{self._streak['infeasible']} draws in a row were refused, and "
            f"{1 - misfits / SAMPLE:.1%} of {SAMPLE} plain draws fit; {_tightest(tightest)}"
        )

    # --- stages -------------------------------------------------------------------------

    def _maybe_next_stage(self) -> None:
        share = self._ledger.search_share()
        if self._enqueued or share < self.stage.until or self.stage.until >= 1.0 or not self._holes:
            return
        records = list(self._studies.records(self.stage.name))
        ranked = best_first(records)
        trained = [record for record in ranked if record.carried_from is None]
        if len(trained) < LEAST_TRAINED or trained[0].cause == "pruned":
            return  # too little to narrow ranges by
        slower = stages.FINE_FRACTION / self.stage.fraction if self._ledger.timed else 1.0
        forecast = self._ledger.trials * (1 - share) / max(share, 1e-9) / slower
        elite = min(stages.MOST_ELITE, max(stages.LEAST_ELITE, len(ranked) // 4))
        best = [record.decisions for record in ranked[:elite]]
        following = stages.fine(self.stage, best, forecast)
        longer = [r for r in ranked if r.carried_from is None and r.cause != "pruned"]
        longer = [r for r in longer if stages.inside(following.domain, r.decisions)]
        with self._studies.together():
            self._begin_stage(following, records)
            for record in longer[: 1 + min(3, int(forecast // 4))]:
                self._studies.enqueue(following.name, record.decisions)
            self._studies.finish_creating(following.name)

    def _begin_stage(self, stage: stages.Stage, before: list[Record] | None = None) -> None:
        self._studies.create(stage.name, stage.record())
        self._studies.carry(stage.name, _carried(before or [], stage), stage.domain)
        self.stages.append(stage)
        self._log(f"stage {stage.name} begins, ranges {stage.ranges()}")


def _carried(records: list[Record], stage: stages.Stage) -> list[Record]:
    """What a stage takes over: trials inside its ranges, at most CARRIED, in their order.

    Of more than that, half are the best, the others evenly spread over the stage before.
    """
    inside = [
        record
        for record in records
        if record.cause in ("finished", "stalled", "pruned", "exploded", "nan")
        and record.carried_from is None and record.number is not None
        and stages.inside(stage.domain, record.decisions)
    ]  # fmt: skip
    if len(inside) <= CARRIED:
        return inside
    best = {record.optuna_number for record in best_first(inside)[: CARRIED // 2]}
    others = [record for record in inside if record.optuna_number not in best]
    wanted = CARRIED - len(best)
    spread = {others[place * len(others) // wanted].optuna_number for place in range(wanted)}
    return [record for record in inside if record.optuna_number in best | spread]


def _tightest(name: str) -> str:
    if name == "shape":
        return (
            "the others' shapes do not fit, to each other or to the images: nas spaces --check "
            "says where"
        )
    return (
        f"the tightest limit is {name}: raise limits.{name}, or make the ranges of the space "
        "smaller"
    )

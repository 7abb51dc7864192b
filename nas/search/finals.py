"""The final training: the best candidates, and trial 0 beside them, in full, on several seeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from ..units import show_seconds
from . import minimum
from .ledger import RESERVE_SHARE, FinalCost, Ledger

STAGE = "final"
# (candidates beside trial 0, seeds), the most wanted first
PLANS = ((3, 3), (3, 2), (2, 3), (2, 2), (1, 3), (1, 2), (2, 1), (1, 1))
MOST_CANDIDATES = max(candidates for candidates, _ in PLANS)
SMALLEST_UNTIMED = (1, 2)  # without a clock there are two seeds: a spread can be shown
UNTIMED_SHARE = 1 / 2  # of what the search cost, for finals under a budget without time
BROKEN = ("exploded", "nan", "out_of_memory", "failed")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One final training of the candidate that trial `candidate` found."""

    candidate: int
    seed_index: int
    epochs: int
    full_epochs: int
    seconds: float  # forecast, on its slot

    @property
    def cost(self) -> FinalCost:
        return FinalCost(self.seconds, self.epochs)


class Rows(Protocol):
    """What the final training looks at: the trials of the search, and its own."""

    @property
    def rows(self) -> Mapping[int, Row]: ...
    def ranked(self, most: int | None = None) -> list[dict[str, Any]]: ...
    def reference(self) -> dict[str, Any] | None: ...
    def has_final(self, job: Job) -> bool: ...
    def leader(self) -> int | None: ...


class Finals:
    """Plans the final training, hands its jobs out, and plans again where time is left."""

    def __init__(self, rows: Rows, ledger: Ledger) -> None:
        self._rows, self._ledger = rows, ledger
        self._jobs: deque[Job] = deque()
        self.planned = False

    def reserve(self) -> None:
        """Keep back what the final training is expected to cost, by what is known now."""
        jobs = forecast(self._rows.ranked(MOST_CANDIDATES), self._rows.reference(), self._ledger)
        if jobs:
            self._ledger.reserve([job.cost for job in jobs])

    def plan(self) -> str | None:
        """Plan what the budget still holds; a note where that is less than it should be."""
        self.planned = True
        entrants = self._entrants()
        if self._rows.reference() is None and self._ledger.spent():
            return (
                f"the budget of {self._ledger.budget.text} was spent before the first trial could "
                f"begin: the start took {show_seconds(self._ledger.wall_seconds)}; give a larger "
                "one"
            )
        if not entrants:
            return "no candidate was trained to an end: there is nothing to train in full"
        if not any(row["epoch"] for row in entrants):
            return None  # said already: the budget ended within trial 0's first epoch
        jobs = self._largest(entrants)
        note = None
        if jobs is None:
            whole = _jobs(entrants, max(seeds for _, seeds in PLANS))
            trained = any(self._rows.has_final(job) for job in whole)
            instead = None if trained else self._best_that_fits(entrants)
            jobs, note = instead or _shortened(entrants, self._ledger, trained)
        self._jobs = deque(jobs)
        self._ledger.reserve([job.cost for job in jobs])
        return note

    def record(self) -> list[dict[str, Any]]:
        """The jobs to come, as plain values."""
        return [asdict(job) for job in self._jobs]

    def take_up(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Go on with the plan of an earlier session."""
        self.planned = True
        self._jobs = deque(Job(**record) for record in records)

    def next(self, running: Sequence[FinalCost]) -> Job | None:
        """The next training; None where the budget holds no more. `running`: what the trainings
        under way still need."""
        if not self._jobs and self._ledger.timed:
            self._jobs = deque(self._largest(self._entrants(), running) or ())
        while self._jobs:
            job = self._jobs.popleft()
            if not self._rows.has_final(job):
                return job
        return None

    def early(self, running: int) -> Job | None:
        """A training that the plan will hold whatever the search's last trials come to, of which
        `running` are under way; None: there is none yet.

        Trial 0's, and those of candidates that so few cannot push out. Where time is bounded the
        last trials are stopped at their next report, so nothing is gained: None.
        """
        entrants = self._entrants()
        jobs = None if self._ledger.timed else self._largest(entrants)
        if not jobs:
            return None
        candidates = len({job.candidate for job in jobs} - {0})
        others = [row["trial"] for row in entrants if row["trial"] != 0]
        sure = {0, *others[: max(0, candidates - running)]}
        wanted = (job for job in jobs if job.candidate in sure)
        return next((job for job in wanted if not self._rows.has_final(job)), None)

    def seconds(self) -> float:
        """What the jobs to come are expected to take, on one slot."""
        return sum(job.seconds for job in self._jobs)

    def _entrants(self) -> list[Row]:
        """Trial 0 first, so that in each round of seeds like is compared with like; then the best
        of an earlier session's final training, then the best of the search.
        """
        reference, number = self._rows.reference(), self._rows.leader()
        own = [] if reference is None or reference["cause"] in BROKEN else [reference]
        leader = [self._rows.rows[number]] if number else []
        known = {row["digest"] for row in leader}
        ranked = self._rows.ranked(MOST_CANDIDATES + len(leader))
        return [*own, *leader, *(row for row in ranked if row["digest"] not in known)]

    def _largest(
        self, entrants: Sequence[Row], running: Sequence[FinalCost] = ()
    ) -> list[Job] | None:
        """What is missing of the most wanted plan that the budget holds; None where none fits."""
        ledger = self._ledger
        for candidates, seeds in PLANS:
            if not ledger.timed and (candidates, seeds) == SMALLEST_UNTIMED:
                return _jobs(entrants[: candidates + 1], seeds)
            whole = _jobs(entrants[: candidates + 1], seeds)
            jobs = [job for job in whole if not self._rows.has_final(job)]
            if ledger.timed:
                fits = ledger.fits([job.cost for job in jobs], running)
            else:  # some may have begun early: their cost counts as the others'
                fits = ledger.worth([job.cost for job in whole], UNTIMED_SHARE)
            if fits:
                return jobs
        return None

    def _best_that_fits(self, entrants: Sequence[Row]) -> tuple[list[Job], str] | None:
        """Trial 0 and the best candidate that can be trained in full beside it, on one seed.

        The best of all may have shown its price too late for the reserve.
        """
        reference, others = entrants[0], entrants[2:]
        for row in others:
            jobs = _jobs([reference, row], 1)
            if self._ledger.fits([job.cost for job in jobs]):
                return jobs, (
                    f"the final training of trial {entrants[1]['trial']}, the best of the search, "
                    f"is longer than what the budget of {self._ledger.budget.text} left: trial "
                    f"{row['trial']} took its place"
                )
        return None


def plan_of(job: Job, row: Row, decisions: Mapping[str, object], seed: int) -> dict[str, Any]:
    """What the study is told of a final training; `row` is its candidate's."""
    return {
        "epochs": job.epochs, "full_epochs": job.full_epochs, "digest": row["digest"],
        "params": row["params"], "macs": row["macs"], "candidate": job.candidate,
        "seed_index": job.seed_index, "seed": seed, "decisions": decisions,
    }  # fmt: skip


def forecast(ranked: Sequence[Row], reference: Row | None, ledger: Ledger) -> list[Job]:
    """What the final training will be, while the search runs: the basis of the reserve.

    Candidates still to be found are priced like trial 0; nothing before its first epoch.
    """
    if reference is None or not reference["epoch"]:
        return []
    jobs: list[Job] = []
    for candidates, seeds in PLANS:
        rows = [reference, *ranked[:candidates]]
        rows += [reference] * (candidates + 1 - len(rows))
        jobs = _jobs(rows, seeds)
        share = RESERVE_SHARE if ledger.timed else UNTIMED_SHARE
        if ledger.worth([job.cost for job in jobs], share):
            break
    return jobs


def _jobs(rows: Sequence[Row], seeds: int) -> list[Job]:
    return [_job(row, seed) for seed in range(seeds) for row in rows]


def _job(row: Row, seed_index: int) -> Job:
    epochs = int(row["full_epochs"])
    seconds = minimum.TRIAL_SECONDS + float(row["epoch_seconds"] or 0.0) * epochs
    return Job(int(row["trial"]), seed_index, epochs, epochs, seconds)


def remaining(row: Row, rows: Mapping[int, Row]) -> FinalCost:
    """What a running training still needs; its first epoch is priced like its candidate's."""
    epochs = row["epochs"] - row["epoch"]
    priced = row if row["epoch_seconds"] else rows.get(row["candidate"], row)
    return FinalCost(epochs * float(priced["epoch_seconds"] or 0.0), epochs)


def too_small(ledger: Ledger, reference: Row, seconds: float, share: float) -> str:
    """What to say when the budget ended within the first epoch of trial 0.

    seconds, share  spent on that epoch, and how much of its steps they made
    """
    said = f"the budget of {ledger.budget.text} ended within the first epoch of the default network"
    if share <= 0:
        return f"{said}, before its first step was done: give a much larger one"
    epoch = seconds / share
    return (
        f"{said}, which takes about {show_seconds(epoch)} here"
        f"{minimum.enough(ledger, minimum.Measured.of(reference, epoch))}"
    )


def _shortened(entrants: Sequence[Row], ledger: Ledger, trained: bool) -> tuple[list[Job], str]:
    """One seed of the best candidate beside trial 0, shortened to fit; nothing where it would
    be shorter than what the search has trained already. `trained`: there are final trainings."""
    rows = list(entrants[:2])
    whole = _jobs(rows, 1)
    factor = min(1.0, ledger.shrink([job.cost for job in whole]))
    jobs = [_shorten(job, factor) for job in whole]
    text, reference = ledger.budget.text, rows[0]
    measured = minimum.Measured.of(reference, reference["epoch_seconds"])
    more = minimum.enough(ledger, measured)
    if all(job.epochs <= int(row["epoch"]) for job, row in zip(jobs, rows, strict=True)):
        if trained:
            return [], f"the budget of {text} left no time for more final trainings"
        return [], (
            f"the budget of {text} left no time for a final training: the networks are those of "
            f"the search, as far as they were trained{more}"
        )
    first = jobs[0]
    return jobs, (
        f"final training shortened to {first.epochs} of {first.full_epochs} epochs: the budget of "
        f"{text} left no time for more{more}"
    )


def _shorten(job: Job, factor: float) -> Job:
    epochs = int(job.full_epochs * factor)
    return replace(job, epochs=epochs, seconds=job.seconds * factor)

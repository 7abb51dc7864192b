"""The final training: the best candidates, and trial 0 beside them, in full, on several seeds."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from ..units import counted, show_seconds
from . import minimum
from .ledger import OVERHEAD_SECONDS, RESERVE_SHARE, FinalCost, Ledger

STAGE = "final"
# (candidates beside trial 0, seeds), the most wanted first
PLANS = ((3, 3), (3, 2), (2, 3), (2, 2), (1, 3), (1, 2), (2, 1), (1, 1))
MOST_CANDIDATES = max(candidates for candidates, _ in PLANS)
MOST_TRAININGS = max((candidates + 1) * seeds for candidates, seeds in PLANS)
SMALLEST_UNTIMED = (1, 2)  # without a clock there are two seeds: a spread can be shown
UNTIMED_SHARE = 1 / 2  # of what the search cost, for finals under a budget without time
BROKEN = ("exploded", "nan", "out_of_memory", "failed")
ALIKE = 3  # the last trials of one size, whose pace is the machine's of late
LOOKED_AT = 100  # trials of late, among which they are looked for
SLOWER = 1.15  # than the search, from which it is said

Row = Mapping[str, Any]
Price = Callable[[Row], float]  # seconds of an epoch


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
    def final_rows(self) -> Sequence[Row]: ...
    def has_final(self, job: Job) -> bool: ...
    def leader(self) -> int | None: ...


class Finals:
    """Plans the final training, hands its jobs out, and plans again where time is left."""

    def __init__(self, rows: Rows, ledger: Ledger) -> None:
        self._rows, self._ledger = rows, ledger
        self._jobs: deque[Job] = deque()
        self._wanted: tuple[Job, ...] = ()  # as planned at first: trial 0 and the best lead
        self.planned = False

    def reserve(self) -> None:
        """Keep back what the final training is expected to cost, by what is known now.

        What an earlier session has trained is not trained again, but a new best candidate is.
        """
        ranked, reference = self._rows.ranked(MOST_CANDIDATES), self._rows.reference()
        jobs = forecast(ranked, reference, self._ledger, self._price)
        missing = [job for job in jobs if not self._rows.has_final(job)] or jobs[1:2]
        if missing:
            self._ledger.reserve([job.cost for job in missing])

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
            whole = _jobs(entrants, max(seeds for _, seeds in PLANS), self._price)
            trained = any(self._rows.has_final(job) for job in whole)
            instead = None if trained else self._best_that_fits(entrants)
            jobs, note = instead or _shortened(entrants, self._ledger, trained, self._price)
        self._jobs, self._wanted = deque(jobs), tuple(jobs)
        self._ledger.reserve([job.cost for job in jobs])
        return "; ".join(filter(None, (_no_baseline(self._rows.reference()), note))) or None

    def record(self) -> list[dict[str, Any]]:
        """The jobs to come, as plain values."""
        return [asdict(job) for job in self._jobs]

    def take_up(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Go on with the plan of an earlier session."""
        self.planned = True
        self._wanted = tuple(Job(**record) for record in records)
        self._jobs = deque(self._wanted)

    def next(self, running: Sequence[FinalCost]) -> Job | None:
        """The next training; None where the budget holds no more beside those under way.

        running  what these still need
        """
        if self._ledger.timed:
            self._look_again(running)
        while self._jobs:
            job = self._jobs.popleft()
            if not self._rows.has_final(job):
                return job
        return None

    def _look_again(self, running: Sequence[FinalCost]) -> None:
        """Plan anew where the budget no longer holds the plan, by what epochs take now, or where
        it holds more.

        A training that would be cut off is not begun: its share keeps those under way whole.
        """
        jobs = [self._priced(job) for job in self._jobs if not self._rows.has_final(job)]
        if not jobs or not self._ledger.fits([job.cost for job in jobs], running):
            jobs = self._largest(self._entrants(), running) or self._leading(running)
        self._jobs = deque(jobs)

    def _leading(self, running: Sequence[FinalCost]) -> list[Job]:
        """Of trial 0 and the best, the first that has not begun, shortened to what is left."""
        begun = {_key(row) for row in self._rows.final_rows()}
        for job in self._wanted[:2]:
            row = self._rows.rows[job.candidate]
            if _key_of(job) not in begun:
                dearer = self._priced(job)
                short = _shorten(dearer, min(1.0, self._ledger.shrink([dearer.cost], running)))
                return [short] if short.epochs > int(row["epoch"]) else []
        return []

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

    def shortfall(self) -> list[str]:
        """What to say at the end of trainings that were cut off, shortened, or never begun."""
        rows = {_key(row): row for row in self._rows.final_rows()}  # the last one of each
        cut = [row for row in rows.values() if row["cause"] == "budget"]
        begun = [(job, rows[_key_of(job)]) for job in self._wanted if _key_of(job) in rows]
        short = [
            row for job, row in begun if row["epochs"] < job.epochs and row["cause"] != "budget"
        ]
        never = [job for job in self._wanted if _key_of(job) not in rows]
        if not (cut or short or never) or not self._ledger.timed:
            return []
        said = [f"{self._named(row)} was cut off after {_of_epochs(row)}" for row in cut]
        said += [f"{self._named(row)} was shortened to {_of_epochs(row)}" for row in short]
        if never:
            said.append(f"{counted(len(never), 'training')} never began")
        slower = self._drift()
        if slower >= SLOWER:
            said.append(f"epochs took {slower:.1f} times as long as in the search")
        ledger = self._ledger
        lacking = [*self._lacking([*cut, *short]), *(self._priced(job).cost for job in never)]
        enough = ledger.enough_for(lacking)
        asked = minimum.advice(ledger.budget, enough)
        more = f"about {asked}" if asked != ledger.budget.text else "a little more"
        return [
            f"the budget of {ledger.budget.text} ended before the final training did: "
            f"{', '.join(said)}; {more} would have held it"
        ]

    def _named(self, row: Row) -> str:
        leading = [job.candidate for job in self._wanted[:2] if job.candidate]
        best = ", the best of the search," if row["candidate"] in leading else ""
        return f"trial {row['candidate']}{best} on seed {row['seed_index'] + 1}"

    def _lacking(self, rows: Iterable[Row]) -> Iterable[FinalCost]:
        """What would have made these trainings whole: a shortened one begins anew."""
        for row in rows:
            done = row["epoch"] if row["cause"] == "budget" else 0
            epochs = row["full_epochs"] - done
            yield FinalCost(
                _seconds(self._price(self._rows.rows[row["candidate"]]), epochs), epochs
            )

    def _priced(self, job: Job) -> Job:
        """The same by what epochs take now."""
        price = self._price(self._rows.rows[job.candidate])
        return replace(job, seconds=_seconds(price, job.epochs))

    def _price(self, row: Row) -> float:
        """Seconds of an epoch of that candidate, as far as it is known by now.

        A machine that others use too becomes slower: its own final trainings tell it, else what
        networks of its size have taken of late, and how others' final trainings have fared.
        """
        own = [final for final in self._paced() if final["candidate"] == row["trial"]]
        if own:
            return float(own[-1]["epoch_seconds"])
        return self._searched(row) * self._drift()

    def _searched(self, row: Row) -> float:
        """As in the search: its own pace, or that of the last ones of its size, if slower."""
        own, rows = float(row["epoch_seconds"] or 0.0), self._rows.rows
        last = range(max(0, len(rows) - LOOKED_AT), len(rows))
        alike = [
            float(other["epoch_seconds"])
            for other in (rows[number] for number in last if number in rows)
            if other["macs"] == row["macs"] and other["epoch_seconds"]
            and other["candidate"] is None
        ][-ALIKE:]  # fmt: skip
        return max(own, statistics.median(alike)) if len(alike) == ALIKE else own

    def _drift(self) -> float:
        """How many times as long as in the search an epoch takes now; at least 1."""
        rows = self._rows.rows
        ratios = [
            float(final["epoch_seconds"]) / searched
            for final in self._paced()
            if (searched := self._searched(rows[final["candidate"]]))
        ]
        return max(1.0, statistics.median(ratios[-ALIKE:])) if ratios else 1.0

    def _paced(self) -> list[Row]:
        """The final trainings of which more than the first epoch, a slow one, is timed."""
        return [row for row in self._rows.final_rows() if row["epoch"] > 1 and row["epoch_seconds"]]

    def _entrants(self) -> list[Row]:
        """Trial 0 first, so that in each round of seeds like is compared with like; then the best
        of an earlier session's final training, then the best of the search.
        """
        reference, number = self._rows.reference(), self._rows.leader()
        own = [reference] if reference is not None and _trainable(reference) else []
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
                return _jobs(entrants[: candidates + 1], seeds, self._price)
            whole = _jobs(entrants[: candidates + 1], seeds, self._price)
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
            jobs = _jobs([reference, row], 1, self._price)
            if self._ledger.fits([job.cost for job in jobs]):
                return jobs, (
                    f"the final training of trial {entrants[1]['trial']}, the best of the search, "
                    f"is longer than what the budget of {self._ledger.budget.text} left: trial "
                    f"{row['trial']} took its place"
                )
        return None


def _trainable(reference: Row) -> bool:
    """Whether trial 0 can be trained in full, by what became of it in the search.

    After an epoch it has, whatever failed then: most likely its workers were killed too often.
    """
    cause = reference["cause"]
    return cause not in BROKEN or (cause == "failed" and reference["epoch"] > 0)


def _no_baseline(reference: Row | None) -> str | None:
    """What to say where trial 0 is not trained in full; None: it is."""
    if reference is None or _trainable(reference):
        return None
    return (
        f"trial 0, the default network, ended as {reference['cause']}: the final training has no "
        "baseline to compare with"
    )


def plan_of(job: Job, row: Row, decisions: Mapping[str, object], seed: int) -> dict[str, Any]:
    """What the study is told of a final training; `row` is its candidate's."""
    return {
        "epochs": job.epochs, "full_epochs": job.full_epochs, "digest": row["digest"],
        "params": row["params"], "macs": row["macs"], "candidate": job.candidate,
        "seed_index": job.seed_index, "seed": seed, "decisions": decisions,
    }  # fmt: skip


def searched(row: Row) -> float:
    """Seconds of an epoch as a candidate's own training in the search told them."""
    return float(row["epoch_seconds"] or 0.0)


def forecast(
    ranked: Sequence[Row], reference: Row | None, ledger: Ledger, price: Price = searched
) -> list[Job]:
    """What the final training will be, while the search runs: the basis of the reserve.

    Candidates still to be found are priced like trial 0; nothing before its first epoch.
    """
    if reference is None or not reference["epoch"]:
        return []
    jobs: list[Job] = []
    for candidates, seeds in PLANS:
        rows = [reference, *ranked[:candidates]]
        rows += [reference] * (candidates + 1 - len(rows))
        jobs = _jobs(rows, seeds, price)
        share = RESERVE_SHARE if ledger.timed else UNTIMED_SHARE
        if ledger.worth([job.cost for job in jobs], share):
            break
    return jobs


def _jobs(rows: Sequence[Row], seeds: int, price: Price) -> list[Job]:
    prices = {row["trial"]: price(row) for row in rows}
    return [_job(row, seed, prices[row["trial"]]) for seed in range(seeds) for row in rows]


def _job(row: Row, seed_index: int, epoch_seconds: float) -> Job:
    epochs = int(row["full_epochs"])
    return Job(int(row["trial"]), seed_index, epochs, epochs, _seconds(epoch_seconds, epochs))


def _seconds(epoch_seconds: float, epochs: int) -> float:
    return OVERHEAD_SECONDS + epoch_seconds * epochs


def _key(row: Row) -> tuple[int, int]:
    return row["candidate"], row["seed_index"]


def _key_of(job: Job) -> tuple[int, int]:
    return job.candidate, job.seed_index


def _of_epochs(row: Row) -> str:
    done = row["epoch"] if row["cause"] == "budget" else row["epochs"]
    return f"{done} of {row['full_epochs']} epochs"


def remaining(row: Row, rows: Mapping[int, Row]) -> FinalCost:
    """What a running training still needs; its first epoch is priced like its candidate's."""
    epochs = row["epochs"] - row["epoch"]
    priced = row if row["epoch_seconds"] else rows.get(row["candidate"], row)
    return FinalCost(epochs * float(priced["epoch_seconds"] or 0.0), epochs)


def too_small(ledger: Ledger, reference: Row, seconds: float, share: float) -> str:
    """What to say when the budget ended within the first epoch of trial 0.

    seconds, share  of devices, spent on that epoch, and how much of its steps they made
    """
    said = f"the budget of {ledger.budget.text} ended within the first epoch of the default network"
    epoch = seconds / ledger.devices_per_trial / (share or 1.0)
    if share <= 0:
        start = show_seconds(ledger.starting_seconds)
        least = minimum.at_least(ledger, minimum.Measured.of(reference, epoch))
        return f"{said}, before its first step was done; the start took {start}: give {least}"
    return (
        f"{said}, which takes about {show_seconds(epoch)} here"
        f"{minimum.enough(ledger, minimum.Measured.of(reference, epoch))}"
    )


def _shortened(
    entrants: Sequence[Row], ledger: Ledger, trained: bool, price: Price
) -> tuple[list[Job], str]:
    """One seed of the best candidate beside trial 0, shortened to fit; nothing where it would
    be shorter than what the search has trained already. `trained`: there are final trainings."""
    rows = list(entrants[:2])
    whole = _jobs(rows, 1, price)
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

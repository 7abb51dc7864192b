"""The final training: the best candidates, and trial 0 beside them, in full, on several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .ledger import RESERVE_SHARE, FinalCost, Ledger

STAGE = "final"
PLANS = ((3, 3), (3, 2), (2, 2), (1, 2), (1, 1))  # (candidates beside trial 0, seeds), best first
UNTIMED_SHARE = 1 / 2  # of what the search cost, for finals under a budget without time

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

    def record(self) -> dict[str, Any]:
        return asdict(self)


def plan(
    ranked: Sequence[Row], reference: Row | None, ledger: Ledger, *, last: bool = False
) -> list[Job]:
    """The largest of PLANS that the budget holds; the smallest, shortened, where none fits.

    `ranked`: rows of the search's trials, best first, without `reference`, trial 0's row. Before
    the `last` call this is a forecast: candidates still to be found are priced like trial 0.
    Trial 0 comes first in each round of seeds, so that every seed compares like with like.
    """
    if reference is None or not (reference.get("epoch") or last):
        return []
    jobs: list[Job] = []
    plans = PLANS if ledger.timed else PLANS[:-1]  # without a clock, two seeds: there is a spread
    for candidates, seeds in plans:
        rows = list(ranked[:candidates])
        if not last:
            rows += [reference] * (candidates - len(rows))
        jobs = [_job(row, seed, ledger) for seed in range(seeds) for row in [reference, *rows]]
        if _affordable(jobs, ledger, last):
            return jobs
    if last and ledger.timed:
        factor = min(1.0, ledger.shrink([job.cost for job in jobs]))
        jobs = [_shorten(job, factor) for job in jobs]
    return jobs


def _affordable(jobs: Sequence[Job], ledger: Ledger, last: bool) -> bool:
    costs = [job.cost for job in jobs]
    if not ledger.timed:
        return ledger.worth(costs, UNTIMED_SHARE)
    return ledger.fits(costs) if last else ledger.worth(costs, RESERVE_SHARE)


def _job(row: Row, seed_index: int, ledger: Ledger) -> Job:
    epochs = int(row["full_epochs"])
    spent = float(row.get("device_seconds") or 0.0) / ledger.devices_per_trial
    seconds = spent / max(int(row.get("epoch") or 0), 1) * epochs
    return Job(int(row["trial"]), seed_index, epochs, epochs, seconds)


def _shorten(job: Job, factor: float) -> Job:
    epochs = max(1, int(job.full_epochs * factor))
    return replace(job, epochs=epochs, seconds=job.seconds * epochs / job.full_epochs)

"""The trials of a run as rows: what trials.csv, the summary and the final training look at."""

from __future__ import annotations

import bisect
import contextlib
import heapq
import math
import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..errors import cut
from ..rundir import CANDIDATES, RunDir, write_text
from ..space import Architecture, Decisions, parse
from . import finals
from .sheet import Sheet
from .study import Record

CAUSES = (
    "finished", "stalled", "pruned", "exploded", "nan", "out_of_memory", "infeasible", "failed",
    "budget",
)  # fmt: skip
ADVICE = {
    "exploded": "lower recipe.lr, or the upper end of its range",
    "nan": "lower recipe.lr, or the upper end of its range, and look for bad pixels in the data",
    "out_of_memory": "set limits.memory, or lower recipe.batch_size",
    "failed": "see log.txt in the run folder",
    "infeasible": "raise the limits of the space",
    "budget": "give a larger budget, or fewer epochs (--set recipe.epochs=…)",
    "pruned": "give a larger budget",
}
HOPELESS = 30  # trials without an epoch: the recipe or the data are broken, not the candidates
HIDDEN = ("digest", "full_epochs", "seed_index", "epoch_seconds")  # of a row: not for trials.csv


class Table:
    """Rows by run-wide number, and the counts of what got none. `keep`: checkpoints to keep."""

    def __init__(self, run: RunDir, keep: int | None) -> None:
        self._run = run
        self._keep = keep
        self._kept: list[tuple[float, int]] = []  # a heap, the worst first
        self._decisions: dict[int, Decisions] = {}
        self._sheet = Sheet(HIDDEN)
        self._ends: Counter[str] = Counter()  # of the search's trials, by cause
        self._held: Counter[str] = Counter()  # trials by stage
        self._best: list[tuple[float, int]] = []  # (-validation, trial), best first
        self._final: list[int] = []
        self._next = 0
        self.rows: dict[int, dict[str, Any]] = {}
        self.infeasible = 0
        self.duplicates = 0

    # --- writing ------------------------------------------------------------------------

    def next_number(self) -> int:
        """The number of the next trial: one count over all stages."""
        return self._next

    def put(self, record: Record) -> None:
        """Take up a trial of an earlier session."""
        assert record.number is not None
        decisions = record.plan.get("decisions") or record.decisions
        cause = None if record.running else record.cause  # a crash may come between the two
        self._row(record.number, record.stage, decisions, record.plan)
        self.rows[record.number].update(
            cause=cause, validation=record.value, epoch=record.epoch,
            device_seconds=round(record.device_seconds, 3),
            error=record.error and cut(record.error),  # older runs hold them whole, however long
        )  # fmt: skip
        if record.epoch:
            spent = record.epoch_seconds or record.device_seconds / record.epoch
            self.rows[record.number]["epoch_seconds"] = spent
        if cause is not None:
            self._settle(record.number)

    def begin(
        self, number: int, stage: str, decisions: Decisions, plan: Mapping[str, Any], text: str
    ) -> None:
        """A new trial: its row, its folder, its architecture."""
        folder = self._run.trial(number)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "architecture.yaml", text)
        self._row(number, stage, decisions, plan)

    def progress(
        self,
        number: int,
        epoch: int,
        value: float,
        device_seconds: float,
        epoch_seconds: float | None,
    ) -> None:
        """An epoch's end. `epoch_seconds`: what it took without the start of its worker."""
        row = self.rows[number]
        if epoch_seconds is None:
            epoch_seconds = device_seconds / epoch
        fastest = row["epoch_seconds"]  # the first epoch warms the worker up
        row["epoch_seconds"] = epoch_seconds if epoch <= 2 else (fastest + epoch_seconds) / 2
        row.update(epoch=epoch, validation=value)
        self.spend(number, device_seconds)

    def spend(self, number: int, device_seconds: float) -> None:
        """What a running trial has cost so far, between its epochs too."""
        self.rows[number]["device_seconds"] = round(device_seconds, 3)
        self._sheet.change(number)

    def end(
        self,
        number: int,
        cause: str,
        value: float | None,
        device_seconds: float,
        error: str | None,
    ) -> None:
        """A trial's end; drops the checkpoints that are no longer among the best."""
        self.rows[number].update(
            cause=cause, validation=value, device_seconds=round(device_seconds, 3), error=error
        )
        self._settle(number)

    def save(self, *, force: bool = False) -> None:
        """trials.csv, in the order of the numbers; left out where it was written just now."""
        self._run.write_trials(lambda: self._sheet.text(self.rows), force=force)

    # --- looking ------------------------------------------------------------------------

    def text(self, number: int) -> str:
        """The trial's architecture file."""
        return (self._run.trial(number) / "architecture.yaml").read_text()

    def architecture(self, number: int) -> Architecture:
        """The trial's architecture."""
        file = self._run.trial(number) / "architecture.yaml"
        loaded = parse(file.read_text(), path=str(file))
        assert isinstance(loaded, Architecture)
        return loaded

    def decisions(self, number: int) -> Decisions:
        return self._decisions[number]

    def reference(self) -> dict[str, Any] | None:
        """Trial 0's row: the textbook that a search is measured against."""
        return self.rows.get(0)

    def ranked(self, most: int | None = None) -> list[dict[str, Any]]:
        """Trained candidates of the search beside trial 0, best first, each network once."""
        reference = self.reference()
        seen = {reference["digest"]} if reference else set()
        unique: list[dict[str, Any]] = []
        for _, number in self._best:
            if most is not None and len(unique) >= most:
                break
            row = self.rows[number]
            if row["digest"] not in seen:
                seen.add(row["digest"])
                unique.append(row)
        return unique

    def held(self, stage: str) -> int:
        """How many trials the stage has begun."""
        return self._held[stage]

    def final_rows(self) -> list[dict[str, Any]]:
        """The rows of the final training."""
        return [self.rows[number] for number in self._final]

    def best_value(self) -> tuple[int, float] | None:
        """Number and validation of the best trained trial so far, trial 0 included."""
        reference = self.reference()
        rows = self.ranked(1)
        if reference and reference["cause"] in CANDIDATES:
            rows.append(reference)
        rows = [row for row in rows if _finite(row["validation"])]
        if not rows:
            return None
        best = max(rows, key=lambda row: row["validation"])
        return best["trial"], best["validation"]

    def has_final(self, job: finals.Job) -> bool:
        """Whether that final training exists, running or ended but for one that was cut off."""
        return any(
            row["epochs"] >= job.epochs and row["cause"] != "budget" for row in self._finals(job)
        )

    def leader(self) -> int | None:
        """The candidate whose final trainings are the best so far; None: there are none."""
        found = self._trained_in_full()
        return int(found[0]["candidate"]) if found else None

    def begun_final(self, job: finals.Job) -> dict[str, Any] | None:
        """The same training, cut off by the end of an earlier budget; None: there is none."""
        cut = [
            row
            for row in self._finals(job)
            if row["cause"] == "budget" and row["epochs"] == job.epochs and row["epoch"]
        ]
        return max(cut, key=lambda row: row["epoch"], default=None)

    def _finals(self, job: finals.Job) -> list[dict[str, Any]]:
        return [
            row
            for row in self.final_rows()
            if (row["candidate"], row["seed_index"]) == (job.candidate, job.seed_index)
        ]

    def counts(self) -> dict[str, int]:
        """The ends of the search's trials; disjoint, they sum to `total`."""
        counts = {cause: self._ends[cause] for cause in CAUSES}
        counts["infeasible"] += self.infeasible
        return {"total": sum(counts.values()), **counts, "duplicates": self.duplicates}

    def finalists(self) -> list[dict[str, Any]]:
        """One entry a candidate trained in full, best first.

        Where a candidate has no final training (the search was broken off) the trained trials
        stand in for it, with `final` false.
        """
        return self._trained_in_full() or _best_first(self._stand_ins())

    def _trained_in_full(self) -> list[dict[str, Any]]:
        groups: dict[int, dict[int, dict[str, Any]]] = {}
        for row in self.final_rows():
            if _finite(row["validation"]):
                seeds = groups.setdefault(row["candidate"], {})
                known = seeds.get(row["seed_index"])
                if known is None or row["epoch"] >= known["epoch"]:
                    seeds[row["seed_index"]] = row  # gone on with after it was cut off
        return _best_first(
            [self._entry(number, [*seeds.values()], True) for number, seeds in groups.items()]
        )

    def hopeless(self) -> bool:
        """Many trials, and not one of them came to the end of an epoch."""
        rows = self.rows.values()
        if any(row["epoch"] for row in rows):  # the first of them, in a search that gets on
            return False
        return sum(row["cause"] is not None for row in rows) >= HOPELESS

    def obituary(self, hindrance: str | None = None) -> str:
        """Why nothing survived, and what to change. `hindrance`: what kept trials from getting on
        beside their budget, of which a larger one would not be the remedy."""
        counts = self.counts()
        causes = {cause: counts[cause] for cause in CAUSES if counts[cause]}
        told = ", ".join(f"{number} {cause}" for cause, number in causes.items()) or "none began"
        worst = max(causes, key=lambda cause: causes[cause], default="budget")
        advice = ADVICE.get(worst, ADVICE["budget"])
        if hindrance and worst in ("budget", "pruned"):
            advice = (
                f"{hindrance}: see log.txt in the run folder and mend that first, then go on with "
                "--resume and a larger --budget"
            )
        return f"nothing survived ({told}); {advice}"

    # --- inside -------------------------------------------------------------------------

    def _row(self, number: int, stage: str, decisions: Decisions, plan: Mapping[str, Any]) -> None:
        self._decisions[number] = dict(decisions)
        self._next = max(self._next, number + 1)
        self._held[stage] += 1
        if stage == finals.STAGE:
            self._final.append(number)
        self._sheet.change(number)
        self.rows[number] = {
            "trial": number, "stage": stage, "cause": None, "validation": None,
            "epochs": plan["epochs"], "epoch": 0, "device_seconds": 0.0,
            "params": plan["params"], "macs": plan["macs"], "seed": plan["seed"],
            "candidate": plan.get("candidate"), "error": None, "digest": plan["digest"],
            "full_epochs": plan["full_epochs"], "seed_index": plan.get("seed_index"),
            "epoch_seconds": None, **decisions,
        }  # fmt: skip

    def _settle(self, number: int) -> None:
        """The trial has ended: count it, rank it, and keep the best checkpoints."""
        row = self.rows[number]
        self._sheet.change(number)
        if row["stage"] != finals.STAGE:
            self._ends[row["cause"]] += 1
            if row["cause"] in CANDIDATES and _finite(row["validation"]):
                bisect.insort(self._best, (-row["validation"], number))
        self._drop_checkpoints(number)

    def _drop_checkpoints(self, number: int) -> None:
        row = self.rows[number]
        if self._keep is None or row["stage"] == finals.STAGE or number == 0:
            return
        value = row["validation"]
        trained = row["cause"] in ("finished", "stalled", "pruned", "budget")
        if not trained or not _finite(value):
            self._drop(number)
            return
        heapq.heappush(self._kept, (value, number))
        if len(self._kept) > self._keep:
            self._drop(heapq.heappop(self._kept)[1])

    def _drop(self, number: int) -> None:
        with contextlib.suppress(OSError):
            (self._run.trial(number) / "checkpoint.pt").unlink(missing_ok=True)

    def _stand_ins(self) -> list[dict[str, Any]]:
        rows = [
            row
            for row in self.rows.values()
            if _finite(row["validation"])
            and (self._run.trial(row["trial"]) / "checkpoint.pt").exists()
        ]
        best = sorted(rows, key=lambda row: -row["validation"])[:3]
        reference = self.reference()
        if reference in rows and reference not in best:
            best.append(reference)
        return [self._entry(row["trial"], [row], False) for row in best]

    def _entry(self, candidate: int, rows: list[dict[str, Any]], final: bool) -> dict[str, Any]:
        """Mean and spread over the seeds that were trained longest; the best one's number."""
        longest = max(row["epoch"] for row in rows)
        alike = [row for row in rows if row["epoch"] == longest]
        values = [row["validation"] for row in alike]
        best = max(alike, key=lambda row: row["validation"])
        return {
            "candidate": candidate,
            "final": final,
            "complete": final and all(row["cause"] == "finished" for row in alike),
            "trials": [row["trial"] for row in rows],
            "weights_from": best["trial"],
            "validation": statistics.fmean(values),
            "validation_std": statistics.stdev(values) if len(values) > 1 else 0.0,
            "seeds": len(values),
            "epochs": longest,
            "full_epochs": best["full_epochs"],
            "params": best["params"],
            "macs": best["macs"],
            "device_seconds": round(sum(row["device_seconds"] for row in rows), 3),
        }


def _best_first(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda entry: (-entry["validation"], entry["macs"]))


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

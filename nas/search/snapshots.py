"""What people and reports read of a running search: its state, and a look for the live view."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..rundir import RunDir, Status
from . import finals
from .ledger import Ledger
from .stages import Stage
from .table import Table

SPARING = 20.0  # times what writing a file took, before it is written again


class Writer:
    """Keeps trials.csv and stages.json up to date: what people read, while the storage is what
    counts."""

    def __init__(self, run: RunDir, table: Table) -> None:
        self._run, self._table = run, table
        self._written, self._cost = float("-inf"), 0.0

    def write(self, state: Callable[[], dict[str, Any]], *, sparing: bool = False) -> None:
        """`sparing`: left out where both would take over a tenth of the time."""
        self._table.save()
        now = time.monotonic()
        if sparing and now - self._written < SPARING * self._cost:
            return
        self._run.write_stages(state())
        self._written = time.monotonic()
        self._cost = self._written - now


class Asked(Protocol):
    """What a look needs of a running trial."""

    @property
    def number(self) -> int: ...
    @property
    def stage(self) -> str: ...
    @property
    def epochs(self) -> int: ...


def status(
    stage: str,
    running: Sequence[tuple[Asked, int, float | None]],
    ledger: Ledger,
    table: Table,
    seconds_left: float | None,
) -> Status:
    """A look at the search; `running`: the trials that hold a slot, their epoch and value."""
    reference = table.reference()
    return Status(
        stage=stage,
        budget=ledger.budget.text,
        spent_share=min(ledger.share(), 1.0),
        device_seconds=ledger.device_seconds,
        wall_seconds=ledger.wall_seconds,
        seconds_left=seconds_left,
        running=tuple(
            (ask.number, ask.stage, epoch, ask.epochs, value) for ask, epoch, value in running
        ),
        counts=table.counts(),
        best=table.best_value(),
        reference=reference["validation"] if reference else None,
    )


def state(
    stages: Sequence[Stage], full_epochs: int, ledger: Ledger, table: Table, notes: Sequence[str]
) -> dict[str, Any]:
    """What stages.json holds; `full_epochs` of trial 0."""
    return {
        "stopped": None,
        "stages": [*_search_rows(stages, full_epochs, table), *_final_row(stages[-1], table)],
        "budget": {
            "asked": ledger.budget.text,
            "spent_device_seconds": round(ledger.device_seconds, 3),
            "wall_seconds": round(ledger.wall_seconds, 3),
            "starting_seconds": round(ledger.starting_seconds, 3),
            "waiting_seconds": round(ledger.waiting_seconds, 3),
            "reserved_final_seconds": round(ledger.reserved_device_seconds, 3),
            "trials_at_once": list(ledger.rooms),
        },
        "trials": table.counts(),
        "notes": list(notes),
    }


def _search_rows(stages: Sequence[Stage], full_epochs: int, table: Table) -> list[dict[str, Any]]:
    return [
        {
            "name": stage.name,
            "trials": table.held(stage.name),
            "epochs": stage.epochs(full_epochs),
            "ranges": stage.ranges(),
        }
        for stage in stages
    ]


def _final_row(last: Stage, table: Table) -> list[dict[str, Any]]:
    """The final training as a stage: its ranges are what the finalists span."""
    rows = table.final_rows()
    if not rows:
        return []
    spans = {name: [row[name] for row in rows if name in row] for name in last.ranges()}
    return [
        {
            "name": finals.STAGE,
            "trials": len(rows),
            "epochs": max(row["epochs"] for row in rows),
            "ranges": {name: [min(span), max(span)] for name, span in spans.items() if span},
        }
    ]

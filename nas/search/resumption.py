"""What an earlier session left in the studies, taken up by the next one's core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rundir import RunDir
from . import finals
from .ledger import Ledger
from .memory import Memory
from .proposals import Proposer
from .rungs import Ladders
from .study import Record, Studies
from .table import Table
from .work import Ask, Live


class Earlier:
    """The trials of earlier sessions, told to the parts of a core that is about to begin."""

    def __init__(
        self,
        run: RunDir,
        studies: Studies,
        proposer: Proposer,
        ledger: Ledger,
        table: Table,
        memory: Memory,
        ladders: Ladders,
        final: finals.Finals,
    ) -> None:
        self._run, self._studies, self._proposer, self._ledger = run, studies, proposer, ledger
        self._table, self._memory, self._ladders, self._finals = table, memory, ladders, final
        self.open: list[Live] = []  # they go on

    def take_up(self) -> str | None:
        """Tell all of it; why the search part has ended, None where it has not."""
        for name in self._studies.names():
            if self._studies.drop_unfinished(name):
                self._run.log(f"stage {name} was broken off while it was set up; set up anew")
        names = [name for name in self._studies.names() if name != finals.STAGE]
        final = finals.STAGE in self._studies.names()
        self._proposer.start(names)
        for name in [*names, *([finals.STAGE] if final else [])]:
            for record in self._studies.records(name):
                self._take_up(record)
        stopped = self._final_plan() if final else None
        self._finals.reserve()
        self._proposer.take_up(searching=stopped is None)
        return stopped

    def _final_plan(self) -> str | None:
        plan = self._studies.stage_record(finals.STAGE)
        if plan["budget"] != self._ledger.budget.text:
            return None
        if plan.get("whole", True):
            self._finals.take_up(plan["jobs"])
        return str(plan["stopped"])

    def _take_up(self, record: Record) -> None:
        if record.carried_from is not None:
            return
        if record.number is None:
            self._nameless(record)
            return
        self._ledger.take_up(record.device_seconds, record.epoch, record.wall_seconds)
        self._table.put(record)
        self._memory.know(record)
        if record.stage != finals.STAGE:
            self._ledger.trials += 1
            self._proposer.know(record.plan["digest"], record.plan["epochs"], record.number)
            self._ladders.take_up(record.stage, record.plan["epochs"], record.values)
        if record.running and (self._run.trial(record.number) / "architecture.yaml").exists():
            self.open.append(self._revive(record))
        elif record.running:
            self._lose(record, "its folder was deleted")

    def _nameless(self, record: Record) -> None:
        if record.running:  # drawn and not begun, or killed between its asking and its number
            self._proposer.keep(record)
        elif record.cause == "infeasible":
            self._table.infeasible += 1
        elif record.cause == "duplicate":
            self._table.duplicates += 1

    def _lose(self, record: Record, why: str) -> None:
        assert record.number is not None
        self._run.log(f"trial {record.number} cannot go on: {why}")
        self._studies.end(record.stage, self._studies.reopen(record), "failed", error=why)
        self._table.end(record.number, "failed", record.value, record.device_seconds, why)

    def _revive(self, record: Record) -> Live:
        assert record.number is not None
        text = self._table.text(record.number)
        return Live(
            ask_of(self._run, record.number, record.stage, text, record.plan, record.epoch),
            self._studies.reopen(record),
            device_seconds=record.device_seconds,
            epoch=record.epoch,
            value=record.value,
            rungs=set(record.values),
        )


def ask_of(
    run: RunDir, number: int, stage: str, text: str, plan: Mapping[str, Any], known_epoch: int = 0
) -> Ask:
    """What a worker is told of a trial. `known_epoch`: the last one that the study knows."""
    stopping = stage != finals.STAGE
    folder = str(run.trial(number))
    return Ask(number, stage, text, plan["epochs"], plan["seed"], folder, known_epoch, stopping)

"""What an earlier session's death left behind: found, mended where that is possible, and said.

A resume takes stock of what it needs; `nas doctor` (`doctor.py`) looks at everything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RunError, SpaceError
from ..rundir import CHECKPOINT, PREVIOUS, RunDir, leftovers, write_text
from ..space import Architecture, Space, fill, parse
from ..units import counted
from .checkpoints import fault_of
from .journal import mend_journal, torn_bytes
from .journal_lock import KernelLock
from .storage import name_of
from .study import Record, Studies

LOST_TRIALS = "trials.lost.csv"
MOST_LISTED = 10


@dataclass(frozen=True)
class Finding:
    """Something that was not as it should be. `done` None: it cannot be mended.

    where  the file or folder, below the run folder; "." is the run itself
    holds  what the file holds when it is mended, where later looks depend on it
    """

    where: str
    what: str
    done: str | None
    holds: Mapping[str, Any] | None = None

    @property
    def fault(self) -> str:
        """Where and what."""
        return self.what if self.where == "." else f"{self.where}: {self.what}"

    @property
    def sentence(self) -> str:
        return f"{self.fault}; {self.done or 'nas doctor cannot mend this'}"


def take_stock_of_files(
    run: RunDir, *, mend: bool = True, say: Callable[[str], None] = lambda _: None
) -> Iterator[Finding]:
    """What does not need the study: the journal's tail, half-written files. `say` hears what is
    waited for."""
    torn = torn_bytes(run.journal) if run.journal.is_file() else 0  # a database mends itself
    if torn:
        if mend:
            mend_journal(run.journal, KernelLock(run.journal, say))
        what = f"its last record is torn ({torn} bytes behind the last whole one)"
        yield Finding(run.journal.name, what, "cut off; every whole record is kept")
    for file in leftovers(run.path):
        if mend:
            with contextlib.suppress(OSError):
                file.unlink()
        where = str(file.relative_to(run.path))
        yield Finding(where, "a half-written file of a process that was killed", "removed")


def take_stock_of_trials(
    run: RunDir, space: Space | Architecture, studies: Studies, *, mend: bool = True
) -> Iterator[Finding]:
    """Every trial's folder has its architecture, every running one a checkpoint that it can go on
    from, or none."""
    for record in own_records(studies):
        assert record.number is not None
        gone = not (run.trial(record.number) / "architecture.yaml").is_file()
        if gone:
            yield _rewritten(run, space, record, mend)
        if record.running:
            yield from _checkpoints(run, record, gone, mend)
        elif mend:
            run.settle(record.number)


def forgotten(run: RunDir, studies: Studies, *, mend: bool = True) -> Finding | None:
    """Trials that trials.csv calls ended and the studies do not: a journal has lost records that
    the disk had. The table is kept, as all that is known of them."""
    try:
        ended = {int(row["trial"]) for row in run.trials() if row["cause"]}
    except (RunError, ValueError):
        return None
    lost = sorted(ended - {record.number for record in own_records(studies) if not record.running})
    if not lost:
        return None
    if mend:
        write_text(run.path / LOST_TRIALS, (run.path / "trials.csv").read_text())
    which = ", ".join(map(str, lost[:MOST_LISTED])) + (" …" if len(lost) > MOST_LISTED else "")
    what = f"it has lost how {counted(len(lost), 'trial')} ended that trials.csv lists ({which})"
    done = f"trained again by a resume; the table as it was is kept in {LOST_TRIALS}"
    return Finding(name_of(run.request.storage), what, done)


def own_records(studies: Studies) -> list[Record]:
    """Of the trials that this run has begun, in all stages."""
    return [
        record
        for stage in studies.names()
        for record in studies.records(stage)
        if record.number is not None and record.carried_from is None
    ]


def undone(studies: Studies, state: Mapping[str, Any], *, room: bool) -> Finding | None:
    """What the studies do not have of a search that stages.json says has ended; None: nothing.

    The journal may have lost its last records, torn off or cut, after the search had ended.
    `room`: the budget holds trials that are lost altogether once more; else what was exported of
    them is better than what is left.
    """
    own = own_records(studies)
    going_on = [record.number for record in own if record.running]
    if going_on:
        what = f"it says that the search has ended, and trial {going_on[0]} has not"
        return Finding("stages.json", what, "the search goes on")
    lost = sum(int(row.get("trials", 0)) for row in state.get("stages") or []) - len(own)
    if lost <= 0 or not room:
        return None
    what = f"it counts {counted(lost, 'trial')} more than the study still has"
    return Finding("stages.json", what, "they are trained again")


def rebuilt(space: Space | Architecture, record: Record) -> str | None:
    """The text of a trial's architecture from its decisions; None where it is another one."""
    decisions = record.plan.get("decisions") or record.decisions
    try:
        architecture = fill(space, decisions) if isinstance(space, Space) else space
    except SpaceError:
        return None
    return architecture.text if architecture.digest == record.plan["digest"] else None


def _rewritten(run: RunDir, space: Space | Architecture, record: Record, mend: bool) -> Finding:
    assert record.number is not None
    folder = run.trial(record.number)
    what = "the folder was deleted" if not folder.is_dir() else "it has no architecture.yaml"
    text = rebuilt(space, record)
    if text is None:
        return Finding(_name(run, folder), f"{what}, and the study's decisions give another", None)
    if mend:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "architecture.yaml", text)
    done = "architecture.yaml is written again from the study's decisions"
    return Finding(_name(run, folder), what, done)


def _checkpoints(run: RunDir, record: Record, gone: bool, mend: bool) -> Iterator[Finding]:
    """Of a running trial: the last one that is its own and whole is the one it goes on from.

    One that begins again has no curve any more, and nothing more is said of it.
    """
    assert record.number is not None
    folder = run.trial(record.number)
    last, previous, curve = folder / CHECKPOINT, folder / PREVIOUS, folder / "metrics.csv"
    fault = fault_of(last, record.plan)
    begins = not record.epoch or not (gone or curve.exists())
    if fault is None or (fault == "missing" and begins and not previous.exists()):
        return
    if fault_of(previous, record.plan) is None:
        if mend:
            previous.replace(last)
        if fault != "missing":  # else: killed between two renames, and nothing is lost
            done = "the one before it is used"
            yield Finding(_name(run, last), fault, done)
        return
    if mend:
        for file in (last, previous, curve):
            file.unlink(missing_ok=True)
    done = f"trial {record.number} is trained again from its first epoch"
    yield Finding(_name(run, folder if gone else last), "no checkpoint" if gone else fault, done)


def readable(run: RunDir, number: int) -> bool:
    """Whether the trial's architecture file can be read."""
    file = run.trial(number) / "architecture.yaml"
    try:
        return isinstance(parse(file.read_text(), path=str(file)), Architecture)
    except (OSError, ValueError, SpaceError):
        return False


def _name(run: RunDir, path: Path) -> str:
    return str(path.relative_to(run.path))

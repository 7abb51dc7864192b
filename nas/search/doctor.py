"""A run folder looked over, and mended where the study or the other files say how.

The study is the truth of a run; tables follow from it and are rebuilt. What the user wrote, or
what was damaged further up in the journal, is not guessed at: it is said that it cannot be mended.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..errors import NasError, RunError
from ..plugins import load_plugins
from ..rundir import (
    CHECKPOINT,
    LOST,
    Request,
    RunDir,
    write_bytes,
    write_text,
)
from ..space import Architecture, Space, fill, load, parse
from ..train.recipe import Recipe
from ..units import counted, parse_budget
from . import finals, snapshots
from .checkpoints import fault_of
from .drivers import Driven, driving
from .ledger import Ledger
from .recovery import (
    Finding,
    forgotten,
    own_records,
    readable,
    rebuilt,
    take_stock_of_files,
    take_stock_of_trials,
)
from .run import open_studies
from .stages import Stage
from .storage import JOURNAL, name_of
from .study import Record, Studies
from .table import Table

METRICS = (
    "trial", "validation", "validation_std", "seeds", "epochs", "test", "params", "macs",
)  # fmt: skip


def examine(
    run: RunDir, *, mend: bool = True, say: Callable[[str], None] = lambda _: None
) -> Iterator[Finding]:
    """What is wrong with the run's own files, and what was done. The caller holds its lock.

    Raises RunError where another process drives a copy of it, on the same studies; `say` hears what
    is waited for to know it.

    Exported networks are not looked at: `nas.api.doctor` does.
    """
    yield from take_stock_of_files(run, mend=mend, say=say)
    with contextlib.ExitStack() as held:
        try:
            request = run.request
            load_plugins(run.plugins)
            if request.storage == JOURNAL and not run.journal.is_file():
                raise RunError(
                    f"{run.journal} is missing: {LOST[run.journal.name].format(run=run.path)}"
                )
            yield from _lost_space(run, request, mend)
            space = _space(run, request)
            if mend:
                held.enter_context(driving(run, request, say))
            studies = open_studies(run, mend=mend, say=say)
            records = [record for name in studies.names() for record in studies.records(name)]
        except Driven:
            raise
        except NasError as error:
            yield Finding(".", str(error), None)
            return
        yield from _environment(run, mend)
        yield from take_stock_of_trials(run, space, studies, mend=mend)
        yield from _trials(run, space, own_records(studies), mend)
        yield from _tables(run, request, space, studies, records, mend)


def _lost_space(run: RunDir, request: Request, mend: bool) -> Iterator[Finding]:
    """space.yaml is missing; the file that it was made of may be as it was."""
    file = run.path / "space.yaml"
    if file.exists():
        return
    text = _from_source(request)
    if text is not None:
        if mend:
            write_text(file, text)
        yield Finding(file.name, "it is missing", f"written again from {request.space}")


def _from_source(request: Request) -> str | None:
    try:
        text = load(request.space, constants=request.constants).text
    except (NasError, OSError, ValueError):
        return None
    return text if _digest(text.encode()) == request.space_digest else None


def _space(run: RunDir, request: Request) -> Space | Architecture:
    file = run.path / "space.yaml"
    if not file.exists():
        text = _from_source(request)
        if text is None:
            raise RunError(
                f"{file} is missing, and {request.space} is not what it was made of any more: put "
                "one of them back as it was"
            )
        return parse(text, path=str(file))
    if _digest(file.read_bytes()) != request.space_digest:
        raise RunError(
            f"{file} was edited since the run began: put it back, or start a new search with it"
        )
    return parse(run.space_text, path=str(file))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _environment(run: RunDir, mend: bool) -> Iterator[Finding]:
    file = run.path / "environment.json"
    try:
        if isinstance(json.loads(file.read_text()), dict):
            return
    except (OSError, ValueError):
        pass
    if mend:
        write_text(file, "{}\n")
    what = "it cannot be read: versions and hardware of the run's beginning are lost"
    yield Finding(file.name, what, "left empty; nothing depends on it")


def _trials(
    run: RunDir, space: Space | Architecture, records: list[Record], mend: bool
) -> Iterator[Finding]:
    """Files of trials that are there, and cannot be read."""
    for record in records:
        assert record.number is not None
        folder = run.trial(record.number)
        where = f"trials/{record.number}"
        if (folder / "architecture.yaml").is_file() and not readable(run, record.number):
            text = rebuilt(space, record)
            if text is not None and mend:
                write_text(folder / "architecture.yaml", text)
            done = None if text is None else "written again from the study's decisions"
            yield Finding(f"{where}/architecture.yaml", "it cannot be read", done)
        fault = None if record.running else fault_of(folder / CHECKPOINT, record.plan)
        if fault is not None and fault != "missing":
            if mend:
                (folder / CHECKPOINT).unlink(missing_ok=True)
            done = "removed: the trial has ended, its figures stand in the study"
            yield Finding(f"{where}/{CHECKPOINT}", fault, done)
        yield from _metrics(run, record.number, mend)


def _metrics(run: RunDir, number: int, mend: bool) -> Iterator[Finding]:
    """A trial's curve: rows up to the first one that is none, such as the NULs of a power cut."""
    file = run.trial(number) / "metrics.csv"
    try:
        content = file.read_bytes()
    except OSError:
        return  # a trial without an epoch has none
    lines = content.splitlines(keepends=True)
    width = lines[0].count(b",") if lines else 0
    whole = list(
        itertools.takewhile(
            lambda line: line.endswith(b"\n") and b"\0" not in line and line.count(b",") == width,
            lines if width else [],
        )
    )
    kept = b"".join(whole)
    if kept == content and whole:
        return
    epochs = max(0, len(whole) - 1)
    if mend:
        write_bytes(file, kept) if whole else file.unlink()
    left = f"{counted(epochs, 'epoch')} of it are left" if epochs else "no epoch of it is left"
    lost = len(content) - len(kept)
    what = f"{lost:,} bytes at its end are no rows" if content else "it is empty"
    done = f"{'cut off' if whole else 'removed'}; {left}, and the trial's result is in the study"
    yield Finding(f"trials/{number}/{file.name}", what, done)


def _tables(
    run: RunDir, request: Request, space: Space | Architecture, studies: Studies,
    records: list[Record], mend: bool,
) -> Iterator[Finding]:  # fmt: skip
    """trials.csv and stages.json: not there, not readable, or behind the study."""
    if not records:  # killed before its first trial, or all is lost
        yield from _lost(run, request)
        return
    lost = forgotten(run, studies, mend=mend)
    if lost is not None:
        yield lost
    table = Table(run, None)
    for record in records:
        if record.carried_from is not None:
            continue
        if record.number is not None:
            table.put(record)
        elif record.cause in ("infeasible", "duplicate"):
            table.infeasible += record.cause == "infeasible"
            table.duplicates += record.cause == "duplicate"
    what = _fault_of_trials(run, table)
    if what is not None:
        if mend:
            table.save(force=True)
        yield Finding("trials.csv", what, "rebuilt from the study")
    what = _fault_of_stages(run, table)
    if what is not None:
        state = _state(run, request, space, studies, table)
        if mend:
            run.write_stages(state)
        done = "rebuilt from the study, its wall-clock time estimated"
        yield Finding("stages.json", what, done, holds=state)


def _lost(run: RunDir, request: Request) -> Iterator[Finding]:
    """The studies hold no trial, and trials.csv does: it is left as all that is known."""
    try:
        rows = run.trials()
        told = f"trials.csv lists {counted(len(rows), 'trial')}"
    except RunError:
        told = "trials.csv cannot be read"
    else:
        if not rows:
            return
    what = (
        f"it holds no trial, and {told}: its records are lost; --resume would train them again, "
        "tables and exports are left as they are"
    )
    yield Finding(name_of(request.storage), what, None)


def _fault_of_trials(run: RunDir, table: Table) -> str | None:
    try:
        rows = run.trials()
        told = {int(row["trial"]): row["cause"] or None for row in rows}
    except (RunError, ValueError):
        return "it cannot be read"
    if not table.rows:
        return None
    if not rows:
        return "it is missing" if not (run.path / "trials.csv").exists() else "it is empty"
    own = {number: row["cause"] for number, row in table.rows.items()}
    return None if told == own else "it is not what the study says"


def _fault_of_stages(run: RunDir, table: Table) -> str | None:
    try:
        state = run.stages()
    except RunError:
        return "it cannot be read"
    if not state:
        return "it is missing" if table.rows else None
    going_on = _going_on(table)
    if state.get("ended") and going_on:
        return f"it says that the search has ended, and trial {going_on[0]} has not"
    return None


def _going_on(table: Table) -> list[int]:
    """Trials that a resume takes up again."""
    return [number for number, row in table.rows.items() if row["cause"] is None]


def _state(
    run: RunDir, request: Request, space: Space | Architecture, studies: Studies, table: Table
) -> dict[str, Any]:
    """stages.json anew. The end of the search is known by what was exported; without that a
    resume comes to it again."""
    holes = space.holes if isinstance(space, Space) else ()
    names = [name for name in studies.names() if name != finals.STAGE]
    stages = [Stage.from_record(studies.stage_record(name), holes) for name in names]
    first = fill(space, space.default()) if isinstance(space, Space) else space
    spent = sum(row["device_seconds"] for row in table.rows.values())
    devices = request.gpus_per_trial or 1.0
    wall = spent / devices / request.trials_at_once
    ledger = Ledger(
        parse_budget(request.budget), slots=request.trials_at_once, devices_per_trial=devices,
        clock=lambda: wall, started=0.0,
    )  # fmt: skip
    ledger.device_seconds = spent
    full = Recipe.from_mapping(first.recipe).epochs
    state = snapshots.state(stages, full, ledger, table, ["stages.json was rebuilt by nas doctor"])
    results = {name: found for name in ("best", "reference") if (found := _exported(run, name))}
    best = results.get("best")
    if best is not None:
        ended = best["test"] is not None and not _going_on(table)
        state |= {"stopped": "budget" if ended else "interrupted", "ended": ended}
        if best["trial"] == 0:
            results["reference"] = best
        state["results"] = results
    state["finalists"] = table.finalists()
    return state


def _exported(run: RunDir, name: str) -> dict[str, Any] | None:
    """What an exported file says of itself, as stages.json holds it."""
    with contextlib.suppress(YAMLError, OSError, ValueError, LookupError, TypeError):
        found = YAML(typ="safe", pure=True).load((run.path / f"{name}.yaml").read_text())["found"]
        source = int(found["weights_from_trial"])
        return {"name": name, "weights_from": source, **{key: found[key] for key in METRICS}}
    return None

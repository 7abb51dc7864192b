"""Look a run folder over and mend it: what `nas doctor` does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import export
from ..errors import NasError, RunError
from ..rundir import CHECKPOINT, RunDir, abandoned, checkpoint_fault
from ..rundir import NAME as LOCK
from ..search.doctor import examine as examine_files
from ..search.machine import here
from ..search.recovery import Finding
from ..search.request import images_of
from . import exam


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a run's folder. `mended`: nothing is left that cannot be."""

    run: Path
    dry_run: bool
    findings: tuple[Finding, ...]

    @property
    def mended(self) -> bool:
        return all(finding.done is not None for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """As one JSON object."""
        state = "well" if not self.findings else "mended" if self.mended else "damaged"
        if self.dry_run and state == "mended":
            state = "mendable"
        entries = [
            {"where": f.where, "what": f.what, "done": None if self.dry_run else f.done,
             "mendable": f.done is not None}
            for f in self.findings
        ]  # fmt: skip
        return {
            "run": str(self.run), "dry_run": self.dry_run, "state": state, "findings": entries,
        }  # fmt: skip


def doctor(
    path: str | Path, *, dry_run: bool = False, say: Callable[[str], None] = lambda _: None
) -> Diagnosis:
    """Check a run folder, mend what can be mended, and say what was done; `dry_run` only looks.

    `say` hears at once what is waited for: whether another host that held the folder still lives.
    Raises RunError where the folder is no run, or another process uses it.
    """
    run = RunDir.open(path, without=("space.yaml", "study.journal"))
    left = abandoned(run.path)
    with _looking(run) if dry_run else run.lock(say):
        found = _lock(left, run.taken_over)
        found += examine_files(run, mend=not dry_run, say=say)
        if all(finding.done is not None for finding in found):
            found += _export(run, _state(run, found), mend=not dry_run)
        if not dry_run:
            for finding in found:
                run.log(f"doctor: {finding.sentence}")
    return Diagnosis(run.path, dry_run, tuple(found))


@contextlib.contextmanager
def _looking(run: RunDir) -> Iterator[None]:
    holder = run.holder()
    if holder is not None:
        raise RunError(
            f"{run.path} is in use by another process ({holder}); wait for it, or stop it: nas "
            f"stop {run.path}"
        )
    yield


def _lock(by: str | None, taken_over: str | None) -> list[Finding]:
    """The lock of a process that died: on this machine, as the kernel knows, or on another."""
    if taken_over is not None:
        return [Finding(LOCK, taken_over, "released")]
    if by is None:
        return []
    return [Finding(LOCK, f"it names a process that is gone ({by})", "released")]


def _state(run: RunDir, found: Sequence[Finding]) -> Mapping[str, Any]:
    """What stages.json holds, once all is mended."""
    for finding in found:
        if finding.holds is not None:
            return finding.holds
    try:
        return run.stages()
    except RunError:
        return {}  # of a run without a trial: there is nothing to rebuild it from


def _export(run: RunDir, state: Mapping[str, Any], *, mend: bool) -> list[Finding]:
    """The exported networks of a finished search are all there, and can be read.

    state  of the run, as it is when all else is mended
    """
    finalists, results = state.get("finalists") or [], state.get("results") or {}
    if not finalists or not (results or state.get("ended")):
        return []
    entries = list(results.values()) or [{"name": export.BEST, **finalists[0]}]
    broken = [
        fault for name in sorted({e["name"] for e in entries}) for fault in _faults(run, name)
    ]
    if not broken:
        return []
    where = f"{export.BEST}.yaml, {export.BEST}.pt"
    for number in sorted({int(entry["weights_from"]) for entry in entries}):
        fault = checkpoint_fault(run.trial(number) / CHECKPOINT)
        if fault is not None:
            what = f"{', '.join(broken)}, and the checkpoint of trial {number} is {fault}"
            return [Finding(where, what, None)]
    if mend:
        request = run.request
        try:
            images = images_of(request)
            device = here(request.device)
            export.best(run, images, device=device, again=True, test=exam.tester(run))
        except NasError as error:
            return [Finding(where, f"{', '.join(broken)}; {error}", None)]
    return [Finding(where, ", ".join(broken), "exported again")]


def _faults(run: RunDir, name: str) -> list[str]:
    faults = []
    if not (run.path / f"{name}.yaml").is_file():
        faults.append(f"{name}.yaml is missing")
    weights = checkpoint_fault(run.path / f"{name}.pt")
    if weights is not None:
        faults.append(f"{name}.pt is {weights}")
    return faults

"""The driver: from a checked request to a searched run folder, and on from where one stood.

create    the run folder
search    the study, the backend, the final training; again on the same folder: resume
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ..errors import NasError, RunError, words_of
from ..models import cost
from ..plugins import read_plugin
from ..rundir import Request, RunDir, Status
from ..space import Architecture, Decisions, Space, fill
from ..train.recipe import Recipe
from ..units import parse_budget
from . import claims, drivers, minimum, pilot, stages
from .collection import short_collections
from .core import Core
from .disk import Disk, refuse_small_files
from .faults import Faults
from .ledger import Ledger
from .machine import available_cpus, gpus_here, here
from .memory import Memory
from .minimum import STARTING_SECONDS
from .proposals import Price, Proposer
from .recovery import Finding, forgotten, take_stock_of_files, take_stock_of_trials, undone
from .request import Prepared, parse_keep
from .storage import JOURNAL, BaseStorage, close, open_storage, shown, waiting
from .strategies import STRATEGIES
from .study import Studies
from .table import Table

PACKAGES = ("nas-toolkit", "torch", "optuna", "ray", "numpy", "pandas", "plotly")
MOST_SAID = 400  # characters of an error, in a note
PILOT_SECONDS = 3.0  # of training, to say what a budget that holds no search lacks
View = Callable[[Status], None]


def create(prepared: Prepared, path: Path | None = None) -> RunDir:
    """The run's folder, whole before anything runs."""
    refuse_small_files()
    request = prepared.request
    found = {**environment(request), "placement": prepared.placement.record()}
    return RunDir.create(claims.place(request, path), request, prepared.space.text, found)


def search(
    run: RunDir,
    prepared: Prepared,
    *,
    view: View | None = None,
    started: float | None = None,
    disk: Disk | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Search until the budget is spent, train the finalists, return the last state.

    `started`: when the program began, on `time.monotonic`'s clock; wall budgets count from there.
    The caller holds the run's lock, and the patience of `disk`. `say` is called with what an
    earlier session's death had damaged, and was mended. A run that has ended under the same
    budget, its trials with it, returns at once.
    """
    from . import backend  # Ray takes a second to import: not for what never runs a trial

    request = prepared.request
    before = run.stages()
    ended = bool(before.get("ended") and before["budget"]["asked"] == request.budget)
    open_still = unfinished(run, before) if ended else None
    if ended and open_still is None:
        return before
    with drivers.driving(run, request, say):
        studies = _mended(run, prepared.space, say)  # first: what is damaged stays as it is
        if open_still is not None:
            _tell(run, say, open_still)
        run.forget_stop()
        run.write_request(request)
        core = _core(run, prepared, studies, started, before, disk or Disk(run))
        placement = prepared.placement
        run.log(f"search begins: budget {request.budget}, {placement.words()}")
        refresh = _refresher(core, view)
        left = max(core.ledger.wall_left, 0.0)
        if left < STARTING_SECONDS:
            why = None if ended else _no_start(run, prepared, core.ledger, left)
            core.give_up(why)
        else:
            with _keeping(studies.storage, core), short_collections():
                backend.execute(core, prepared.data.without_test(), placement, refresh, say)
        state = core.finish()
        run.log(f"search ends: {state['stopped']}")
    return state


@contextlib.contextmanager
def _keeping(storage: BaseStorage, core: Core) -> Iterator[None]:
    """Whatever breaks the search off, it ends cleanly and says why; its trials stay resumable.

    What the user has to know, a NasError, is raised as it is, but for a storage lost for good.
    """
    watched = waiting(storage)
    if watched is not None:
        watched.hurry = lambda: core.ending is not None
        watched.waited = core.disk.book
    try:
        yield
    except Exception as error:  # Ray wraps what the core raises within it
        if watched is not None and watched.lost is not None:
            note = str(watched.lost)
        elif isinstance(error, NasError):
            raise
        else:
            core.run.log(traceback.format_exc())
            note = _broken_off(core.run, error)
        core.notes.append(note)
        core.run.log(note)
        core.interrupt("error")
        with contextlib.suppress(Exception):  # what cannot be written is told by the next write
            core.suspend()
    finally:
        close(storage)


def _broken_off(run: RunDir, error: Exception) -> str:
    said = " ".join(words_of(error, MOST_SAID).split())
    return (
        f"the search broke off: {said}; the traceback is in {run.log_file}; where the machine was "
        f"at fault, go on: nas search --resume {run.path}"
    )


def _no_start(run: RunDir, prepared: Prepared, ledger: Ledger, left: float) -> str:
    """What to say where the workers could not even start: how much could be used."""
    request, before = prepared.request, ledger.wall_seconds
    said = f"the budget of {request.budget} leaves {left:.0f} s, and the workers alone take some"
    space = prepared.space
    first = fill(space, space.default()) if isinstance(space, Space) else space
    try:
        piloted = pilot.measure(
            [first], prepared.data.without_test(), device=here(request.device),
            slots=1 if request.gpus_per_trial else request.trials_at_once,
            threads=prepared.placement.threads,
            plugins=[read_plugin(path) for path in run.plugins], most_seconds=PILOT_SECONDS,
            gpus=gpus_here(here(request.device), prepared.placement.split),
        )  # fmt: skip
    except RunError as error:
        return f"{said} {STARTING_SECONDS:.0f} s to start; {error}"
    starting = max(STARTING_SECONDS, piloted.starting)
    said += f" {starting:.0f} s to start"
    full = Recipe.from_mapping(first.recipe).epochs
    measured = minimum.Measured(piloted.paces[0].epoch, stages.coarse(()).epochs(full), full)
    return said + minimum.enough(ledger, measured, before + starting)


def environment(request: Request) -> dict[str, Any]:
    """Versions, hardware, seed, command line, git commit: what a result depends on."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": {"python": platform.python_version(), **packages},
        "hardware": {
            "host": platform.node(), "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cpus": available_cpus(), "gpus": gpus,
        },
        "seed": request.seed,
        "command": [shown(word) for word in sys.argv],
        "git_commit": _git_commit(),
    }  # fmt: skip


def open_studies(
    run: RunDir, *, mend: bool = True, say: Callable[[str], None] = lambda _: None
) -> Studies:
    """The run's studies; without `mend` for looking only. `say` and the log hear what is waited
    for.

    Raises StorageError or RunError where they cannot be read, or are not this run's.
    """
    request = run.request
    make = STRATEGIES.get(request.strategy)

    def tell(words: str) -> None:
        run.log(words)
        say(words)

    storage = open_storage(request.storage, run.journal, mend=mend, tell=tell)
    claims.check_own(storage, run, request)
    prefix = claims.prefix(storage, run, request)
    owner = claims.owner(run, request)
    return Studies(storage, prefix, lambda n: make(hash_seed(request.seed, n)), owner)


def unfinished(run: RunDir, state: Mapping[str, Any]) -> Finding | None:
    """What a search that stages.json calls ended has still to do by its journal; None: nothing.

    The journal is the truth. A database loses nothing that it has confirmed, and may be out of
    reach: it is not asked.
    """
    if run.request.storage != JOURNAL:
        return None
    wall, spent = parse_budget(run.request.budget).wall_seconds, state["budget"]
    left = float("inf") if wall is None else wall - float(spent.get("wall_seconds", 0.0))
    try:
        return undone(open_studies(run, mend=False), state, room=left > STARTING_SECONDS)
    except NasError:  # it cannot be read: what the search found stands all the same
        return None


def _mended(run: RunDir, space: Space | Architecture, say: Callable[[str], None]) -> Studies:
    """The studies, what an earlier session's death left being mended and said."""
    found = list(take_stock_of_files(run, say=say))
    studies = open_studies(run, say=say)
    lost = forgotten(run, studies)
    found += [lost] if lost else []
    found += take_stock_of_trials(run, space, studies)
    for finding in found:
        _tell(run, say, finding)
    return studies


def _tell(run: RunDir, say: Callable[[str], None], finding: Finding) -> None:
    run.log(finding.sentence)
    say(finding.sentence)


def hash_seed(seed: int, trials: int) -> int:
    """The sampler's seed after that many trials: a resumed search does not draw the same again."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{trials}".encode()).digest()[:4], "big")


def _core(
    run: RunDir, prepared: Prepared, studies: Studies, started: float | None,
    before: Mapping[str, Any], disk: Disk,
) -> Core:  # fmt: skip
    data = prepared.data

    def price(architecture: Architecture) -> Price:
        batch = Recipe.from_mapping(architecture.recipe).batch_size
        shape = {"classes": len(data.classes), "channels": data.channels}
        return cost(architecture, **shape, size=data.size, batch=batch)

    return assemble(
        run, prepared.request, prepared.space, price=price, clock=time.monotonic,
        started=started, before=before, device_bytes=prepared.placement.memory,
        slots=prepared.placement.trials_at_once, disk=disk, studies=studies,
        first=prepared.first,
    )  # fmt: skip


def assemble(
    run: RunDir,
    request: Request,
    space: Space | Architecture,
    *,
    price: Callable[[Architecture], Price],
    clock: Callable[[], float],
    started: float | None = None,
    before: Mapping[str, Any],
    device_bytes: int | None = None,
    slots: int | None = None,
    studies: Studies | None = None,
    disk: Disk | None = None,
    say: Callable[[str], None] = lambda _: None,
    first: Sequence[Decisions] = (),
) -> Core:
    """A session's core with its parts: what a real backend and the simulated one drive.

    before   the state that the session before left (`run.stages()`); {} where there was none
    slots    of the placement; None: as requested
    device_bytes  of memory on a trial's device; None: not known
    studies  instead of those in the run folder
    first    decisions that a new search tries first
    say      hears what an earlier session's death had damaged, and was mended
    """
    spent = before.get("budget", {})
    ledger = Ledger(
        parse_budget(request.budget),
        slots=slots or request.trials_at_once,
        devices_per_trial=request.gpus_per_trial or 1.0,
        clock=clock,
        started=started,
        wall_before=float(spent.get("wall_seconds", 0.0)),
        starting_before=float(spent.get("starting_seconds", 0.0)),
    )
    ledger.waiting_seconds = float(spent.get("waiting_seconds", 0.0))
    rooms = [*(spent.get("trials_at_once") or []), ledger.slots]
    ledger.rooms = [room for room, _ in itertools.groupby(rooms)]
    studies = _mended(run, space, say) if studies is None else studies
    table = Table(run, parse_keep(request.keep))
    memory = Memory(device_bytes)
    proposer = Proposer(
        space=space, studies=studies, ledger=ledger, table=table,
        price=price, seed=request.seed, log=run.log, memory=memory, first=first,
    )  # fmt: skip
    core = Core(
        run=run, studies=studies, proposer=proposer, ledger=ledger, table=table,
        clock=clock, seed=request.seed, disk=disk or Disk(run, clock=clock), memory=memory,
        faulty=Faults(request.retries, request.trial_timeout, bool(request.ray_address)),
    )  # fmt: skip
    # what a journal that lost its end forgot was spent all the same
    ledger.device_seconds = max(
        ledger.device_seconds, float(spent.get("spent_device_seconds", 0.0))
    )
    return core


def _refresher(core: Core, view: View | None) -> Callable[[], None]:
    last = float("-inf")

    def show() -> None:
        nonlocal last
        if view is not None and time.monotonic() - last >= 0.5:
            last = time.monotonic()
            view(replace(core.status(), notice=core.disk.notice or core.faults.notice))

    def refresh() -> None:
        core.hurry()
        show()

    core.disk.refresh = show
    return refresh


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None

"""The driver: from a checked request to a searched run folder, and on from where one stood.

create    the run folder
search    the study, the backend, the final training; again on the same folder: resume
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ..models import cost
from ..rundir import Request, RunDir, Status
from ..space import Architecture, Space, fill
from ..train.recipe import Recipe
from ..units import parse_budget
from . import minimum, pilot, stages
from .core import Core
from .journal import JournalStorage, open_journal
from .ledger import Ledger
from .minimum import STARTING_SECONDS
from .proposals import Price, Proposer
from .request import Prepared, available_cpus, device_memory, parse_keep
from .strategies import STRATEGIES
from .study import Studies
from .table import Table

PACKAGES = ("nas-toolkit", "torch", "optuna", "ray", "numpy", "pandas", "plotly")
PILOT_SECONDS = 3.0  # of training, to say what a budget that holds no search lacks
View = Callable[[Status], None]


def create(prepared: Prepared, path: Path | None = None) -> RunDir:
    """The run's folder, whole before anything runs."""
    request = prepared.request
    return RunDir.create(path, request, prepared.space.text, environment(request))


def search(
    run: RunDir, prepared: Prepared, *, view: View | None = None, started: float | None = None
) -> dict[str, Any]:
    """Search until the budget is spent, train the finalists, return the last state.

    `started`: when the program began, on `time.monotonic`'s clock; wall budgets count from there.
    The caller holds the run's lock. A run that has ended under the same budget returns at once.
    """
    from . import backend  # Ray takes a second to import: not for what never runs a trial

    request = prepared.request
    before = run.stages()
    if before.get("ended") and before["budget"]["asked"] == request.budget:
        return before
    run.forget_stop()
    run.write_request(request)
    core = _core(run, prepared, started, before)
    slots = backend.Slots(
        request.trials_at_once, request.device, request.gpus_per_trial, _threads(request)
    )
    run.log(f"search begins: budget {request.budget}, {slots}")
    refresh = _refresher(core, view)
    left = max(core.ledger.wall_left, 0.0)
    if left < STARTING_SECONDS:
        core.give_up(_no_start(prepared, core.ledger, left))
    else:
        backend.execute(core, prepared.data.without_test(), slots, refresh)
    state = core.finish()
    run.log(f"search ends: {state['stopped']}")
    return state


def _no_start(prepared: Prepared, ledger: Ledger, left: float) -> str:
    """What to say where the workers could not even start: how much could be used."""
    request, started = prepared.request, ledger.wall_seconds + STARTING_SECONDS
    said = (
        f"the budget of {request.budget} leaves {left:.0f} s, and the workers alone take some "
        f"{STARTING_SECONDS:.0f} s to start"
    )
    space = prepared.space
    first = fill(space, space.default()) if isinstance(space, Space) else space
    pace = pilot.measure(
        [first], prepared.data.without_test(), device=request.device, slots=1,
        threads=_threads(request), plugins=[Path(name) for name in request.plugins],
        most_seconds=PILOT_SECONDS,
    ).paces[0]  # fmt: skip
    full = Recipe.from_mapping(first.recipe).epochs
    measured = minimum.Measured(pace.epoch, stages.coarse(()).epochs(full), full)
    return said + minimum.enough(ledger, measured, started)


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
        "command": sys.argv,
        "git_commit": _git_commit(),
    }  # fmt: skip


def open_studies(run: RunDir, *, mend: bool = True) -> Studies:
    """The run's studies; without `mend` for looking only."""
    request = run.request
    make = STRATEGIES.get(request.strategy)
    storage = open_journal(run.journal, mend=mend)
    return Studies(storage, _prefix(storage, run), lambda n: make(hash_seed(request.seed, n)))


def _prefix(storage: JournalStorage, run: RunDir) -> str:
    """What the names of the run's studies begin with: the folder may have been renamed since."""
    studies = storage.get_all_studies()
    return studies[0].study_name.rpartition(".")[0] if studies else run.name


def hash_seed(seed: int, trials: int) -> int:
    """The sampler's seed after that many trials: a resumed search does not draw the same again."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{trials}".encode()).digest()[:4], "big")


def _core(
    run: RunDir, prepared: Prepared, started: float | None, before: Mapping[str, Any]
) -> Core:
    data = prepared.data

    def price(architecture: Architecture) -> Price:
        batch = Recipe.from_mapping(architecture.recipe).batch_size
        shape = {"classes": len(data.classes), "channels": data.channels}
        return cost(architecture, **shape, size=data.size, batch=batch)

    return assemble(
        run, prepared.request, prepared.space, price=price, clock=time.monotonic,
        started=started, before=before, memory=device_memory(prepared.request.device),
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
    memory: int | None = None,
    studies: Studies | None = None,
) -> Core:
    """A session's core with its parts: what a real backend and the simulated one drive.

    before   the state that the session before left (`run.stages()`); {} where there was none
    studies  instead of those in the run folder
    """
    spent = before.get("budget", {})
    ledger = Ledger(
        parse_budget(request.budget),
        slots=request.trials_at_once,
        devices_per_trial=request.gpus_per_trial or 1.0,
        clock=clock,
        started=started,
        wall_before=float(spent.get("wall_seconds", 0.0)),
        starting_before=float(spent.get("starting_seconds", 0.0)),
    )
    studies = open_studies(run) if studies is None else studies
    table = Table(run, parse_keep(request.keep))
    proposer = Proposer(
        space=space, studies=studies, ledger=ledger, table=table,
        price=price, seed=request.seed, log=run.log, memory=memory,
    )  # fmt: skip
    return Core(
        run=run, studies=studies, proposer=proposer, ledger=ledger, table=table,
        clock=clock, seed=request.seed,
    )  # fmt: skip


def _refresher(core: Core, view: View | None) -> Callable[[], None]:
    last = float("-inf")

    def refresh() -> None:
        nonlocal last
        if view is not None and time.monotonic() - last >= 0.5:
            last = time.monotonic()
            view(core.status())

    return refresh


def _threads(request: Request) -> int:
    return max(1, available_cpus() // request.trials_at_once)


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None

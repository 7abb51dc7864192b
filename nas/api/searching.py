"""Begin a search, or go on with one: what the command line and `nas.search` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import export
from ..errors import RunError, SearchFailed, UserError
from ..models import cost
from ..rundir import Request, RunDir, witnessed
from ..search import request as requests
from ..search import run as driver
from ..search import storage as storages
from ..search.disk import Disk
from ..search.machine import here
from ..search.measuring import apart
from ..search.request import Prepared
from ..search.run import View
from ..space import Architecture, Space
from ..units import parse_budget, show_seconds
from . import exam
from .planning import default_network
from .run import Run

PLACED = ("trials_at_once", "gpus_per_trial", "cpus_per_trial")


@dataclass(frozen=True)
class Session:
    """A run's folder and what is to be done in it; `prepared` None: it is finished.

    `said`: what was found on the way, such as the lock of a host that died.
    """

    run: RunDir
    prepared: Prepared | None
    said: str | None = None


@apart()
def search(
    space: str | Path | Space | Architecture | None = None,
    *,
    data: str | Path | None = None,
    budget: str | None = None,
    run_dir: str | Path | None = None,
    resume: str | Path | None = None,
    strategy: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    trials_at_once: int | str | None = None,
    gpus_per_trial: float | str | None = None,
    cpus_per_trial: int | str | None = None,
    ray_address: str | None = None,
    keep: str | None = None,
    retries: int | None = None,
    trial_timeout: float | str | None = None,
    constants: Mapping[str, object] | None = None,
    plugins: Sequence[str | Path] | None = None,
    storage: str | None = None,
    deterministic: bool | None = None,
    first: Sequence[Mapping[str, Any]] | None = None,
    view: View | None = None,
    started: float | None = None,
) -> Run:
    """Search a space on data until the budget is spent; train, test and export the best.

    space      a name, the path of a file, or what `nas.load` made of one
    data       a name ("digits"), or the path of files in a known format
    budget     "90min", "50gpu-h,200trials"
    run_dir    the run's own new folder; None: ./runs/<date>-<space>-<n>
    resume     go on with a run; needs nothing else, takes a larger `budget`
    trials_at_once, gpus_per_trial, cpus_per_trial: numbers, or "auto": measured in some seconds
    ray_address "auto" or "host:port" of a Ray cluster that runs; None: a Ray of our own
    retries    how often a trial whose worker died goes on from its checkpoint (2)
    trial_timeout  seconds, or "5min": a worker that gives no report for so long is killed (10min)
    constants  `{"recipe.epochs": 20}`: put in the place of any value or hole
    plugins    Python files with operators of your own; the run folder keeps copies
    storage    "journal" (a file in the run folder), "sqlite:///trials.db" or
               "postgresql+psycopg://user@host/database", which several runs may share
    deterministic  refuse what a GPU computes differently from time to time; slower
    first      decisions of the space (holes left out are drawn) that a new search tries before it
               draws any, behind the default network
    view       called now and then with a Status while the search runs
    started    on time.monotonic's clock: where wall-clock budgets begin; None: now

    Interrupted (Ctrl-C, `nas stop`), it returns with the best so far; `run.summary["stopped"]`
    says so. Raises UserError for what was asked wrong, SearchFailed where nothing survived.
    """
    options = {
        "strategy": strategy, "seed": seed, "device": device, "trials_at_once": trials_at_once,
        "gpus_per_trial": gpus_per_trial, "cpus_per_trial": cpus_per_trial,
        "ray_address": ray_address, "keep": keep, "constants": constants, "plugins": plugins,
        "storage": storage, "deterministic": deterministic, "retries": retries,
        "trial_timeout": trial_timeout,
    }  # fmt: skip
    asked = {key: value for key, value in options.items() if value is not None}
    firsts = {} if first is None else {"first": first}
    started = time.monotonic() if started is None else started  # what auto measures is paid for
    if resume is not None:
        session = reopen(resume, budget, {"space": space, "data": data, "run_dir": run_dir} | asked)
    else:
        session = begin(prepare(space, data, budget, **asked, **firsts), run_dir)
    run = carry_out(session, view=view, started=started)
    found = run.summary
    if found["best"] is None and found["stopped"] != "interrupted":
        raise SearchFailed(found["notes"][-1])
    return run


def prepare(
    space: str | Path | Space | Architecture | None,
    data: str | Path | None,
    budget: str | None,
    **options: Any,
) -> Prepared:
    """Check everything that was asked, before anything is made. Raises UserError."""
    for name, value in (("space", space), ("data", data), ("budget", budget)):
        if value is None:
            raise UserError(
                f"--{name} is missing; such as: nas search --space tiny --data digits --budget 3min"
            )
    constants = {key: str(value) for key, value in (options.pop("constants", None) or {}).items()}
    assert space is not None
    return requests.prepare(space, str(data), str(budget), constants=constants, **options)


def begin(prepared: Prepared, run_dir: str | Path | None = None) -> Session:
    """Make the run's folder."""
    return Session(driver.create(prepared, None if run_dir is None else Path(run_dir)), prepared)


def facts(session: Session) -> dict[str, Any]:
    """What a search that is about to run says of itself; plain values."""
    prepared = session.prepared
    assert prepared is not None
    request, data = prepared.request, prepared.data
    first = default_network(prepared.space)
    price = cost(first, classes=data.num_classes, channels=data.channels, size=data.size)
    return {
        "run": str(session.run.path),
        "space": request.space_name,
        "file": request.space,
        "data": data.describe(),
        "default": {"params": price.params, "macs": price.macs},
        "device": request.device,
        "trials_at_once": prepared.placement.trials_at_once,
        "gpus_per_trial": request.gpus_per_trial,
        "placement": prepared.placement.words(),
        "budget": request.budget,
        "resumed": bool(session.run.stages()),
    }


def reopen(
    path: str | Path,
    budget: str | None,
    asked: Mapping[str, Any],
    say: Callable[[str], None] = lambda _: None,
) -> Session:
    """A run to go on with. Raises RunError where `asked` contradicts what it was begun with.

    `say` is called with what is waited for: the lock of a host that may have died.
    """
    run = RunDir.open(path)
    request = run.request
    _check_same(request, asked)
    with run.lock(say):
        pass  # another process that holds it is told of before anything is loaded
    state = run.stages()
    # what was done, which is not what was asked last: that session may have died as it began
    done = state.get("budget", {}).get("asked")
    if budget is not None and budget != done:
        _check_larger(run, budget)
    elif (budget or request.budget) == done and _complete(run, state):
        return Session(run, None)
    return Session(*requests.reopen(path, budget, asked.get("ray_address")), run.taken_over)


def carry_out(
    session: Session,
    *,
    view: View | None = None,
    started: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Run:
    """Search, then export; what a crash broke off between the two is made up for.

    `say` is called with what a person should know at once: what was found damaged and mended, a
    full disk. Raises DiskFull where the disk stays full: nothing is lost, the run can be resumed.
    """
    run, prepared = session.run, session.prepared
    if prepared is not None:
        disk = Disk(run, say=say)
        with run.lock(say), witnessed(run.path), disk.patience():
            driver.search(run, prepared, view=view, started=started, disk=disk, say=say)
            device = here(prepared.request.device)
            export.best(run, prepared.data, device=device, test=exam.tester(run))
    return Run(run)


def _complete(run: RunDir, state: Mapping[str, Any]) -> bool:
    """Whether a search came to its end, its trials with it, and its best was exported."""
    exported = state.get("ended") and (state.get("results") or not state.get("finalists"))
    return bool(exported) and driver.unfinished(run, state) is None


def _check_same(request: Request, asked: Mapping[str, Any]) -> None:
    for key, value in asked.items():
        if value is None or key == "ray_address":  # a run may move to another cluster
            continue
        if key == "plugins":
            raise RunError(
                "--plugin: a run goes on with the copies in its folder (plugins/); leave it out"
            )
        if key == "run_dir":
            raise RunError("--run-dir makes a new run, --resume goes on with one: leave one out")
        own = getattr(request, key)
        if key == "space":
            same = requests.is_space_of(request, value)
        elif key == "data":
            same = str(value) == own or str(Path(value).absolute()) == own
        elif key == "storage":
            same = storages.same(value, own)
        elif key == "constants":
            same = {name: str(inner) for name, inner in value.items()} == dict(own)
        elif key in PLACED:
            same = requests.is_placed_so(request, key, value)
            own = "auto" if key in request.auto else own or "an even share"
        else:
            same = (requests.parse_timeout(value) if key == "trial_timeout" else value) == own
        if not same and key == "constants":
            value, own = (_settings(each) for each in (value, own))
        if not same:
            option = {"constants": "set"}.get(key, key.replace("_", "-"))
            raise RunError(
                f"--{option} {storages.shown(str(value))} contradicts the run, which was begun "
                f"with {own}: leave it out, or start a new search"
            )


def _settings(constants: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in constants.items()) or "none"


def _check_larger(run: RunDir, budget: str) -> None:
    """A new budget has to leave something to do. Raises UserError."""
    asked, state = parse_budget(budget), run.stages()
    spent, counts = state.get("budget", {}), state.get("trials", {})
    trials = counts.get("total", 0) - counts.get("infeasible", 0)
    epochs = sum(int(row["epoch"] or 0) for row in run.trials())
    wall, device = spent.get("wall_seconds", 0.0), spent.get("spent_device_seconds", 0.0)
    bounds = (
        (asked.wall_seconds, wall, f"{show_seconds(wall)} of wall clock"),
        (asked.device_seconds, device, f"{show_seconds(device)} on devices"),
        (asked.trials, trials, f"{trials} trials"),
        (asked.epochs, epochs, f"{epochs} epochs"),
    )
    for bound, used, words in bounds:
        if bound is not None and used >= bound:
            raise UserError(
                f"--budget {budget} is not larger than what {run.name} has spent ({words}): "
                "name a larger one, or leave it out"
            )

"""`nas search`."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ..errors import UserError
from . import STARTED, check_interrupt
from .options import Budgets, Constants, CpusPerTrial, Device, GpusPerTrial, TrialsAtOnce
from .plugins import Plugins
from .streams import WIDE, console, lacking, lasting, print_json, result_alone

if TYPE_CHECKING:
    from rich.console import Console

    from ..api.searching import Session
    from ..search.pilots import Starter


def search(
    space: Annotated[
        str | None, typer.Option(help="A name (`nas spaces`), or the path of a file.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, fashion-mnist, cifar10, cifar100, or a path: a folder of IDX "
            "files, a .npz, CIFAR's archive."
        ),
    ] = None,
    budgets: Budgets = None,
    set_: Constants = None,
    strategy: Annotated[
        str | None, typer.Option(help="Who proposes the trials: tpe (default) or random.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is random (0).")] = None,
    trials_at_once: TrialsAtOnce = None,
    device: Device = None,
    gpus_per_trial: GpusPerTrial = None,
    cpus_per_trial: CpusPerTrial = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Join a Ray cluster that runs: auto or host:port; local: this machine alone.",
        ),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="Checkpoints to keep: top:20 (default), top:N, all.")
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(help="2: how often a trial goes on from its checkpoint when its worker dies."),
    ] = None,
    trial_timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="10min: a worker that gives no report for so long (it reports every second while "
            "it trains) is killed.",
        ),
    ] = None,
    plugin: Plugins = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Of the trials: journal (default), sqlite:///FILE, "
            "postgresql://USER@HOST/DATABASE (or postgresql+psycopg://…).",
        ),
    ] = None,
    deterministic: Annotated[
        bool | None,
        typer.Option("--deterministic", help="A GPU repeats its figures exactly; slower."),
    ] = None,
    run_dir: Annotated[
        str | None,
        typer.Option(help="This run's own new folder; ./runs/<date>-<space>-<n> by default."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Go on with a run; a larger --budget may be given."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what would happen (nas plan); search and write nothing."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON object on standard output, all else on standard error."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the result.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="The run's log too.")] = False,
) -> None:
    """Find a network and its recipe for your data.

    Searches until the budget is spent; then trains, tests and exports the best. Ctrl-C once stops
    cleanly and exports the best so far; --resume goes on.
    """
    options = {
        "strategy": strategy, "seed": seed, "device": device, "trials_at_once": trials_at_once,
        "gpus_per_trial": gpus_per_trial, "cpus_per_trial": cpus_per_trial,
        "ray_address": ray_address, "keep": keep, "constants": constants(set_), "plugins": plugin,
        "storage": storage, "deterministic": deterministic, "retries": retries,
        "trial_timeout": trial_timeout,
    }  # fmt: skip
    budget = together(budgets)
    asked = {key: value for key, value in options.items() if value is not None}
    from ..search.measuring import apart

    with lasting(), result_alone(as_json) as result, apart(begin=bool(plugin)):
        output = Output(console(stderr=as_json), result, as_json, quiet, verbose)
        if dry_run:
            if resume is not None:
                raise UserError("--dry-run looks at a new search: leave --resume out")
            look(output, space, data, budget, asked)
            return
        session: Session | None = None
        try:
            if resume is not None:
                given = {"space": space, "data": data, "run_dir": run_dir, **asked}
                session = _resumed(output, resume, budget, given)
            else:
                session = _begun(output, space, data, budget, run_dir, asked)
            if session.prepared is not None:
                importlib.import_module("..search.backend", __package__)
            check_interrupt()  # what was swallowed while all that was loaded
            code = _carry_out(output, session)
        except KeyboardInterrupt:  # outside the search itself, which handles it: nothing is lost
            if session is None:
                _interrupted_early(output, space, data, seed, budget)
                raise
            code = _interrupted(output, session)
    raise typer.Exit(code)


@dataclass(frozen=True)
class Output:
    """Where a search's words go: `screen` for people, `result` for the JSON object."""

    screen: Console
    result: TextIO
    as_json: bool
    quiet: bool
    verbose: bool

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """A sign of life on a terminal."""
        if self.quiet or not self.screen.is_terminal:
            return nullcontext()
        return self.screen.status(what)

    def say(self, sentence: str) -> None:
        """What a person should know at once, however quiet it is to be."""
        self.screen.print(sentence, style="yellow", soft_wrap=True)


def together(budgets: Sequence[str] | None) -> str | None:
    """`--budget 90min --budget 200trials` is `--budget 90min,200trials`."""
    return None if budgets is None else ",".join(budgets)


def constants(entries: Sequence[str] | None) -> dict[str, str] | None:
    """`["recipe.epochs=20"]` -> `{"recipe.epochs": "20"}`. Raises UserError."""
    if not entries:
        return None
    pairs = {}
    for entry in entries:
        path, equals, value = entry.partition("=")
        if not (path.strip() and equals and value.strip()):
            raise UserError(f"--set {entry!r} must be PATH=VALUE, such as --set recipe.epochs=20")
        if path.strip() in pairs:
            raise UserError(f"--set {path.strip()} is given twice: leave one out")
        pairs[path.strip()] = value.strip()
    return pairs


def exit_code(found: Mapping[str, Any]) -> int:
    """0 the budget is spent or all is done, 1 something failed, 130 interrupted."""
    if found["stopped"] in (None, "interrupted"):
        return 130
    return 1 if found["best"] is None or found["stopped"] in ("error", "disk full") else 0


def _interrupted_early(
    output: Output, space: str | None, data: str | None, seed: int | None, budget: str | None
) -> None:
    """Before there was a run to speak of."""
    from ..report.summary import nothing

    output.screen.print("interrupted before anything was trained")
    if output.as_json:
        print_json(nothing(space, data, seed or 0, budget), output.result)


def _interrupted(output: Output, session: Session) -> int:
    """Between the run's folder and the search's end; the folder says so."""
    from ..report.summary import summary

    state = session.run.stages()
    if not state.get("stopped"):
        session.run.write_stages({**state, "stopped": "interrupted"})
    return _tell(output, summary(session.run) | {"stopped": "interrupted"}, 130)


def look(
    output: Output, space: str | None, data: str | None, budget: str | None, asked: dict[str, Any]
) -> None:
    """The forecast of a search: `--dry-run`, `nas plan`."""
    with output.waiting("a pilot trains for a moment …"):
        with measuring(asked) as starter:
            from ..api import planning, searching

            prepared = searching.prepare(space, data, budget, starter=starter, **asked)
        plan = planning.plan(prepared, STARTED)
    if output.as_json:
        print_json(plan, output.result)
    else:
        from ..report.overview import show_plan

        show_plan(output.screen, plan)


def _begun(
    output: Output, space: str | None, data: str | None, budget: str | None, run_dir: str | None,
    asked: dict[str, Any],
) -> Session:  # fmt: skip
    with output.waiting("reading the space and the data …"):
        with measuring(asked) as starter:
            from ..api import searching

            prepared = searching.prepare(space, data, budget, starter=starter, **asked)
        return searching.begin(prepared, run_dir)


def measuring(asked: Mapping[str, Any]) -> AbstractContextManager[Starter | None]:
    """What `auto` measures with loads torch beside this process, which is about to."""
    placed = (asked.get(name) for name in ("trials_at_once", "gpus_per_trial", "cpus_per_trial"))
    if "auto" not in placed or "ray_address" in asked:
        return nullcontext()
    from ..search.pilots import Starter

    return Starter()


def _resumed(output: Output, run: str, budget: str | None, given: dict[str, Any]) -> Session:
    with output.waiting("reading the run and its data …"):
        from ..api import searching

        return searching.reopen(run, budget, given, output.say)


def _carry_out(output: Output, session: Session) -> int:
    from ..api import searching
    from ..report.live import watching
    from ..report.overview import show_start
    from ..report.summary import summary

    screen, run = output.screen, session.run
    if session.prepared is None:
        screen.print(f"{run.name} is finished already; here is what it found.")
    elif not output.quiet:
        show_start(screen, searching.facts(session))
    if session.said:
        output.say(session.said)
    with watching(screen, run.log_file, quiet=output.quiet, verbose=output.verbose) as view:
        searching.carry_out(session, view=view, started=STARTED, say=output.say)
    found = summary(run)
    return _tell(output, found, 0 if session.prepared is None else exit_code(found))


def _tell(output: Output, found: dict[str, Any], code: int) -> int:
    """The summary, and the JSON object; returns the exit code."""
    from ..report.tables import show_result, show_summary

    if output.quiet:
        show_result(output.screen, found)
    else:
        show_summary(output.screen, found)
    if output.as_json:
        print_json(found, output.result)
    output.screen.file.flush()
    if lacking(output.screen.file) or lacking(output.result):
        _leave_in_log(found)
    return code


def _leave_in_log(found: dict[str, Any]) -> None:
    """Nobody reads what is printed, or the disk is full: who comes back looks into the log."""
    from rich.console import Console

    from ..report.tables import show_summary
    from ..rundir import RunDir

    text = io.StringIO()
    show_summary(Console(file=text, width=WIDE, highlight=False, emoji=False, markup=False), found)
    RunDir.open(found["run"]).log(f"what was printed could not all be written\n{text.getvalue()}")

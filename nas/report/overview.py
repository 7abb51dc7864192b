"""Lists: the runs of a folder, the shipped spaces, what a search is about to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from ..rundir import RunDir
from ..units import counted, show_amount, show_bytes, show_seconds
from .layout import facts_grid, plain_table, section
from .summary import summary
from .words import near, percent


def run_row(run: RunDir) -> dict[str, Any]:
    """One line of `nas runs`."""
    found = summary(run)
    best = found["best"] or found["best_so_far"]
    return {
        "run": found["run"],
        "name": run.name,
        "state": found["state"],
        "space": found["space"],
        "data": found["data"],
        "validation": best["validation"] if best else None,
        "test": found["best"]["test"] if found["best"] else None,
        "trials": found["trials"]["total"],
        "budget": found["budget"]["asked"],
    }


def show_runs(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """The runs, a line each."""
    words = ("run", "state", "space", "data")
    figures = ("trials", "validation", "test", "budget")
    table = plain_table((*words, *figures), left=words, wraps="run")
    colours = {"finished": "green", "running": "cyan", "failed": "red"}
    for row in rows:
        table.add_row(
            row["name"],
            Text(row["state"], style=colours.get(row["state"], "yellow")),
            row["space"],
            near(row["data"]),
            str(row["trials"]),
            percent(row["validation"]),
            percent(row["test"]),
            row["budget"],
        )
    console.print(table)


def show_spaces(
    console: Console, title: str, rows: Sequence[Mapping[str, Any]], *, searchable: bool = True
) -> None:
    """Spaces, or documented networks, a line each."""
    size_name = "architectures" if searchable else "macs"
    columns = ("name", size_name, "params", "about")
    table = plain_table(columns, left=("name", "about"), wraps="about")
    for row in rows:
        low, high = row["params"]
        span = show_amount(low) if low == high else f"{show_amount(low)} … {show_amount(high)}"
        size = many(row["architectures"]) if searchable else show_amount(row["macs"])
        table.add_row(Text(row["name"], style="cyan"), size, span, row["about"])
    section(console, title, table)


def show_plan(console: Console, plan: Mapping[str, Any]) -> None:
    """What `nas plan` and `--dry-run` say."""
    default, drawn = plan["default"], plan["drawn"]
    limits = ", ".join(f"{name} {show_amount(value)}" for name, value in plan["limits"].items())
    grid = facts_grid()
    grid.add_row("space", f"{plan['space']} ({near(plan['file'])})")
    grid.add_row("size", f"{many(plan['architectures'])} architectures, {plan['holes']} holes")
    grid.add_row("limits", limits or "none")
    grid.add_row("data", plan["data"])
    grid.add_row(
        "default",
        f"{show_amount(default['params'])} parameters, {show_amount(default['macs'])} multiply-adds"
        f"; an epoch takes about {show_seconds(plan['epoch_seconds'])} here, measured with "
        f"{plan['trials_at_once']} at once",
    )
    if drawn["mean_macs"] is not None:
        grid.add_row(
            "others",
            f"{show_amount(drawn['mean_macs'])} multiply-adds on average; {drawn['fitting']} of "
            f"{drawn['number']} plain draws keep to the limits",
        )
    grid.add_row("memory", _memory(plan))
    grid.add_row("device", where(plan) + slot_hours(plan))
    grid.add_row("budget", plan["budget"])
    grid.add_row("search", _stages(plan))
    grid.add_row("final", _final(plan["final"]))
    grid.add_row("in all", _wall(plan))
    console.print(grid)
    if plan.get("warning"):
        console.print(Text.assemble(("Note ", "bold"), plan["warning"]), style="yellow")
    console.print(
        "A pilot trained for some seconds; the numbers are a simulated search at its pace. Nothing "
        "was searched, nothing was written.",
        style="dim",
    )


def _wall(plan: Mapping[str, Any]) -> str:
    start = "the start of the program and its workers"
    if plan["auto"]:
        start += ", and what auto measures"
    return (
        f"about {show_seconds(plan['wall_seconds'])} of wall clock, "
        f"{show_seconds(plan['starting_seconds'])} of it before the first trial: {start}"
    )


def _memory(plan: Mapping[str, Any]) -> str:
    measured = [pace["memory_bytes"] for pace in plan["pilot"] if pace["memory_bytes"]]
    tensors = show_bytes(plan["default"]["memory_bytes"])
    said = f"the default's tensors (weights, gradients, activations) take about {tensors}"
    if measured:
        said += f" ({show_bytes(measured[0])} measured)"
    most = plan["drawn"]["most_memory_bytes"]
    return said if most is None else f"{said}, the largest of the draws {show_bytes(most)}"


def _stages(plan: Mapping[str, Any]) -> str:
    parts = (
        f"{row['name']} {row['trials']:,} of up to {counted(row['epochs'], 'epoch')}"
        for row in plan["stages"]
    )
    return f"about {counted_trials(plan['trials'])}: {', '.join(parts)}"


def _final(final: Mapping[str, Any]) -> str:
    if not final["trainings"]:
        return "none: the budget leaves no time for it"
    networks = counted(final["candidates"], "network")
    return (
        f"{counted(final['trainings'], 'training')} ({networks}, up to "
        f"{counted(final['seeds'], 'seed')}) of {counted(final['epochs'], 'epoch')}, about "
        f"{show_seconds(final['seconds'])}{', shortened' if final['shortened'] else ''}"
    )


def counted_trials(number: int) -> str:
    """ "1 trial", "2 trials"."""
    return counted(number, "trial")


def show_start(console: Console, facts: Mapping[str, Any]) -> None:
    """What a search says before it begins."""
    grid = facts_grid()
    grid.add_row("space", f"{facts['space']} ({near(facts['file'])})")
    grid.add_row("data", facts["data"])
    default = facts["default"]
    grid.add_row(
        "trial 0",
        f"the space's default network, {show_amount(default['params'])} parameters, "
        f"{show_amount(default['macs'])} multiply-adds",
    )
    grid.add_row("device", where(facts) + slot_hours(facts))
    grid.add_row("budget", facts["budget"])
    grid.add_row("run", near(facts["run"]) + (" (resumed)" if facts["resumed"] else ""))
    console.print(grid)
    console.print()


def slot_hours(facts: Mapping[str, Any]) -> str:
    """What a gpu-h means where there is no GPU."""
    hours = "gpu-h" in facts["budget"] or "cpu-h" in facts["budget"]
    return (
        "; an hour in the budget is one of one trial slot"
        if hours and not facts["gpus_per_trial"]
        else ""
    )


def where(plan: Mapping[str, Any]) -> str:
    """ "2 trials at once on cpu, 1 thread each"."""
    if "placement" in plan:
        return str(plan["placement"])
    share = f", {plan['gpus_per_trial']:g} GPU each" if plan["gpus_per_trial"] else ""
    return f"{plan['device']}, {plan['trials_at_once']} trials at once{share}"


def many(number: int | None) -> str:
    """A count that may be astronomical: 2,592,487,296, 3.4e+18; None: a continuum."""
    if number is None:
        return "a continuum of"
    return f"{number:,}" if number < 10**15 else f"{float(number):.2g}"

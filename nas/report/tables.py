"""A run's summary for people."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..units import counted, show_amount, show_seconds
from .layout import plain_table, section
from .words import CAUSES, near, number, percent

Found = Mapping[str, Any]
MOST_ROOMS = 3  # changes of how many trials ran at once, shown
ENDINGS = {
    "budget": "finished, its budget is spent",
    "done": "finished",
    "interrupted": "interrupted",
    "error": "broken off by an error",
    "disk full": "stopped, the disk was full; nothing is lost",
}


def show_summary(console: Console, found: Found) -> None:
    """Everything a person wants to know of a run, and what to type next."""
    console.print(headline(found))
    if found["finalists"]:
        final = found["finalists"][0]["final"]
        title = "Finalists" if final else "Best so far"
        note = "mean ± standard deviation over (n) seeds" if final else "no final training yet"
        section(console, title, finalists(found), note)
    elif found["best_so_far"]:
        best = found["best_so_far"]
        console.print(f"best so far: trial {best['trial']}, {percent(best['validation'])}")
    counts = found["trials"]
    if counts["total"] or counts["duplicates"]:
        section(console, f"Trials: {counts['total']}", ends(counts))
    if found["stages"]:
        note = "and the ranges of the log-uniform holes"
        section(console, "Stages", stages(found["stages"]), note)
        for line in widened(found["stages"]):
            console.print(line, style="dim")
    console.print()
    console.print(budget(found))
    for line in found["notes"]:
        console.print(Text.assemble(("Note ", "bold"), line), style="yellow")
    console.print()
    console.print("Next", style="bold")
    for command, what in next_commands(found):
        console.print(Text.assemble("  ", (command, "cyan")), soft_wrap=True)
        console.print(Text(f"      {what}", style="dim"), soft_wrap=True)


def show_result(console: Console, found: Found) -> None:
    """The result in two lines."""
    console.print(headline(found))
    best = found["best"]
    if best is not None:
        console.print(
            f"{near(best['architecture'])}: trial {best['trial']}, validation "
            f"{percent(best['validation'])}, test {percent(best['test'])}",
            soft_wrap=True,
        )
    for note in found["notes"]:
        console.print(Text(note), style="yellow", soft_wrap=True)


def headline(found: Found) -> Text:
    """One line: what was searched, on what, and how it stands."""
    if found["state"] == "running":
        ending, style = "running", "green"
    elif found["state"] == "failed":
        ending, style = "ended, nothing survived", "red"
    elif found["stopped"] is None:
        ending, style = "killed; nothing is lost", "yellow"
    else:
        ending = ENDINGS.get(found["stopped"], str(found["stopped"]))
        if found["stopped"] == "interrupted":
            ending += (
                ", the best so far is exported" if found["best"] else " before the first result"
            )
        style = "green" if found["state"] == "finished" else "yellow"
    what = f"{found['space']} on {near(found['data'])}: "
    return Text.assemble((what, "bold"), (ending, style), f"  ({near(found['run'])})")


def finalists(found: Found) -> Table:
    """The candidates trained in full, best first, trial 0 among them."""
    figures = ("validation", "epochs", "test", "params", "macs", "device time")
    table = plain_table(("", "trial", *figures), left=("", "trial"))
    for place, entry in enumerate(found["finalists"]):
        seeds = entry["seeds"]
        spread = f" ± {100 * entry['validation_std']:.2f} ({seeds})" if seeds > 1 else ""
        table.add_row(
            "*" if place == 0 else "",
            f"{entry['candidate']}" + (" (default)" if entry["candidate"] == 0 else ""),
            percent(entry["validation"]) + spread,
            str(entry["epochs"]),
            percent(entry["test"]),
            show_amount(entry["params"]),
            show_amount(entry["macs"]),
            show_seconds(entry["device_seconds"]),
            style="green" if place == 0 else None,
        )
    return table


def ends(counts: Mapping[str, int]) -> Table:
    """How the trials ended, and what each cause means."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    for cause, meaning in CAUSES.items():
        if counts.get(cause):
            table.add_row(str(counts[cause]), cause.replace("_", " "), meaning)
    return table


def stages(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The stages side by side; how every log-uniform range narrowed, from left to right."""
    table = plain_table(("", *(row["name"] for row in rows)), left=("",), wraps="")
    table.add_row("trials", *(str(row["trials"]) for row in rows))
    table.add_row("epochs", *(str(row["epochs"]) for row in rows))
    for name in dict.fromkeys(name for row in rows for name in row["ranges"]):
        table.add_row(name, *(_range(row["ranges"].get(name)) for row in rows))
    return table


def widened(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where a stage reaches past the range that the space states, and why."""
    said: dict[str, str] = {}
    for row in rows[1:]:
        for name, (low, high) in row["ranges"].items():
            first = rows[0]["ranges"].get(name)
            if first and (low < first[0] or high > first[1]):
                said[name] = (
                    f"{name} reaches past {_range(first)}: the best trials lay on the range's edge "
                    f"(--set {name}=… holds it fixed)"
                )
    return list(said.values())


def budget(found: Found) -> Text:
    """What was asked for, and what it went into."""
    spent = found["budget"]
    device = "GPU" if found["device"] == "cuda" else found["device"]
    finals = sum(entry["device_seconds"] for entry in found["finalists"] if entry["final"])
    training = f", {show_seconds(finals)} of it for the final training" if finals else ""
    kept = spent["reserved_final_seconds"]
    reserve = f"; {show_seconds(kept)} reserved for the final training" if kept else ""
    return Text.assemble(
        ("Budget ", "bold"),
        f"{spent['asked']}: spent {show_seconds(spent['wall_seconds'])} of wall clock, "
        f"{show_seconds(spent['spent_device_seconds'])} of {device} time over "
        f"{_at_once(found)}{training}{reserve}",
    )


def _at_once(found: Found) -> str:
    """How many trials ran at once: "2 trials at once", "2 trials at once (later 1)"."""
    first, *later = found["budget"].get("trials_at_once") or [found["trials_at_once"]]
    more = ", …" if len(later) > MOST_ROOMS else ""
    rest = f" (later {', '.join(map(str, later[:MOST_ROOMS]))}{more})" if later else ""
    return f"{counted(first, 'trial')} at once{rest}"


def _range(ends: Sequence[float] | None) -> str:
    if ends is None:
        return "–"
    low, high = (number(end) for end in ends)
    return low if low == high else f"{low} … {high}"


def plugin_options(run: str) -> str:
    """` --plugin FILE` for each file that the run was begun with: by its copy in the folder."""
    files = sorted((Path(run) / "plugins").glob("*.py"))
    return "".join(f" --plugin {shlex.quote(near(str(file)))}" for file in files)


def next_commands(found: Found) -> list[tuple[str, str]]:
    """What to type next, and why."""
    run, data = shlex.quote(near(found["run"])), shlex.quote(near(found["data"]))
    commands = []
    if found["best"] is not None:
        best = shlex.quote(near(found["best"]["architecture"])) + plugin_options(found["run"])
        commands += [
            (f"nas predict {best} IMAGE…", "labels for images"),
            (f"nas test {best} --data {data}", "accuracy, per class, confusion matrix"),
            (f"nas describe {best}", "its rows and what they cost"),
        ]
    if found["state"] == "running":
        commands.append((f"nas stop {run}", "stop it cleanly, export the best so far"))
    elif found["state"] in ("finished", "failed"):
        again = f"nas search --resume {run} --budget …"
        commands.append((again, f"go on with more than {found['budget']['asked']}"))
    else:
        commands.append((f"nas search --resume {run}", "go on where it stood"))
    commands.append((f"nas dashboard {run}", "the trials in a browser"))
    if found["state"] == "running":
        commands.append((f"nas show {run}", "this summary, as it stands by then"))
    return commands

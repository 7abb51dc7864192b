"""A search space for people: its holes, its size, what its networks cost, its two ends.

Handed the object of `nas spaces NAME --json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from ..units import counted, show_amount, show_bytes
from .describe import image_words, plain_value, show_holes, sides
from .layout import facts_grid, plain_table, section
from .overview import many
from .words import near

BARS = " ▁▂▃▄▅▆▇█"
LEVELS = {"error": "red", "warning": "yellow", "info": "cyan"}


def show_survey(console: Console, found: Mapping[str, Any]) -> None:
    """`survey` for people."""
    console.print(Text(found["name"], style="bold"))
    if found["about"]:
        console.print(found["about"])
    show_holes(console, found["holes"], "name, default (trial 0), domain")
    _show_facts(console, found)
    _show_distribution(console, found)
    _show_ends(console, found)


def _show_facts(console: Console, found: Mapping[str, Any]) -> None:
    limits = ", ".join(f"{key} {show_amount(at)}" for key, at in found["limits"].items())
    drawn = f"{found['draws']:,} draws"
    grid = facts_grid()
    grid.add_row("file", near(found["file"]))
    number = found["architectures"]
    exact = many(None) if number is None else f"{number:,}"
    grid.add_row("size", f"{exact} architectures, {counted(len(found['holes']), 'hole')}")
    own = found["default"] and found["default"]["resolution"]
    scaled = own not in (None, found["input"]["size"])
    resampled = f"; the scaling makes {sides(own)} of them for the default" if scaled else ""
    grid.add_row("images", image_words(found["input"]) + resampled)
    grid.add_row("builds", f"{_percent(found['builds'])} of {drawn} (seed {found['seed']})")
    for misfit in found["misfits"]:
        said = f"{near_place(misfit['where'])}: {misfit['message']}"
        what = "are refused by the file's growth" if misfit["by_rule"] else "do not"
        grid.add_row("", f"{_percent(misfit['share'])} {what}: {said}")
    fits = (
        f"{_percent(found['within_limits'])} of the draws ({limits})" if limits else "none stated"
    )
    grid.add_row("limits", fits)
    console.print()
    console.print(grid)


def _show_distribution(console: Console, found: Mapping[str, Any]) -> None:
    rows = {key: of for key, of in found["distribution"].items() if of["quantiles"]}
    if not rows:
        return
    table = plain_table(("draws", *rows), left=("draws",))
    for place, point in enumerate(next(iter(rows.values()))["quantiles"]):
        amounts = [amount(key, of["quantiles"][place]["value"]) for key, of in rows.items()]
        table.add_row(_share_words(point["share"]), *amounts)
    spread = [Text(bars(of["histogram"]), style="cyan") for of in rows.values()]
    table.add_row("spread", *spread)
    section(console, "What the draws cost", table)
    console.print(
        f"Of the {found['draws']:,} draws those that build, within the limits or not. So many of "
        "them have that much or less; the spread goes from the least to the most, on a logarithmic "
        "scale. memory: of training with the recipe's batch.",
        style="dim",
    )


def _show_ends(console: Console, found: Mapping[str, Any]) -> None:
    """The default, the smallest and the largest network, decision by decision."""
    words = [word for word in ("default", "smallest", "largest") if found[word] is not None]
    if not words:
        return
    columns = {word: found[word] for word in words}
    table = plain_table(("network", *words), left=("network",), wraps="network")
    for key in ("params", "macs"):
        table.add_row(key, *(amount(key, of[key]) for of in columns.values()), style="bold")
    if any(of["resolution"] != found["input"]["size"] for of in columns.values()):
        table.add_row("resolution", *(sides(of["resolution"]) for of in columns.values()))
    for hole in found["holes"]:
        name = hole["name"]
        if name.startswith("recipe."):
            continue
        chosen = [of["decisions"].get(name) for of in columns.values()]
        if any(name in of["decisions"] for of in columns.values()):
            table.add_row(name, *("–" if one is None else plain_value(one) for one in chosen))
    section(
        console,
        "Ends",
        table,
        "by parameters: from the draws on, hole by hole, within the limits or not",
    )


def show_check(console: Console, found: Mapping[str, Any]) -> None:
    """A finding a line, and one that nothing is wrong where that is so."""
    for finding in found["findings"]:
        console.print(
            Text.assemble(
                near_place(finding["where"]), ": ",
                (finding["level"], LEVELS[finding["level"]]), ": ",
                finding["message"],
            ),
            soft_wrap=True,  # a line each, as compilers have it
        )  # fmt: skip
    if any(finding["level"] != "info" for finding in found["findings"]):
        return
    drawn = f"{found['draws']:,} draws of {counted(found['holes'], 'hole')}"
    looked = f"{drawn} on {image_words(found['input'])}" if found["holes"] else "no holes"
    console.print(f"{near(found['file'])}: nothing is wrong ({looked})")


def near_place(where: str) -> str:
    """`file:line` with the file as short as it can be typed here."""
    file, colon, line = where.rpartition(":")
    return f"{near(file)}{colon}{line}" if colon else near(where)


def bars(histogram: Sequence[int]) -> str:
    """Numbers as a line of bars; whatever is above 0 shows."""
    top = max(histogram, default=0)
    return "".join(BARS[-(-n * (len(BARS) - 1) // top) if n else 0] for n in histogram)


def amount(key: str, value: float) -> str:
    """Memory in bytes, all else as a count."""
    return show_bytes(value) if key == "memory" else show_amount(value)


def _share_words(share: float) -> str:
    named = {0.0: "least", 0.5: "median", 1.0: "most"}
    return named.get(share, f"{100 * share:g} %")


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"

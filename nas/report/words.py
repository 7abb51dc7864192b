"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CAUSES = {
    "finished": "trained to the last epoch of their stage",
    "stalled": "ended early: the validation no longer rose",
    "pruned": "stopped: others had been better at the same epoch",
    "exploded": "stopped: the training loss passed 3 times its first value",
    "nan": "stopped: a loss, or the validation figure, was no number any more",
    "out_of_memory": "the network did not fit into the device's memory",
    "infeasible": "over the limits of the space, or of shapes that do not fit; refused untrained",
    "failed": "an error; the log has the traceback",
    "budget": "cut off by the end of the search's share of the budget",
    "duplicates": "drawn again, not trained again (beside the total)",
}


def percent(value: float | None) -> str:
    """0.91234 -> "91.23 %"."""
    return "–" if value is None else f"{100 * value:.2f} %"


def counted(counts: Mapping[str, int]) -> str:
    """The ends that occurred: "9 finished, 3 pruned"."""
    told = [
        f"{number} {cause.replace('_', ' ')}"
        for cause, number in counts.items()
        if number and cause != "total"
    ]
    return ", ".join(told)


def near(path: str | Path) -> str:
    """A path as short as it can be typed here: below the working folder, or absolute."""
    path = Path(path)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def number(value: float) -> str:
    """A range's end: 0.000123, 1e-06, 0.5, 3."""
    return f"{value:.3g}"

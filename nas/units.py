"""What people write for amounts, and back: "50gpu-h,200trials", "5M", 93 s -> "1 min 33 s"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import UserError, hint

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
SUFFIXES = {"k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
UNITS = (*SECONDS, "gpu-h", "cpu-h", "trials", "epochs")
BUDGET_EXAMPLE = (
    "write a number and a unit of s, min, h (wall clock), gpu-h, cpu-h, trials, epochs, "
    "joined by commas, such as 90min or 50gpu-h,200trials"
)


@dataclass(frozen=True)
class Budget:
    """Upper bounds on a search; None: no bound. Whichever is reached first ends it.

    wall_seconds    from the program's start, the final training inside, the export outside
    device_seconds  summed over the devices, fractions as fractions. gpu-h: of GPUs; without one,
                    the same as cpu-h: of trial slots on the CPU, whatever their threads. A search
                    on GPUs takes no cpu-h (`search.request` refuses it)
    trials          trials that got a device, trial 0 included, final trainings not
    epochs          epochs trained, over all trials
    """

    text: str
    wall_seconds: float | None = None
    device_seconds: float | None = None
    trials: int | None = None
    epochs: int | None = None


def parse_budget(text: str) -> Budget:
    """`"50gpu-h,200trials"` to a Budget. Raises UserError for anything unreadable or zero."""
    found: dict[str, float] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z][a-z-]*)\s*", part)
        if not match:
            raise UserError(f"budget {text!r} cannot be read at {part.strip()!r}: {BUDGET_EXAMPLE}")
        number, (field, factor) = float(match[1]), _budget_unit(match[2], text)
        amount = number * factor
        if field in ("trials", "epochs") and amount != int(amount):
            raise UserError(f"budget {text!r}: {field} are counted whole, not {number:g}")
        if amount <= 0:
            raise UserError(f"budget {text!r} is zero: nothing could be trained; {BUDGET_EXAMPLE}")
        if field in found:
            raise UserError(f"budget {text!r} bounds the same thing twice; {BUDGET_EXAMPLE}")
        found[field] = amount
    whole = {key: int(found[key]) for key in ("trials", "epochs") if key in found}
    return Budget(text, found.get("wall_seconds"), found.get("device_seconds"), **whole)


def _budget_unit(unit: str, text: str) -> tuple[str, float]:
    if unit in SECONDS:
        return "wall_seconds", SECONDS[unit]
    if unit in ("gpu-h", "cpu-h"):
        return "device_seconds", 3600.0
    if unit in ("trial", "trials"):
        return "trials", 1.0
    if unit in ("epoch", "epochs"):
        return "epochs", 1.0
    near = hint(unit, UNITS)
    asked = near if "did you mean" in near else f": {BUDGET_EXAMPLE}"
    raise UserError(f"budget {text!r} has the unknown unit {unit!r}{asked}")


def parse_seconds(text: object) -> float:
    """`"5min"`, `"1h"`, `"90s"`, `90` to seconds. Raises ValueError for anything else or none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)?", str(text).strip())
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{text!r} must be a time above 0, such as 90s, 5min or 1h")
    return float(match[1]) * SECONDS[match[2] or "s"]


def parse_amount(value: object) -> float:
    """`5M`, `1.5k`, `600` to a number. Raises ValueError for anything else or nothing above 0."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", str(value).strip())
        if not match:
            raise ValueError(f"{value!r} must be a number, with k, M or G behind it if wanted (5M)")
        number = float(match[1]) * SUFFIXES.get(match[2], 1)
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} must be above 0")
    return number


def show_amount(number: float) -> str:
    """5_288_548 -> "5.29M", 812 -> "812"; three significant digits, for tables."""
    for suffix, factor in reversed(SUFFIXES.items()):
        scaled = number / factor
        if abs(scaled) >= 0.9995:  # what rounds to 1 of it: 999,500 are 1M, not 1000k
            return f"{scaled:.3g}{suffix}" if abs(scaled) < 999.5 else f"{scaled:.0f}{suffix}"
    return f"{number:.3g}"


def counted(number: int, noun: str) -> str:
    """ "1 CPU", "2 CPUs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def show_seconds(seconds: float) -> str:
    """93 -> "1 min 33 s", 7320 -> "2 h 2 min", 4.26 -> "4.3 s", 0.038 -> "0.04 s"."""
    if 0 < seconds < 0.095:
        return f"{seconds:.1g} s" if seconds >= 0.001 else "under 0.001 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def show_bytes(count: float) -> str:
    """77_070_336 -> "73.5 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")

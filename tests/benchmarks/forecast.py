"""How near `nas plan` comes: the forecast, then the search itself, one after the other.

python -m tests.benchmarks.forecast --data digits --budgets 60s 120s 200trials
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--space", default="tiny")
    words.add_argument("--data", default="digits")
    words.add_argument("--budgets", nargs="+", default=["60s", "120s", "200trials"])
    words.add_argument("--seed", default="0")
    asked = words.parse_args()
    given = ["--space", asked.space, "--data", asked.data, "--seed", asked.seed]
    rows = [compare([*given, "--budget", budget], budget) for budget in asked.budgets]
    print(json.dumps(rows, indent=2))


def compare(words: list[str], budget: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        plan = run("plan", *words)
        pilot = time.monotonic() - began
        began = time.monotonic()
        found = run("search", *words, "--run-dir", str(Path(folder) / "run"))
        wall = time.monotonic() - began
    trials = found["trials"]["total"] - found["trials"]["infeasible"]
    return {
        "budget": budget,
        "plan_seconds": round(pilot, 1),
        "trials": {"forecast": plan["trials"], "actual": trials},
        "trials_ratio": round(plan["trials"] / trials, 2),
        "wall_seconds": {"forecast": round(plan["wall_seconds"], 1), "actual": round(wall, 1)},
        "wall_ratio": round(plan["wall_seconds"] / wall, 2),
        "stages": {
            "forecast": {row["name"]: row["trials"] for row in plan["stages"]},
            "actual": {row["name"]: row["trials"] for row in found["stages"]},
        },
        "final": plan["final"],
        "ends": found["trials"],
        "pilot": plan["pilot"],
        "starting_seconds": plan["starting_seconds"],
        "budget_spent": found["budget"],
    }


def run(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "nas", *words, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()

"""What a run found, read from its folder alone: finished, broken off, or still running."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..rundir import CANDIDATES, RunDir

OBJECTIVE = "validation accuracy"
CAUSES = (
    "finished", "stalled", "pruned", "exploded", "nan", "out_of_memory", "infeasible", "failed",
    "budget",
)  # fmt: skip
NETWORK_KEYS = ("trial", "validation", "validation_std", "test", "params", "macs")


def summary(run: RunDir) -> dict[str, Any]:
    """The object of `nas search --json`; plain values, fit for JSON.

    `best` and `reference` are null until something is exported, `stopped` until a session came to
    its end (`state` says whether the run is running or was killed).
    """
    request, state = run.request, run.stages()
    results = state.get("results") or {}
    asked = (request.space_name, request.data, request.seed, request.budget)
    found = _frame(str(run.path), *asked, state)
    found |= {
        "best": _network(run, results.get("best")),
        "reference": _network(run, results.get("reference")),
        "state": run_state(run, state),
        "best_so_far": best_so_far(run),
        "finalists": _finalists(state, results),
        "strategy": request.strategy,
        "device": request.device,
        "trials_at_once": request.trials_at_once,
    }
    return dict(_finite(found))


def nothing(space: str | None, data: str | None, seed: int, budget: str | None) -> dict[str, Any]:
    """The same object for a search that was interrupted before it had a folder."""
    return _frame(None, space, data, seed, budget, {"stopped": "interrupted"})


def _frame(
    path: str | None,
    space: str | None,
    data: str | None,
    seed: int,
    budget: str | None,
    state: Mapping[str, Any],
) -> dict[str, Any]:
    counts = state.get("trials", {})
    return {
        "run": path,
        "space": space,
        "data": data,
        "seed": seed,
        "objective": OBJECTIVE,
        "best": None,
        "reference": None,
        "trials": {key: counts.get(key, 0) for key in ("total", *CAUSES, "duplicates")},
        "stages": state.get("stages", []),
        "budget": {
            "asked": budget,
            "spent_device_seconds": 0.0,
            "wall_seconds": 0.0,
            "reserved_final_seconds": 0.0,
            **state.get("budget", {}),
        },
        "stopped": state.get("stopped"),
        "notes": state.get("notes", []),
    }


def run_state(run: RunDir, state: dict[str, Any]) -> str:
    """running, finished, failed (nothing survived), interrupted, error, or killed."""
    if run.holder() is not None:
        return "running"
    if state.get("ended"):
        return "finished" if state.get("finalists") else "failed"
    return str(state.get("stopped") or "killed")


def best_so_far(run: RunDir) -> dict[str, Any] | None:
    """Number and validation of the best trial that ended with a result, finals left out."""
    best: dict[str, Any] | None = None
    for row in run.trials():
        if row["cause"] not in CANDIDATES or row["stage"] == "final":
            continue
        value = _number(row["validation"])
        if value is not None and (best is None or value > best["validation"]):
            best = {"trial": int(row["trial"]), "validation": value}
    return best


def _network(run: RunDir, exported: dict[str, Any] | None) -> dict[str, Any] | None:
    if exported is None:
        return None
    path: Path = run.path / exported["name"]
    return {
        "architecture": f"{path}.yaml",
        "weights": f"{path}.pt",
        **{key: exported[key] for key in NETWORK_KEYS},
    }


def _finalists(state: dict[str, Any], results: dict[str, Any]) -> list[dict[str, Any]]:
    """The finalists, best first, with the test accuracies of those that were tested."""
    exported = [results[key] for key in ("best", "reference") if results.get(key)]
    tested = {network["weights_from"]: network["test"] for network in exported}
    return [
        {**entry, "test": tested.get(entry["weights_from"])}
        for entry in state.get("finalists") or []
    ]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _finite(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value

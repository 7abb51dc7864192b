"""A run folder as a search leaves it, written without a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.rundir import Request, RunDir

COUNTS = {
    "total": 9, "finished": 4, "stalled": 1, "pruned": 1, "exploded": 1, "nan": 0,
    "out_of_memory": 1, "infeasible": 1, "failed": 0, "budget": 0, "duplicates": 2,
}  # fmt: skip
STAGES = [
    {"name": "coarse", "trials": 5, "epochs": 2, "ranges": {"recipe.lr": [0.001, 1.0]}},
    {"name": "fine-1", "trials": 3, "epochs": 4, "ranges": {"recipe.lr": [0.01, 0.4]}},
    {"name": "final", "trials": 6, "epochs": 12, "ranges": {"recipe.lr": [0.1, 0.2]}},
]


def finalist(candidate: int, validation: float, **other: Any) -> dict[str, Any]:
    return {
        "candidate": candidate, "final": True, "complete": True, "trials": [10 + candidate],
        "weights_from": 10 + candidate, "validation": validation, "validation_std": 0.0042,
        "seeds": 3, "epochs": 12, "full_epochs": 12, "params": 23_232, "macs": 352_640,
        "device_seconds": 31.4, **other,
    }  # fmt: skip


def ended(**changes: Any) -> dict[str, Any]:
    """stages.json of a search that spent its budget."""
    return {
        "stopped": "budget",
        "ended": True,
        "stages": STAGES,
        "budget": {
            "asked": "3min", "spent_device_seconds": 300.5, "wall_seconds": 179.0,
            "reserved_final_seconds": 60.0,
        },
        "trials": COUNTS,
        "notes": [],
        "finalists": [finalist(7, 0.9653), finalist(0, 0.9514)],
        **changes,
    }  # fmt: skip


def exported(name: str, candidate: int) -> dict[str, Any]:
    return {
        "name": name, "weights_from": 10 + candidate, "trial": candidate, "validation": 0.9653,
        "validation_std": 0.0042, "seeds": 3, "epochs": 12, "test": 0.9722, "params": 23_232,
        "macs": 352_640,
    }  # fmt: skip


RESULTS = {"best": exported("best", 7), "reference": exported("reference", 0)}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunDir]:
    def make(
        state: dict[str, Any] | None = None, name: str = "run", data: str = "digits"
    ) -> RunDir:
        request = Request(
            space="/spaces/tiny.yaml", space_name="tiny", space_digest="", source_digest="",
            shipped=True, data=data, budget="3min", trials_at_once=2,
        )  # fmt: skip
        run = RunDir.create(tmp_path / name, request, "network: []\n", {})
        if state is not None:
            run.write_stages(state)
        return run

    return make


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    def make(trial: int, cause: str | None, validation: float | None, stage: str = "coarse") -> Any:
        return {
            "trial": trial, "stage": stage, "cause": cause, "validation": validation, "epochs": 2,
            "epoch": 2, "device_seconds": 1.0, "params": 1, "macs": 1, "seed": trial,
            "candidate": None, "error": None,
        }  # fmt: skip

    return make

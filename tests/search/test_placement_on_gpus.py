"""What only a GPU can show: `pytest -m gpu`."""

from __future__ import annotations

import json

import pytest
import torch

import nas
from nas.data import load
from nas.search.backend.sharing import share_gpu
from nas.search.loadtest import settled_by
from nas.search.machine import this_machine
from nas.search.pilot import CONTEXT
from nas.search.placement import AUTO, Placement, Wish, place, sharing

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
]


def test_auto_packs_a_gpu_by_what_it_measures():
    node, data = this_machine(), load("digits", seed=0)
    found = place(
        Wish(gpus_per_trial=AUTO), "cuda", (node,), memory=node.gpu_memory,
        settled=settled_by(nas.load("tiny"), data, "cuda"),
    )  # fmt: skip
    together = sharing(found.gpus_per_trial)
    assert found.trials_at_once == node.gpus * together
    assert found.why.startswith("measured: 1 at once ")
    assert node.cpus < 4 or together > 1, "a network this small leaves a GPU idle"


def test_a_trial_that_takes_more_than_its_share_runs_out_of_memory_itself():
    node = this_machine()
    share_gpu(Placement((node,), None, "cuda", 4, 0.25, 1, 1, node.gpu_memory // 4))
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(node.gpu_memory // 4 + CONTEXT, dtype=torch.uint8, device="cuda")
        torch.empty(node.gpu_memory // 8, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
        torch.cuda.empty_cache()


def test_a_search_with_four_trials_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = nas.search(
        "tiny", data="digits", budget="8trials", device="cuda", gpus_per_trial=0.25,
        trials_at_once=4, constants={"recipe.epochs": 2}, run_dir="run",
    )  # fmt: skip
    assert run.summary["trials"]["total"] >= 8 and run.best is not None
    kept = json.loads((tmp_path / "run" / "environment.json").read_text())["placement"]
    assert kept["gpus_per_trial"] == 0.25 and kept["trials_at_once"] == 4

"""What a search would do, without doing it: `nas search --dry-run`."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.nn import functional

from ..models import Cost, build, cost
from ..search.core import FEW_TRIALS
from ..search.ledger import RESERVE_SHARE
from ..search.machine import here
from ..search.request import Prepared
from ..search.rungs import ETA, Rungs
from ..search.stages import COARSE_FRACTION, COARSE_UNTIL, FINE_FRACTION
from ..space import Architecture, Space, count, fill
from ..train.recipe import Recipe
from ..units import Budget, parse_budget, show_seconds

STEPS = 3  # timed, after one that is not
STARTUP_SECONDS = 10.0  # of Python, Ray and the workers
BACKWARD = 3  # a training step costs about three times the forward pass of a validation


def forecast(prepared: Prepared) -> dict[str, Any]:
    """Space, default network and what the budget holds; plain values, fit for JSON.

    Times a few training steps of the default network on this machine, alone; nothing is written.
    """
    request, data = prepared.request, prepared.data
    first = default_network(prepared.space)
    recipe = Recipe.from_mapping(first.recipe)
    price = cost(first, classes=data.num_classes, channels=data.channels, size=data.size)
    epoch = _epoch_seconds(prepared, first, recipe)
    coarse = max(1, round(recipe.epochs * COARSE_FRACTION))
    fine = max(1, round(recipe.epochs * FINE_FRACTION))
    trials, wall = _budget_holds(prepared, parse_budget(request.budget), epoch, coarse, fine)
    searched = isinstance(prepared.space, Space)
    return {
        "space": request.space_name,
        "file": request.space,
        "architectures": count(prepared.space) if isinstance(prepared.space, Space) else 1,
        "holes": len(prepared.space.holes) if isinstance(prepared.space, Space) else 0,
        "limits": dict(prepared.space.limits),
        "data": data.describe(),
        "default": _figures(price),
        "device": request.device,
        "trials_at_once": request.trials_at_once,
        "gpus_per_trial": request.gpus_per_trial,
        "placement": prepared.placement.words(),
        "budget": request.budget,
        "epoch_seconds": epoch,
        "epochs": {"coarse": coarse, "fine": fine, "final": recipe.epochs},
        "trials": trials if searched else 1,
        "wall_seconds": wall,
        "warning": _warning(request.budget, epoch, coarse, recipe.epochs, trials),
    }


def _warning(budget: str, epoch: float, coarse: int, full: int, trials: int) -> str | None:
    """What to say of a budget that holds no search to speak of."""
    if trials >= FEW_TRIALS:
        return None
    return (
        f"the budget of {budget} is small for this space and data: a trial of {coarse} epochs "
        f"takes about {show_seconds(coarse * epoch)}, a final training of {full} about "
        f"{show_seconds(full * epoch)}; give a larger one, fewer epochs (--set recipe.epochs=…), "
        "or a space of smaller networks"
    )


def default_network(space: Space | Architecture) -> Architecture:
    """Trial 0."""
    return fill(space, space.default()) if isinstance(space, Space) else space


def _figures(price: Cost) -> dict[str, int]:
    return {"params": price.params, "macs": price.macs, "memory_bytes": price.memory}


def _epoch_seconds(prepared: Prepared, first: Architecture, recipe: Recipe) -> float:
    """An epoch of the default network, on one slot's share of the machine."""
    request, data = prepared.request, prepared.data
    device = torch.device(here(request.device))
    before = torch.get_num_threads()
    torch.set_num_threads(prepared.placement.threads)
    try:
        network = build(first, classes=data.num_classes, channels=data.channels, size=data.size)
        network.to(device).train()
        size = min(recipe.batch_size, len(data.train))
        images = torch.zeros(size, data.channels, *data.size, device=device)
        labels = torch.zeros(size, dtype=torch.int64, device=device)
        for step in range(1 + STEPS):
            if step == 1:
                began = time.perf_counter()
            loss = functional.cross_entropy(network(images), labels)
            torch.autograd.backward(loss)
            loss.item()  # waits for the device
        seconds = (time.perf_counter() - began) / STEPS / size
    finally:
        torch.set_num_threads(before)
    return seconds * (len(data.train) + len(data.validation) / BACKWARD)


def _budget_holds(
    prepared: Prepared, budget: Budget, epoch: float, coarse: int, fine: int
) -> tuple[int, float]:
    """Trials that the budget is expected to hold, and its wall seconds."""
    request = prepared.request
    slots, devices = request.trials_at_once, request.gpus_per_trial or 1.0
    # epochs of an average trial, half of the search's budget on coarse ones
    coarse_cost, fine_cost = halved(coarse), halved(fine)
    average = 1 / (COARSE_UNTIL / coarse_cost + (1 - COARSE_UNTIL) / fine_cost)
    bounds = []
    if budget.wall_seconds is not None:
        bounds.append(max(0.0, budget.wall_seconds - STARTUP_SECONDS) * slots / epoch)
    if budget.device_seconds is not None:
        bounds.append(budget.device_seconds / devices / epoch)
    if budget.epochs is not None:
        bounds.append(float(budget.epochs))
    trials = min((bound * (1 - RESERVE_SHARE) / average for bound in bounds), default=float("inf"))
    if budget.trials is not None:
        trials = min(trials, budget.trials)
    wall = trials * average * epoch / slots / (1 - RESERVE_SHARE) + STARTUP_SECONDS
    if budget.wall_seconds is not None:
        wall = min(wall, budget.wall_seconds)
    return max(1, int(trials)), wall


def halved(epochs: int) -> float:
    """Epochs of an average trial of that length, one in ETA passing each rung."""
    stops = [*Rungs.at(epochs), epochs]
    total, share, before = 0.0, 1.0, 0
    for stop in stops:
        total += share * (stop - before)
        share, before = share / ETA, stop
    return total

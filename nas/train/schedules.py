"""Learning-rate schedules, as shares of the recipe's `lr`, one value a step."""

from __future__ import annotations

import math
from collections.abc import Callable

from .recipe import Recipe

LONGEST_WARMUP = 0.5  # of a training, whatever the recipe says: the rest must anneal


def cosine(progress: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017, without restarts)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def step(progress: float) -> float:
    """A tenth at 50 % and again at 75 %, as He et al. 2015 trained on CIFAR-10."""
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def constant(progress: float) -> float:
    """No change."""
    return 1.0


SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": cosine,
    "step": step,
    "constant": constant,
}


class Schedule:
    """The learning rate of every step of a training of `steps` steps.

    The warm-up takes the same share of any training, so that a stage of a few epochs warms up
    and anneals as fully as the final training does.
    """

    def __init__(self, recipe: Recipe, steps: int) -> None:
        share = min(recipe.warmup_epochs / recipe.epochs, LONGEST_WARMUP)
        self.steps = steps
        self.warmup = round(share * steps)
        self._peak = recipe.lr
        self._shape = SHAPES[recipe.schedule]

    def lr(self, index: int) -> float:
        """The learning rate of step `index` (from 0)."""
        if index < self.warmup:
            return self._peak * (index + 1) / (self.warmup + 1)
        progress = (index - self.warmup) / max(self.steps - self.warmup, 1)
        return self._peak * self._shape(min(progress, 1.0))

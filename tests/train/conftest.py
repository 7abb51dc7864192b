"""Real digits, a small network with batch norm and dropout, and a trainer over both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from nas.train.loop import Trainer
from nas.train.recipe import Recipe

MEAN, STD = (0.3,), (0.38,)


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """x (1797, 1, 8, 8) uint8, y (1797,)."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    pixels = (x * 255 / 16).round().astype(np.uint8).reshape(-1, 1, 8, 8)
    return pixels[order], y[order].astype(np.int64)


def small_network(dropout: float = 0.0, norm: bool = True, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=not norm),
        nn.BatchNorm2d(16) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=not norm),
        nn.BatchNorm2d(32) if norm else nn.Identity(),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(32, 10),
    )


@pytest.fixture
def network() -> Callable[..., nn.Sequential]:
    return small_network


@pytest.fixture
def make_trainer(digits: tuple[np.ndarray, np.ndarray]) -> Callable[..., Trainer]:
    """A trainer on the first 1400 digits; keywords of Trainer, `recipe` as a mapping."""
    x, y = digits

    def make(
        model: nn.Module | None = None, recipe: dict[str, object] | None = None, **keywords: object
    ) -> Trainer:
        keywords.setdefault("train", (x[:1400], y[:1400]))
        keywords.setdefault("validation", (x[1400:], y[1400:]))
        return Trainer(
            small_network() if model is None else model,
            recipe=Recipe.from_mapping(recipe or {}),
            mean=MEAN,
            std=STD,
            **keywords,
        )

    return make

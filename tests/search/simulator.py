"""The product's simulated backend on a small space of the tests' own."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.search import simulated
from nas.search.simulated import exploded, trained
from nas.search.work import Ask
from nas.space import Architecture, parse

TEXT = """
name: simulated
network:
  - {name: stem, op: conv, channels: !choice [8, 16, 32]}
  - {name: body, op: conv, channels: x1, repeat: !int [1, 4]}
  - {op: global_pool}
  - {op: linear}
recipe:
  lr: !log {low: 1e-4, high: 10, default: 0.1}
  weight_decay: !log {low: 1e-6, high: 1e-2, default: 1e-4}
  epochs: 18
limits: {params: 1M}
"""


@dataclass(frozen=True)
class Price:
    params: int
    macs: int
    memory: int

    def limited(self, name: str) -> int:
        return int(getattr(self, name))


def quadratic(ask: Ask, recipe: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    """Best at lr 0.1; over lr 3 it explodes in its first epoch."""
    lr = float(recipe.get("lr", 0.1))
    if lr > 3:
        return exploded(epoch, lr)
    noise = random.Random(ask.seed).gauss(0, 0.002)
    height = 0.9 - 0.1 * abs(math.log10(lr / 0.1))
    return trained(epoch, height * (1 - math.exp(-epoch / 3)) + noise)


def price(architecture: Architecture) -> Price:
    """A price by formula: 1,000 parameters a channel and repetition."""
    width = int(architecture.network[0]["channels"])
    depth = int(architecture.network[1].get("repeat", 1))
    return Price(1000 * width * depth, 10_000 * width * depth, 10**6)


class Simulation(simulated.Simulation):
    """One session over a run folder, with the tests' defaults."""

    def __init__(
        self,
        folder: Path,
        budget: str,
        *,
        text: str = TEXT,
        slots: int = 2,
        strategy: str = "random",
        curve: simulated.Curve = quadratic,
        keep: int | None = 20,
        price: Callable[[Architecture], Price] = price,
        **options: Any,
    ) -> None:
        super().__init__(
            parse(text, path="simulated.yaml"), curve, budget=budget, folder=folder, gpus=slots,
            strategy=strategy, keep="all" if keep is None else f"top:{keep}", price=price,
            **options,
        )  # fmt: skip
        self.table, self.ledger, self.studies = (
            self.core.table, self.core.ledger, self.core._studies,
        )  # fmt: skip
        self.trained = self.epochs

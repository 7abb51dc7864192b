"""The work that the core hands to a backend: what a trial is while it is trained."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np

from .study import Trial


class Signal(enum.Enum):
    """What `next` says when it has no work."""

    WAIT = "wait"
    DONE = "done"


@dataclass(frozen=True)
class Ask:
    """A trial to train, in plain values that travel to a worker."""

    number: int
    stage: str
    architecture: str  # the text of its file
    epochs: int
    seed: int
    folder: str
    known_epoch: int  # the last epoch the study knows; the checkpoint may be ahead of it
    early_stopping: bool


@dataclass
class Live:
    """A trial that holds a slot, or waits to get one back."""

    ask: Ask
    trial: Trial
    paid_until: float = 0.0  # by the clock that stands still while the driver waits
    blocked: float = 0.0  # seconds that the driver had waited in place by then
    interval: float = 0.0  # seconds of work between its last two words
    waiting: bool = False  # for space on its disk, as its worker said last
    device_seconds: float = 0.0
    epoch: int = 0
    value: float | None = None
    share: float = 0.0  # of the epoch that runs
    deaths: int = 0
    started: bool = False  # its worker is up
    heard: float = 0.0  # when its worker gave the last sign of life
    peak_memory: float | None = None  # bytes on its device, where they are measured
    rungs: set[int] = field(default_factory=set)  # passed already


def seed_of(*entropy: int) -> int:
    """A seed of its own for these numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])

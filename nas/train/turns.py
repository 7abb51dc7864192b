"""The training and its caller take turns: whose clock runs, and whose random numbers.

A training is a generator; between two of its turns the caller does what it likes, for as long as
it likes, and draws from torch's global generators. Neither may show in the training.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Literal, TypeVar

import torch

T = TypeVar("T")


def derived_seed(seed: int, epoch: int, stream: str) -> int:
    """A seed for one stream ("order", "augment", "dropout") of one epoch.

    Since every epoch starts its streams anew from (seed, epoch), a checkpoint holds no state of
    a generator, and a resumed training draws what the uninterrupted one would have drawn.
    """
    text = f"{seed}/{epoch}/{stream}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "little")


class Turn:
    """A context for each turn of the training. `pause_every` seconds: when to hand over early."""

    def __init__(self, devices: Sequence[torch.device], pause_every: float | None) -> None:
        self._devices = devices
        self._pause_every = pause_every
        self._spent = 0.0
        self._since = 0.0
        self._own: list[torch.Tensor] | None = None
        self._callers: list[torch.Tensor] = []

    def __enter__(self) -> Turn:
        self._callers = self._random_states()
        if self._own is not None:
            self._set_random_states(self._own)
        self._since = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        self._spent += time.perf_counter() - self._since
        self._own = self._random_states()
        self._set_random_states(self._callers)
        return False

    def seconds(self) -> float:
        """Seconds of all turns so far, this one's included."""
        return self._spent + time.perf_counter() - self._since

    def over(self) -> bool:
        """This turn has lasted for `pause_every` seconds."""
        return (
            self._pause_every is not None and time.perf_counter() - self._since >= self._pause_every
        )

    def seed(self, seed: int) -> None:
        """Seed the global generators of the host and the devices: dropout draws from them."""
        torch.default_generator.manual_seed(seed)
        for index, device in enumerate(self._devices):
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed + index)  # each draws for other images
            elif device.type == "mps":
                torch.mps.manual_seed(seed)

    def _random_states(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        for device in self._devices:
            if device.type == "cuda":
                states.append(torch.cuda.get_rng_state(device))
            elif device.type == "mps":
                states.append(torch.mps.get_rng_state())
        return states

    def _set_random_states(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        drawing = [device for device in self._devices if device.type in ("cuda", "mps")]
        for device, state in zip(drawing, states[1:], strict=True):
            if device.type == "cuda":
                torch.cuda.set_rng_state(state, device)
            else:
                torch.mps.set_rng_state(state)


def take_turns(training: Generator[T, None, None], turn: Turn) -> Generator[T, None, None]:
    """The same items, each computed inside `turn` and handed over outside."""
    while True:
        with turn:
            try:
                item = next(training)
            except StopIteration:
                return
        yield item

"""What `auto` measures with: processes that train the space's default network, k of them at once.

They train by the real loop on the real data. Most of a measurement on a few cores is the start of
the first one; each step takes little over a second.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from pathlib import Path

from ..data import ImageData
from ..errors import ShapeError, UserError
from ..models import cost
from ..plugins import Plugin, read_plugin
from ..space import Architecture, Space, draw, fill
from ..train.recipe import Recipe
from .pilot import Work
from .pilots import Process, Starter
from .placement import Level, Settled, Threads, settle

PATIENCE_SECONDS = 60.0  # for a process to start and make its first steps, or to answer
DRAWS = 50  # of the space, whose memory the cost model predicts
HIGH = 0.9  # of them fit in what is reckoned with


class Pilots:
    """The processes, started as more are needed; used as a context."""

    def __init__(
        self,
        architecture: Architecture,
        data: ImageData,
        device: str,
        *,
        plugins: Sequence[Plugin] = (),
        beyond: int = 0,
        starter: Starter | None = None,
    ) -> None:
        """`beyond`: bytes that other networks of the space take above the default's; `starter`:
        one that has begun already."""
        self._stack = contextlib.ExitStack()
        self._work = Work((architecture.text,), data, device, 1, tuple(plugins))
        self._beyond, self._begun = beyond, starter
        self._running: list[Process] = []

    def __enter__(self) -> Pilots:
        self._starter = self._begun or self._stack.enter_context(Starter())
        self._work.write(self._starter.folder)  # torch is being loaded meanwhile
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.close()
        self._stack.close()

    def measure(self, trials: int, threads: int) -> Level:
        """So many trials at once for a moment. One that breaks counts as no progress at all."""
        self._start(trials)
        active = self._running[:trials]
        for process in active:
            process.ask(threads=threads)
        told = [process.answer(PATIENCE_SECONDS) for process in active]
        if any(each is None for each in told):
            if trials == 1:
                raise UserError(f"auto: the default network cannot be trained: {self._fault()}")
            return Level(trials, threads, 0.0)
        pace = sum(each["images"] / each["seconds"] for each in told if each)
        memory = max(int(each["memory"]) for each in told if each)
        return Level(trials, threads, pace, memory + self._beyond)

    def _fault(self) -> str:
        said = [process.last_words for process in self._running if process.last_words]
        late = f"it was killed, or no step ended within {PATIENCE_SECONDS:.0f} s; give numbers"
        return said[0] if said else self._starter.last_words or late

    def _start(self, wanted: int) -> None:
        """Have so many; one whose first steps break is noticed when it is asked."""
        self._running = [process for process in self._running if process.alive]
        new = [self._starter.start() for _ in range(wanted - len(self._running))]
        self._running += new
        for process in new:
            process.answer(PATIENCE_SECONDS)  # its first steps are made


def settled_by(
    space: Space | Architecture,
    data: ImageData,
    device: str,
    *,
    plugins: Sequence[str | Path] = (),
    starter: Starter | None = None,
) -> Settled:
    """What `place` asks of: the measurement on this machine."""
    first = fill(space, space.default()) if isinstance(space, Space) else space

    def settled(most: int, threads: Threads, memory: int) -> tuple[Level, list[Level]]:
        beyond = beyond_default(space, first, data)
        texts = [read_plugin(Path(plugin)) for plugin in plugins]
        with Pilots(first, data, device, plugins=texts, beyond=beyond, starter=starter) as pilots:
            return settle(pilots.measure, most, threads, memory)

    return settled


def beyond_default(space: Space | Architecture, first: Architecture, data: ImageData) -> int:
    """Bytes, by the cost model, that most networks of the space stay below, above the default's."""
    if not isinstance(space, Space):
        return 0

    def memory(architecture: Architecture) -> int:
        batch = Recipe.from_mapping(architecture.recipe).batch_size
        shape = {"classes": len(data.classes), "channels": data.channels}
        price = cost(architecture, **shape, size=data.size, batch=batch)
        fits = all(price.limited(name) <= most for name, most in space.limits.items())
        return int(price.memory) if fits else 0

    source, found = random.Random(0), []
    for _ in range(DRAWS):
        with contextlib.suppress(ShapeError):
            found.append(memory(fill(space, draw(space, source))))
    fitting = sorted(each for each in found if each)
    typical = fitting[int(HIGH * (len(fitting) - 1))] if fitting else 0
    return max(0, typical - memory(first))

"""What `auto` measures with: processes that train the space's default network, k of them at once.

Each is a plain Python of its own, as a worker will be, and trains by the real loop on the real
data, so that whatever trials fight for (cores, memory, a GPU's time) they fight for here as well.
A measurement takes a few seconds, most of them the start of the processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from ..data import AUGMENTATIONS, ImageData, Images
from ..errors import ShapeError, UserError
from ..models import build, cost
from ..plugins import load_plugins
from ..space import Architecture, Space, draw, fill, parse
from ..train.loop import Trainer
from ..train.recipe import Recipe
from .placement import Level, Settled, settle

LEAD_SECONDS = 0.2  # until all of them are at it
SECONDS = 1.0  # that count
TURN_SECONDS = 0.02
PATIENCE_SECONDS = 60.0  # for a process to start and make its first steps, or to answer
LAST_WORDS_SECONDS = 10.0  # for one that dies to print its traceback
CONTEXT = 600 * 2**20  # bytes of a GPU that CUDA itself takes in each process
DRAWS = 50  # of the space, whose memory the cost model predicts
HIGH = 0.9  # of them fit in what is reckoned with
PROGRAM = "from nas.search.loadtest import work; work()"
ARRAYS = ("train_x", "train_y", "validation_x", "validation_y")


class Pilots:
    """The processes, started as more are needed; used as a context."""

    def __init__(
        self,
        architecture: Architecture,
        data: ImageData,
        device: str,
        *,
        plugins: Sequence[str | Path] = (),
        beyond: int = 0,
    ) -> None:
        """`beyond`: bytes that other networks of the space take above the default's."""
        self._stack = contextlib.ExitStack()
        self._architecture, self._data, self._device = architecture, data, device
        self._plugins, self._beyond = plugins, beyond
        self._running: list[_Pilot] = []

    def __enter__(self) -> Pilots:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nas-")))
        _write_task(self._folder, self._architecture, self._data, self._device, self._plugins)
        return self

    def __exit__(self, *_: object) -> None:
        for pilot in self._running:
            pilot.close()
        self._stack.close()

    def measure(self, trials: int, threads: int) -> Level:
        """So many trials at once for a moment. One that breaks counts as no progress at all."""
        self._start(max(trials, 2) if not self._running else trials)
        active = self._running[:trials]
        for pilot in active:
            pilot.ask({"threads": threads})
        told = [pilot.answer() for pilot in active]
        if any(each is None for each in told):
            if trials == 1:
                raise UserError(f"auto: the default network cannot be trained: {active[0].fault()}")
            return Level(trials, threads, 0.0)
        pace = sum(each["images"] / each["seconds"] for each in told if each)
        memory = max(int(each["memory"]) for each in told if each)
        return Level(trials, threads, pace, memory + self._beyond)

    def _start(self, wanted: int) -> None:
        self._running = [pilot for pilot in self._running if pilot.alive]
        new = [_Pilot(self._folder) for _ in range(wanted - len(self._running))]
        self._running += new
        for pilot in new:
            pilot.answer()  # its first steps are made


class _Pilot:
    """One process, asked and answering in lines of JSON."""

    def __init__(self, folder: Path) -> None:
        home = str(Path(__file__).parents[2])
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - the process's, as long as it lives
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        self._late, self._said = False, ""  # late: or dead

    @property
    def alive(self) -> bool:
        return not self._late and self._process.poll() is None

    def ask(self, word: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        if self._late:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(word) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any] | None:
        """Its next line; None where it died, or takes too long."""
        assert self._process.stdout is not None
        line = None if self._late else _line(self._process.stdout, PATIENCE_SECONDS)
        if not line:
            if line is not None:  # its end: it is about to say why
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(LAST_WORDS_SECONDS)
            self._late = True
            self.close()
            return None
        told: dict[str, Any] = json.loads(line)
        return told

    def fault(self) -> str:
        """Why it gave no answer; once it is closed."""
        return self._said or f"no step ended within {PATIENCE_SECONDS:.0f} s; give numbers"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.close()
        if not self._errors.closed:
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            self._said = lines[-1] if lines else ""
            self._errors.close()


def _line(stream: IO[str], seconds: float) -> str | None:
    """A line (the writer flushes whole ones), "" at the end, None where nothing comes in time."""
    import select

    ready, _, _ = select.select([stream], [], [], seconds)
    return stream.readline() if ready else None


def settled_by(
    space: Space | Architecture,
    data: ImageData,
    device: str,
    *,
    plugins: Sequence[str | Path] = (),
) -> Settled:
    """What `place` asks of: the measurement on this machine."""
    first = fill(space, space.default()) if isinstance(space, Space) else space

    def settled(most: int, threads: Callable[[int], int], memory: int) -> tuple[Level, list[Level]]:
        beyond = beyond_default(space, first, data)
        with Pilots(first, data, device, plugins=plugins, beyond=beyond) as pilots:
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


# --- within the process -----------------------------------------------------------------------


def work() -> None:
    """A pilot's own life: make the first steps, then train for a moment whenever asked."""
    with os.fdopen(os.dup(1), "w") as out:  # what plug-ins print goes elsewhere
        os.dup2(2, 1)
        task, data = _read_task(Path(sys.argv[1]))
        steps = _images(task, data)
        next(steps)
        print(json.dumps({"ready": True}), file=out, flush=True)
        for line in sys.stdin:
            torch.set_num_threads(json.loads(line)["threads"])
            _train_for(steps, LEAD_SECONDS)
            before = next(steps)
            began = _now(task["device"])
            images = _train_for(steps, SECONDS) - before
            seconds = _now(task["device"]) - began
            told = {"images": images, "seconds": seconds, "memory": _memory(task)}
            print(json.dumps(told), file=out, flush=True)


def _images(task: dict[str, Any], data: ImageData) -> Iterator[int]:
    """Images trained so far, without end."""
    loaded = parse(task["architecture"], path="architecture.yaml")
    assert isinstance(loaded, Architecture)
    recipe, done = Recipe.from_mapping(loaded.recipe), 0
    batch = min(recipe.batch_size, len(data.train))
    while True:
        model = build(loaded, classes=len(data.classes), channels=data.channels, size=data.size)
        trainer = Trainer(
            model, (data.train.x, data.train.y), (data.validation.x, data.validation.y), recipe,
            mean=data.mean, std=data.std, device=task["device"], early_stopping=False,
            augment=AUGMENTATIONS.get(recipe.augment),
        )  # fmt: skip
        for _ in trainer.run(pause_every=TURN_SECONDS):
            yield done + trainer.steps * batch
        done += trainer.steps * batch


def _train_for(steps: Iterator[int], seconds: float) -> int:
    end, images = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        images = next(steps)
    return images


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _memory(task: dict[str, Any]) -> int:
    """Bytes that this process has taken of the device at the most."""
    if task["device"] == "cuda":
        return int(torch.cuda.max_memory_reserved()) + CONTEXT
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _write_task(
    folder: Path, architecture: Architecture, data: ImageData, device: str,
    plugins: Sequence[str | Path],
) -> None:  # fmt: skip
    arrays = (data.train.x, data.train.y, data.validation.x, data.validation.y)
    for name, array in zip(ARRAYS, arrays, strict=True):
        np.save(folder / f"{name}.npy", array)
    task = {
        "architecture": architecture.text, "device": device,
        "plugins": [str(Path(plugin).absolute()) for plugin in plugins],
        "classes": list(data.classes), "mean": list(data.mean), "std": list(data.std),
    }  # fmt: skip
    (folder / "task.json").write_text(json.dumps(task))


def _read_task(folder: Path) -> tuple[dict[str, Any], ImageData]:
    task = json.loads((folder / "task.json").read_text())
    load_plugins(task["plugins"])
    # one copy in memory for all of them, as Ray's object store has
    x, y, vx, vy = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    data = ImageData(
        "pilot", Images(x, y), Images(vx, vy), Images(vx[:0], vy[:0]),
        tuple(task["classes"]), tuple(task["mean"]), tuple(task["std"]),
    )  # fmt: skip
    return task, data

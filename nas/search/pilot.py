"""A few seconds of training before a search: what an epoch takes on one of its slots.

`measure` starts a process for every slot that trains beside it, as the search would: slots fight
for the memory's bandwidth and the caches. Each trains the same networks by the worker's own code,
checkpoints included, and stops as soon as it knows enough. `answers` is what such a process does,
also for `loadtest`, which asks for the images that it trains in a moment.
"""

from __future__ import annotations

import itertools
import json
import pickle
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data import ImageData, Images
from ..errors import RunError
from ..plugins import Plugin, load_plugins
from ..space import Architecture
from ..train.optimizers import make_optimizer
from ..train.recipe import Recipe
from ..units import show_seconds
from .pilots import Process, fresh
from .trainable import read, train, trainer_of, warm_up
from .work import Ask

ENOUGH_SECONDS = 1.5  # of training a network; more where it has not come to a measure yet
MOST_SECONDS = 20.0  # of training the first network, where a step of it takes no longer
OTHERS = 0.4  # of it, for each of the others: of them, steps are enough
EPOCHS = 2  # of a pilot trial: the second one tells the epoch, the rest the trial's own time
MOST_SLOTS = 16  # beyond which the others are taken to be alike
VALIDATION = 1 / 3  # of a training step's time, for the same images forward alone
PATIENCE_SECONDS = 600.0  # for an answer: torch is loaded, a step of a large network is trained
LEAD_SECONDS = 0.2  # of training images, until all processes are at it
MOMENT_SECONDS = 1.0  # that count
TURN_SECONDS = 0.02
RAY_SECONDS, RAY_SHARE = (
    4.3,
    0.35,
)  # of Ray's start: 5.1 s beside 2.7 of its workers, 8.3 beside 11.3
CONTEXT = 600 * 2**20  # bytes of a GPU that CUDA itself takes in each process
ARRAYS = ("train_x", "train_y", "validation_x", "validation_y")


@dataclass(frozen=True)
class Pace:
    """What a network takes on one slot, in seconds.

    epoch   one epoch: training, validation, checkpoint, report
    trial   a trial beside its epochs
    whole   whether an epoch was trained to its end; else the epoch is reckoned from its steps
    memory  the most bytes of the GPU that it held; None without a GPU
    """

    epoch: float
    trial: float
    whole: bool
    memory: int | None = None


@dataclass(frozen=True)
class Pilot:
    """`paces` of the networks in their order; `ready`: seconds that a worker takes to its first
    step."""

    paces: tuple[Pace, ...]
    ready: float

    @property
    def starting(self) -> float:
        """Seconds that a search takes to its workers' first step: Ray has to start before."""
        return RAY_SECONDS + self.ready * (1 + RAY_SHARE)


@dataclass(frozen=True)
class Work:
    """What a process is told, in a folder; each of them maps one copy of the images."""

    architectures: tuple[str, ...]
    data: ImageData
    device: str
    threads: int
    plugins: tuple[Plugin, ...]
    gpus: int = 1  # of each slot
    most_seconds: float = MOST_SECONDS
    folder: str = ""

    def write(self, folder: Path) -> None:
        for name, array in zip(ARRAYS, _arrays(self.data), strict=True):
            np.save(folder / f"{name}.npy", array)
        none = [array[:0] for array in _arrays(self.data)]
        work = replace(self, data=_with(self.data, none), folder=str(folder))
        (folder / "work").write_bytes(pickle.dumps(work))

    @classmethod
    def read(cls, folder: Path) -> Work:
        work = pickle.loads((folder / "work").read_bytes())
        assert isinstance(work, cls)
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
        return replace(work, data=_with(work.data, arrays))


def _arrays(data: ImageData) -> list[np.ndarray]:
    return [data.train.x, data.train.y, data.validation.x, data.validation.y]


def _with(data: ImageData, arrays: Sequence[np.ndarray]) -> ImageData:
    x, y, vx, vy = arrays
    return replace(data, train=Images(x, y), validation=Images(vx, vy), test=Images(vx[:0], vy[:0]))


def measure(
    networks: Sequence[Architecture],
    data: ImageData,
    *,
    device: str,
    slots: int,
    threads: int,
    plugins: Sequence[Plugin] = (),
    most_seconds: float = MOST_SECONDS,
    gpus: int = 1,
) -> Pilot:
    """Train each network for a moment on `slots` slots of one device at once.

    Raises RunError where a network cannot be trained here.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nas-pilot-")))
        texts = tuple(network.text for network in networks)
        Work(texts, data, device, threads, tuple(plugins), gpus, most_seconds).write(folder)
        began = time.monotonic()
        processes = [fresh(folder) for _ in range(min(slots, MOST_SLOTS))]
        for process in processes:
            stack.callback(process.close)
        for process in processes:
            _answer(process)
        ready = time.monotonic() - began
        told = []
        for index in range(len(networks)):
            for process in processes:
                process.ask(network=index, threads=threads)
            told.append([Pace(**_answer(process)) for process in processes])
    return Pilot(tuple(_together(paces) for paces in told), ready)


def _together(paces: Sequence[Pace]) -> Pace:
    memory = [pace.memory for pace in paces if pace.memory is not None]
    return Pace(
        statistics.fmean(pace.epoch for pace in paces),
        statistics.fmean(pace.trial for pace in paces),
        all(pace.whole for pace in paces),
        max(memory, default=None),
    )


def _answer(process: Process) -> dict[str, Any]:
    """Raises RunError with the last words of a process that gives none."""
    told = process.answer(PATIENCE_SECONDS)
    if told is None:
        late = f"it was killed, or gave no answer in {show_seconds(PATIENCE_SECONDS)}"
        raise RunError(
            f"the pilot measurement failed ({process.last_words or late}): nas spaces "
            "--check tells of a space that cannot be trained, nas train of one network"
        )
    return told


# --- in the process ---------------------------------------------------------------------------


def load_torch() -> None:
    """What torch itself imports with the first optimizer; nothing is computed."""
    make_optimizer(nn.Linear(1, 1), Recipe())


def answers(folder: Path, questions: Iterable[str]) -> Iterator[dict[str, Any]]:
    """An empty one when ready, the first steps being made; then one for each line of JSON.

    network, threads  its Pace by the worker's own code
    threads           of the first network, the images that are trained in a moment
    """
    work = Work.read(folder)
    torch.set_num_threads(work.threads)
    load_plugins(work.plugins)
    warm_up(work.device, work.gpus)
    images = _images(work)
    next(images)
    yield {}
    for line in questions:
        asked = json.loads(line)
        torch.set_num_threads(asked["threads"])
        if "network" in asked:
            most = work.most_seconds * (OTHERS if asked["network"] else 1.0)
            yield asdict(_pace(work.architectures[asked["network"]], work, most))
        else:
            yield _moment(images, work)


def _moment(images: Iterator[int], work: Work) -> dict[str, Any]:
    """`images` trained in `seconds`, and the bytes of the device that it takes at the most."""
    _train_for(images, LEAD_SECONDS)
    before = next(images)
    began = _now(work.device)
    trained = _train_for(images, MOMENT_SECONDS) - before
    seconds = _now(work.device) - began
    return {"images": trained, "seconds": seconds, "memory": _memory_taken(work.device)}


def _images(work: Work) -> Iterator[int]:
    """Images of the first network trained so far, without end."""
    done, ask = 0, Ask(0, "coarse", work.architectures[0], 1, 0, work.folder, 0, False)
    recipe = read(ask)[1]
    batch = min(recipe.batch_size, len(work.data.train))
    while True:
        trainer, _ = trainer_of(
            replace(ask, epochs=recipe.epochs), work.data, work.device, work.gpus
        )
        for _ in trainer.run(pause_every=TURN_SECONDS):
            yield done + trainer.steps * batch
        done += trainer.steps * batch


def _train_for(images: Iterator[int], seconds: float) -> int:
    end, trained = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        trained = next(images)
    return trained


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _memory_taken(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_reserved()) + CONTEXT
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _pace(text: str, work: Work, most_seconds: float) -> Pace:
    """Trials of EPOCHS epochs until enough is known; the median of what they took."""
    cuda = work.device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began, epochs, trials = time.monotonic(), list[float](), list[float]()
    for turn in itertools.count():
        moments = list(_moments(text, work, turn, began + most_seconds))
        if moments[-1][1] < EPOCHS:  # out of time
            return Pace(*_reckoned(moments, text, work), _memory(cuda))
        first, last = (next(t for t, share in moments if share == n) for n in (1, EPOCHS))
        epochs.append((last - first) / (EPOCHS - 1))
        trials.append(max(0.0, first - moments[0][0] - epochs[-1]))
        if time.monotonic() - began >= ENOUGH_SECONDS:
            break
    return Pace(statistics.median(epochs), statistics.median(trials), True, _memory(cuda))


def _memory(cuda: bool) -> int | None:
    return int(torch.cuda.max_memory_allocated()) if cuda else None


def _moments(text: str, work: Work, turn: int, end: float) -> Iterator[tuple[float, float]]:
    """(moment, epochs done) of a trial at its begin and at each of its reports."""
    with tempfile.TemporaryDirectory(dir=work.folder) as folder:
        yield time.monotonic(), 0.0
        ask = Ask(turn, "coarse", text, EPOCHS, turn, folder, 0, False)
        done, counted = 0, 0
        for report in train(ask, work.data, work.device, work.gpus):
            if report["kind"] == "epoch":
                done += 1
                yield time.monotonic(), float(done)
                if report["stop"] is not None:
                    return
            else:
                counted += 1
                yield time.monotonic(), done + float(report["share"])
            if time.monotonic() > end and done + counted >= 2:
                return


def _reckoned(
    moments: Sequence[tuple[float, float]], text: str, work: Work
) -> tuple[float, float, bool]:
    """Epoch, trial and whether an epoch came to its end, of a trial that did not."""
    began = moments[0][0]
    ends = [moment for moment, done in moments if done == 1]
    if ends:  # the second one was broken off: the trial's own time is in the first
        return ends[0] - began, 0.0, True
    (before, some), (after, more) = moments[1], moments[-1]
    if more <= some:  # one report alone
        before, some = began, 0.0
    steps = (after - before) / max(more - some, 1e-9)
    share = len(work.data.validation) / max(len(work.data.train), 1)
    return steps * (1 + VALIDATION * share), max(0.0, before - began - some * steps), False

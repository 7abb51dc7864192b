"""What runs on a worker: an Ask becomes a network, its training, and a report at a time.

No Ray here. A Worker lives as long as its process and trains one trial after the other; the data
come once.
"""

from __future__ import annotations

import csv
import faulthandler
import io
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from ..data import AUGMENTATIONS, ImageData
from ..errors import cut, words_of
from ..models import build
from ..plugins import Plugin, load_plugins
from ..rundir import is_full, write_text
from ..space import Architecture, parse
from ..train.determinism import be_deterministic
from ..train.epoch import EpochReport
from ..train.guard import BOUND, violation
from ..train.loop import Trainer
from ..train.recipe import Recipe
from . import conditions
from .checkpoints import restore, save
from .faults import is_out_of_memory
from .work import Ask

PAUSE_SECONDS = 1.0  # the most between two reports: how late a stop can come
Report = dict[str, Any]


class Worker:
    """Trains on one device, or on `gpus` GPUs. `threads` of the CPU, so that slots do not fight.

    `last_words`: a folder for a file in which a crash below Python (a segmentation fault) leaves
    where it happened.
    """

    def __init__(
        self,
        data: ImageData,
        device: str,
        threads: int,
        plugins: Sequence[Plugin] = (),
        deterministic: bool = False,
        last_words: Path | None = None,
        gpus: int = 1,
    ) -> None:
        torch.set_num_threads(threads)
        if deterministic:
            be_deterministic()
        load_plugins(plugins)
        warm_up(device, gpus)
        self._data, self._device, self._gpus = data, device, gpus
        self._last_words = None if last_words is None else keep_last_words(last_words)
        self._reports: Iterator[Report] = iter(())

    def begin(self, ask: Ask) -> None:
        """Take up a trial: from its checkpoint where there is one. Nothing runs before `step`."""
        self._reports = train(ask, self._data, self._device, self._gpus)

    def step(self) -> Report:
        """The next report: `kind` epoch, pause or failed. A fault of the candidate is a report."""
        try:
            return next(self._reports)
        except StopIteration:
            return {"kind": "failed", "cause": "failed", "error": "the training ended too early"}
        except Exception as error:
            told = cut(traceback.format_exc())
            self._reports = iter(())
            error.__traceback__ = None  # its frames hold the network and its tensors
            if self._device.startswith("cuda"):
                torch.cuda.empty_cache()
            cause = "out_of_memory" if _out_of_memory(error) else "failed"
            return {"kind": "failed", "cause": cause, "error": told}


def warm_up(device: str, gpus: int = 1) -> None:
    """Train a tiny network for a step, and keep it for a moment.

    Torch imports much of itself, and a GPU's libraries start, with the first step of a process
    (1.8 s on a CPU): no trial is to pay for that.
    """
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    images, labels = torch.zeros(4, 1, 4, 4).numpy(), torch.tensor([0, 1, 0, 1]).numpy()
    trainer = Trainer(
        model, (images, labels), (images, labels), Recipe(), mean=(0.0,), std=(1.0,), epochs=1,
        device=device, others=devices(device, gpus)[1:],
    )  # fmt: skip
    for _ in trainer.run():
        pass
    content = io.BytesIO()
    torch.save(trainer.state(), content)
    content.seek(0)
    torch.load(content, map_location="cpu", weights_only=True)


def train(ask: Ask, data: ImageData, device: str, gpus: int = 1) -> Iterator[Report]:
    """Train a trial; yields its reports: that it begins, those that the study missed, its own.

    The first comes before anything of the candidate runs, so that the driver knows the process
    in which it may hang.
    """
    yield {"kind": "pause", "share": 0.0}
    trainer, digest = trainer_of(ask, data, device, gpus)
    for each in devices(device, gpus) if device.startswith("cuda") else ():
        torch.cuda.reset_peak_memory_stats(each)
    folder = Path(ask.folder)
    restore(trainer, folder, digest)
    epoch = len(trainer.history)
    yield from patiently(folder, partial(conditions.note, ask, device, epoch, gpus))
    # a checkpoint is written before its report: the study may have missed the last epochs
    for report in trainer.history:
        if report.epoch > ask.known_epoch or report.epoch == len(trainer.history):
            yield as_report(report)
    for step in trainer.run(pause_every=PAUSE_SECONDS):
        if step is None:
            yield {"kind": "pause", "share": trainer.share_of_epoch}
            continue
        if step.stop not in ("exploded", "nan"):
            yield from patiently(folder, partial(save, trainer, folder, digest))
        rows = [*trainer.history, *([step] if step.broken else [])]  # at which step, by how much
        yield from patiently(folder, partial(write_metrics, folder / "metrics.csv", rows))
        yield {**as_report(step), "peak_memory": peak_memory(data, device, gpus)}


def devices(device: str, gpus: int) -> list[str]:
    """Those of a training on so many GPUs; Ray shows a worker its own alone, from 0 on."""
    return [device, *(f"cuda:{index}" for index in range(1, gpus))]


def read(ask: Ask) -> tuple[Architecture, Recipe]:
    """A trial's network and recipe."""
    loaded = parse(ask.architecture, path=f"trials/{ask.number}/architecture.yaml")
    assert isinstance(loaded, Architecture)
    return loaded, Recipe.from_mapping(loaded.recipe)


def trainer_of(ask: Ask, data: ImageData, device: str, gpus: int = 1) -> tuple[Trainer, str]:
    """A trial's network and training at their beginning, and the digest of its file."""
    loaded, recipe = read(ask)
    torch.manual_seed(ask.seed)
    model = build(loaded, classes=len(data.classes), channels=data.channels, size=data.size)
    trainer = Trainer(
        model,
        (data.train.x, data.train.y),
        (data.validation.x, data.validation.y),
        recipe,
        mean=data.mean,
        std=data.std,
        epochs=ask.epochs,
        seed=ask.seed,
        device=device,
        others=devices(device, gpus)[1:],
        augment=AUGMENTATIONS.get(recipe.augment),
        early_stopping=ask.early_stopping,
    )
    return trainer, loaded.digest


def as_report(report: EpochReport) -> Report:
    """An epoch's figures as plain values, with the constraint of a divergence."""
    values = asdict(report)
    if report.stop in ("exploded", "nan"):
        # a validation that is no number says nothing of the training loss's ratio
        sound = report.ratio is not None and report.ratio <= BOUND
        values["violation"] = violation(None if sound else report.ratio)
    return {"kind": "epoch", **values}


def peak_memory(data: ImageData, device: str, gpus: int = 1) -> int | None:
    """Bytes of one device that the training has taken at the most, its images left out.

    None where that cannot be measured.
    """
    if not device.startswith("cuda"):
        return None
    images = sum(part.x.nbytes + part.y.nbytes for part in (data.train, data.validation))
    first, *others = (int(torch.cuda.max_memory_allocated(d)) for d in devices(device, gpus))
    return max(0, first - images, *others)


def patiently(folder: Path, write: Callable[[], None]) -> Iterator[Report]:
    """Write. While the disk is full, a report a second says so: the driver decides how long."""
    while True:
        try:
            write()
            return
        except OSError as error:
            if not is_full(error):
                raise
        yield {"kind": "pause", "share": 1.0, "full": str(folder)}
        time.sleep(PAUSE_SECONDS)


def write_metrics(path: Path, history: list[EpochReport]) -> None:
    """metrics.csv: one row an epoch."""
    text = io.StringIO()
    columns = list(EpochReport.__dataclass_fields__)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(report) for report in history)
    write_text(path, text.getvalue())


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and is_out_of_memory(words_of(error))


def keep_last_words(folder: Path) -> IO[str]:
    """Have a fatal signal write this process's stack into a file of its own; keep it open."""
    file = last_words_of(folder, os.getpid()).open("w")
    faulthandler.enable(file, all_threads=False)
    return file


def last_words_of(folder: Path, pid: int) -> Path:
    return folder / f".worker-{pid}"

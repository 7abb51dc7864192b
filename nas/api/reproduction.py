"""`nas train trials/17/architecture.yaml --exact`: a trial's curve, computed again."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data import load as load_data
from ..errors import RunError, UserError
from ..plugins import load_plugins
from ..rundir import RunDir
from ..search import conditions, trainable
from ..search.conditions import Conditions
from ..search.machine import gpus_here
from ..search.request import are_images_of, pick_device
from ..search.work import Ask
from ..train.determinism import be_deterministic
from ..train.epoch import EpochReport

OTHER_IMAGES = " (the images or labels are not those that the run was begun with)"
TIMED = ("seconds",)  # columns of metrics.csv that no two trainings share
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Reproduction:
    """A trial trained again. `difference` None: every epoch gave the same figures."""

    run: Path
    trial: int
    epochs: int  # that were compared
    difference: str | None

    @property
    def equal(self) -> bool:
        return self.difference is None


def reproduce(
    architecture: str | Path,
    *,
    data: str | Path | None = None,
    view: Callable[[Report], None] | None = None,
) -> Reproduction:
    """Train a trial of a run again as it was trained, and compare with its metrics.csv.

    architecture  RUN/trials/<n>/architecture.yaml; seed, length, threads come from beside it
    data          None: where the run's data were

    Writes nothing. It ends at the first epoch that differs. Raises RunError where the file is
    of no trial, or the trial has no epoch.
    """
    run, number = _trial(Path(architecture))
    folder = run.trial(number)
    rows, under, request = _rows(folder), conditions.read(folder), run.request
    load_plugins(run.plugins)
    device = pick_device(under.device)
    if under.deterministic:
        be_deterministic()
    images = load_data(str(data) if data is not None else request.data, seed=request.seed)
    ask = Ask(
        number=number, stage="exact", architecture=(folder / "architecture.yaml").read_text(),
        epochs=under.epochs, seed=under.seed, folder=str(folder), known_epoch=0,
        early_stopping=under.early_stopping,
    )  # fmt: skip
    threads = torch.get_num_threads()
    try:
        difference, compared = None, 0
        for row, report in zip(rows, _again(ask, images, device, under, view), strict=False):
            difference, compared = _difference(row, report), compared + 1
            if difference is not None:
                break
        if difference is None and compared < len(rows):
            difference = f"it ended after {compared} epochs, the trial after {len(rows)}"
    finally:
        torch.set_num_threads(threads)
    if difference is not None:
        same = are_images_of(request, images)
        difference += _excuse(under, device) if same else OTHER_IMAGES
    return Reproduction(run.path, number, compared, difference)


def _trial(file: Path) -> tuple[RunDir, int]:
    """The run that the file is of a trial of. Raises UserError."""
    folder = file.absolute().parent
    if not file.is_file():
        raise UserError(f"{file} does not exist; --exact takes RUN/trials/<n>/architecture.yaml")
    if file.name != "architecture.yaml" or folder.parent.name != "trials":
        raise RunError(f"{file} is no trial's: --exact takes RUN/trials/<n>/architecture.yaml")
    if not folder.name.isdecimal():
        raise RunError(f"{folder} is no trial's folder: its name must be the trial's number")
    return RunDir.open(folder.parent.parent), int(folder.name)


def _rows(folder: Path) -> list[dict[str, str]]:
    file = folder / "metrics.csv"
    try:
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
    except FileNotFoundError:
        rows = []
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if not rows:
        raise RunError(f"trial {folder.name} has no epoch in {file}: nothing to compare with")
    missing = set(EpochReport.__dataclass_fields__) - set(rows[0])
    if missing:
        raise RunError(f"{file} has no column {min(missing)}: it was edited, or by another nas")
    return rows


def _again(
    ask: Ask,
    data: Any,
    device: str,
    under: Conditions,
    view: Callable[[Report], None] | None,
) -> Iterator[EpochReport]:
    torch.set_num_threads(under.threads_after(0))
    trainer, _ = trainable.trainer_of(ask, data, device, gpus_here(device, under.gpus))
    for report in trainer.run():
        assert report is not None  # no pauses were asked for
        if view is not None:
            view(trainable.as_report(report))
        yield report
        torch.set_num_threads(under.threads_after(report.epoch))


def _difference(row: Mapping[str, str], report: EpochReport) -> str | None:
    for name in EpochReport.__dataclass_fields__:
        value = getattr(report, name)
        told = "" if value is None else str(value)
        if name not in TIMED and row[name] != told:
            apart = _apart(row[name], told)
            was = row[name] or "empty"
            return f"epoch {report.epoch} differs: {name} was {was}, is {told}{apart}"
    return None


def _apart(was: str, told: str) -> str:
    """How far two long numbers are apart, which the eye does not see."""
    try:
        before, now = float(was), float(told)
    except ValueError:
        return ""
    if before == now:
        return " (the same number, written otherwise: the file was edited)"
    return f" (they are {abs(now - before):.1e} apart)"


def _excuse(under: Conditions, device: str) -> str:
    """What may explain a difference."""
    if under.torch != str(torch.__version__):
        return f" (trained with torch {under.torch}, this is {torch.__version__})"
    if under.gpus > gpus_here(device, under.gpus):
        return f" (its batches were split over {under.gpus} GPUs, here there are fewer)"
    if device != "cpu" and not under.deterministic:
        return f" (a {device} repeats its figures only in a search with --deterministic)"
    return ""

"""Train one architecture file, as the final training of a search does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import export
from ..data import ImageData, locate
from ..data import load as load_data
from ..errors import NasError, RunError, UserError
from ..models import cost
from ..rundir import RunDir, settle, write_text
from ..search import trainable
from ..search.request import check_default, pick_device
from ..search.work import Ask
from ..space import Architecture, load, require_architecture
from ..train.determinism import be_deterministic
from ..train.recipe import Recipe

RECORD = "training.json"
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """A trained network: its files, and accuracies as fractions."""

    file: Path
    weights: Path
    epochs: int
    validation: float
    test: float
    params: int
    macs: int


def train(
    architecture: Architecture | str | Path,
    *,
    data: str | Path,
    out: str | Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str | None = None,
    constants: Mapping[str, object] | None = None,
    deterministic: bool = False,
    view: Callable[[Report], None] | None = None,
) -> Training:
    """Train an architecture on data in full, test it, save `model.yaml` and `model.pt` in `out`.

    Goes on from the checkpoint that an earlier call left in `out` (default ./runs/train-<name>).
    `constants`: `{"network.fc.channels": 10}`, put in the place of values of the file. `epochs`
    None: the recipe's. The recipe's `patience` does not end it. `deterministic`: for the rest of
    the process a GPU repeats its figures exactly. `view` is called with every epoch's figures.
    Raises UserError; NasError where the training explodes.
    """
    if isinstance(architecture, Architecture):
        loaded = architecture
    else:
        loaded = require_architecture(load(architecture, constants=constants))
    if epochs is not None and epochs < 1:
        raise UserError(f"--epochs {epochs} must be at least 1")
    device = pick_device(device)
    if deterministic:
        be_deterministic()
    images = load_data(str(data), seed=seed)
    check_default(loaded, images, device)
    length = epochs or Recipe.from_mapping(loaded.recipe).epochs
    record = {
        "architecture": loaded.digest, "data": locate(str(data)), "epochs": length, "seed": seed,
        "deterministic": deterministic,
    }  # fmt: skip
    folder = _folder(Path(out) if out is not None else Path("runs") / f"train-{loaded.name}")
    with RunDir(folder).lock():
        done = _done(folder, record)
        return done or _train(folder, loaded, images, record, device, view)


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--out {path} cannot be made: {error.strerror}") from None
    files = [file.name for file in path.iterdir() if not file.name.startswith(".")]
    if files and RECORD not in files:
        raise RunError(f"--out {path} holds other files ({files[0]}, …): name an empty folder")
    return path.absolute()


def _done(folder: Path, record: Mapping[str, Any]) -> Training | None:
    """What an earlier call finished. Raises RunError where it trained something else."""
    file = folder / RECORD
    if not file.exists():
        write_text(file, json.dumps(dict(record), indent=2) + "\n")
        return None
    try:
        earlier = json.loads(file.read_text())
    except ValueError as error:
        raise RunError(f"{file} cannot be read: {error}") from None
    earlier.setdefault("deterministic", False)  # of a training by an older nas
    for key, value in record.items():
        if earlier.get(key) != value:
            raise RunError(
                f"{folder} holds a training with another value of {key}: {earlier.get(key)}, not "
                f"{value}; name another folder with --out"
            )
    result = earlier.get("result")
    if result is None:
        return None
    return Training(folder / "model.yaml", folder / "model.pt", **result)


def _train(
    folder: Path,
    architecture: Architecture,
    data: ImageData,
    record: Mapping[str, Any],
    device: str,
    view: Callable[[Report], None] | None,
) -> Training:
    ask = Ask(
        number=0, stage="train", architecture=architecture.text, epochs=record["epochs"],
        seed=record["seed"], folder=str(folder), known_epoch=0, early_stopping=False,
    )  # fmt: skip
    last: Report = {}
    for report in trainable.train(ask, data, device):
        if "full" in report:
            raise NasError(
                f"{report['full']} cannot be written, the disk is full: free some space, then give "
                "the same command again, which goes on where this one stopped"
            )
        if report["kind"] != "epoch":
            continue
        last = report
        if view is not None:
            view(report)
        if report["stop"] is not None:
            raise NasError(
                f"the training broke down in epoch {report['epoch']} ({report['stop']}): lower "
                "recipe.lr, or give it a warm-up (recipe.warmup_epochs)"
            )
    settle(folder)
    weights = export.read_weights(folder / "checkpoint.pt")
    price = cost(architecture, classes=data.num_classes, channels=data.channels, size=data.size)
    result = {
        "epochs": record["epochs"],
        "validation": last["validation"],
        "test": export.test_accuracy(architecture, weights, data, device),
        "params": price.params,
        "macs": price.macs,
    }
    found = {
        **result, "command": "nas train", "data": record["data"], "seed": record["seed"],
        "device": device, "versions": {"nas-toolkit": version("nas-toolkit")},
    }  # fmt: skip
    export.write_model(folder / "model", architecture, weights, data, found)
    write_text(folder / RECORD, json.dumps({**record, "result": result}, indent=2) + "\n")
    return Training(folder / "model.yaml", folder / "model.pt", **result)

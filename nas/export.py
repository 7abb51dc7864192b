"""What a user takes home: an architecture file and its weights, enough to predict anywhere.

best.yaml  the architecture with `data:` (how images are fed) and `found:` (where it is from)
best.pt    its weights, a plain state_dict of the last epoch
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .data import ImageData, read_images
from .errors import DataError, NasError, RunError, SpaceError, words_of
from .models import build
from .models.resolving import resolved
from .plugins import load_plugins
from .rundir import CHECKPOINT, RunDir, write_bytes, write_text
from .space import Architecture, find, load, parse, require_architecture
from .train import evaluation

BEST, REFERENCE = "best", "reference"
Tester = Callable[[Architecture, Mapping[str, Tensor], ImageData, str], float]
DATA_KEYS = ("size", "channels", "mean", "std", "classes")


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image: its label, and the probability of every class."""

    label: str
    probability: float
    probabilities: dict[str, float]


class Model(nn.Module):
    """A trained network with what it knows of its images.

    forward takes normalised images (N, C, H, W) and gives logits (N, classes); `predict` takes
    pictures as they are. `network` is the plain network, as `nas.build` makes it.
    """

    def __init__(self, network: nn.Module, data: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.classes = tuple(str(name) for name in data["classes"])
        self.channels = int(data["channels"])
        self.size: tuple[int, int] = (int(data["size"][0]), int(data["size"][1]))
        self.mean = tuple(float(value) for value in data["mean"])
        self.std = tuple(float(value) for value in data["std"])
        self.pixels = str(data.get("pixels", "uint8"))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)  # (N, C, H, W) -> (N, classes)
        return logits

    def predict(
        self, images: str | Path | Sequence[str | Path] | NDArray[Any], *, device: str = "cpu"
    ) -> list[Prediction]:
        """Labels and probabilities of picture files, or of an array (N, C, H, W).

        An array holds what the network was trained on: uint8 from 0 to 255, or floats of the same
        scale. Raises DataError for what is no such image.
        """
        x = self._pixels(images)
        table = evaluation.predict(self, x, mean=self.mean, std=self.std, device=device)
        return [self._prediction(row) for row in table]

    def _pixels(self, images: str | Path | Sequence[str | Path] | NDArray[Any]) -> NDArray[Any]:
        if isinstance(images, np.ndarray):
            x = images
            if x.ndim != 4 or x.shape[1:] != (self.channels, *self.size):
                wanted = ("N", self.channels, *self.size)
                raise DataError(f"images have the shape {x.shape}; the network takes {wanted}")
        else:
            paths = [images] if isinstance(images, str | Path) else list(images)
            x = read_images(paths, channels=self.channels, size=self.size)
        if (x.dtype == np.uint8) != (self.pixels == "uint8"):
            raise DataError(
                f"the images hold {x.dtype} values, but the network was trained on {self.pixels}: "
                "give arrays (.npy) on the scale of its training data"
            )
        return x

    def _prediction(self, row: NDArray[Any]) -> Prediction:
        probabilities = {name: float(p) for name, p in zip(self.classes, row, strict=True)}
        label = self.classes[int(row.argmax())]
        return Prediction(label, probabilities[label], probabilities)


def load_model(
    path: str | Path,
    weights: str | Path | None = None,
    *,
    plugins: Sequence[str | Path] = (),
) -> Model:
    """The trained network of an exported file, in evaluation mode, on the CPU.

    `weights`: a state_dict; None: the .pt beside the file. `plugins`: the Python files with its
    operators, where it has some of your own (the run folder's `plugins/` keeps copies). Raises
    SpaceError where the file has no `data:` block, RunError where the weights are missing or are
    of another network.
    """
    load_plugins(plugins)
    architecture = require_architecture(load(path))
    data = architecture.data
    missing = [key for key in DATA_KEYS if key not in data]
    if missing:
        raise SpaceError(
            f"has no data.{missing[0]}: only exported files (best.yaml) say how images are fed; "
            "train this one with: nas train",
            architecture.path,
        )
    beside = find(path).with_suffix(".pt")
    return with_weights(architecture, data, Path(weights) if weights is not None else beside)


def with_weights(architecture: Architecture, data: Mapping[str, Any], weights: Path) -> Model:
    """The network on images such as `data` says, with the weights of a file."""
    network = build(
        architecture,
        classes=len(data["classes"]),
        channels=data["channels"],
        size=tuple(data["size"]),
    )
    fit_weights(network, read_weights(weights), weights)
    return Model(network, data).eval()


def predict(
    path: str | Path, images: str | Path | Sequence[str | Path] | NDArray[Any]
) -> list[Prediction]:
    """Labels and probabilities by an exported file (`best.yaml`, its .pt beside it)."""
    return load_model(path).predict(images)


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state_dict from a file. Raises RunError where there is none."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise RunError(f"there are no weights: {path} {what}; name the file: --weights FILE.pt")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises whatever its unpickler meets; its words run to a page
        raise RunError(
            f"{path} cannot be read: it holds no weights, or is truncated; name a state_dict that "
            "torch.save wrote, such as the .pt beside best.yaml"
        ) from None
    if isinstance(state, dict) and set(state) == {"digest", "state"}:  # a trial's checkpoint
        inner = state["state"]
        state = inner.get("model") if isinstance(inner, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise RunError(
            f"{path} holds no state_dict (names to tensors): save model.state_dict() with "
            "torch.save, and name that file"
        )
    return state


def fit_weights(network: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Put the weights into the network. Raises RunError with the first difference."""
    own = network.state_dict()
    for name in [*own, *state]:
        here = tuple(own[name].shape) if name in own else "no such tensor"
        there = tuple(state[name].shape) if name in state else "no such tensor"
        if here != there:
            raise RunError(
                f"{source} is of another network: at {name} it has {there}, the network {here}; "
                "name the weights that were saved beside this file"
            )
    network.load_state_dict(state)


# --- writing ----------------------------------------------------------------------------


def data_section(data: ImageData) -> dict[str, Any]:
    """What an exported file says of its images."""
    return {
        "size": list(data.size),
        "channels": data.channels,
        "mean": [float(value) for value in data.mean],
        "std": [float(value) for value in data.std],
        "classes": list(data.classes),
        "pixels": str(data.train.x.dtype),
    }


def write_model(
    target: Path, architecture: Architecture, state: Mapping[str, Tensor], data: ImageData,
    found: Mapping[str, Any],
) -> None:  # fmt: skip
    """`target`.pt and `target`.yaml; the .yaml last, so that it never stands without weights."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_bytes(target.with_suffix(".pt"), content.getvalue())
    whole = resolved(architecture, data.size, classes=data.num_classes, channels=data.channels)
    text = whole.with_section("data", data_section(data))
    described = parse(text, path=architecture.path)
    assert isinstance(described, Architecture)
    write_text(target.with_suffix(".yaml"), described.with_section("found", dict(found)))


def test_accuracy(
    architecture: Architecture,
    weights: Mapping[str, Tensor],
    data: ImageData,
    device: str,
    before_batch: Callable[[], None] | None = None,  # noqa: PT028 - no test of the suite
) -> float:
    """The share of the test images that the network gets right."""
    network = build(architecture, classes=data.num_classes, channels=data.channels, size=data.size)
    network.load_state_dict(weights)
    if before_batch is not None:
        network.register_forward_pre_hook(lambda *_: before_batch())
    return evaluation.evaluate(
        network, data.test.x, data.test.y, mean=data.mean, std=data.std, device=device
    ).accuracy


def best(
    run: RunDir,
    data: ImageData,
    *,
    device: str = "cpu",
    again: bool = False,
    test: Tester | None = None,
) -> dict[str, Any]:
    """Export the winner and trial 0's network of a search that came to its end; the last state.

    Both are tested, once, at the end of the search: not where it was broken off, since it may go
    on. What came of it stands in stages.json under `results`; a second call finds it there and
    does nothing, unless it is wanted `again`. `test`: instead of `test_accuracy`. The files are
    written before it: a network whose test fails is exported all the same, and a note says so.
    """
    state = run.stages()
    finalists = state.get("finalists") or []
    if not finalists or (_exported(run, state) and not again):
        return state
    winner = finalists[0]
    reference = next((entry for entry in finalists if entry["candidate"] == 0), None)
    wanted = [(BEST, winner)]
    if reference is not None and reference is not winner:
        wanted.append((REFERENCE, reference))
    results: dict[str, Any] = {name: _export(run, entry, name, data) for name, entry in wanted}
    for name, entry in wanted if state.get("ended") else ():
        try:
            accuracy = _test(run, entry, data, device, test or test_accuracy)
        except Exception as error:  # of the network's own code, or for want of memory
            state["notes"] = [*(state.get("notes") or []), _untested(run, name, entry, error)]
            run.log(state["notes"][-1])
            continue
        results[name] = _export(run, entry, name, data, accuracy)
    if reference is winner:
        results[REFERENCE] = results[BEST]
    state["results"] = results
    run.write_stages(state)
    run.log(f"exported trial {winner['candidate']} to best.yaml")
    return state


def _untested(run: RunDir, name: str, entry: Mapping[str, Any], error: Exception) -> str:
    said = str(error) if isinstance(error, NasError) else words_of(error)
    return (
        f"the test of trial {entry['candidate']} failed: {' '.join(said.split())}; "
        f"{run.path / name}.yaml and its weights are exported without it"
    )


def _exported(run: RunDir, state: Mapping[str, Any]) -> bool:
    results = state.get("results") or {}
    names = [str(network["name"]) for network in results.values()]
    files = [run.path / f"{name}{ending}" for name in names for ending in (".yaml", ".pt")]
    return bool(files) and all(file.is_file() for file in files)


def _test(
    run: RunDir, entry: Mapping[str, Any], data: ImageData, device: str, test: Tester
) -> float:
    weights = read_weights(run.trial(int(entry["weights_from"])) / CHECKPOINT)
    return test(_architecture(run, entry), weights, data, device)


def _architecture(run: RunDir, entry: Mapping[str, Any]) -> Architecture:
    file = run.trial(int(entry["candidate"])) / "architecture.yaml"
    return require_architecture(parse(file.read_text(), path=str(file)))


def _export(
    run: RunDir,
    entry: Mapping[str, Any],
    name: str,
    data: ImageData,
    accuracy: float | None = None,
) -> dict[str, Any]:
    source = int(entry["weights_from"])
    weights = read_weights(run.trial(source) / CHECKPOINT)
    metrics = {
        "trial": int(entry["candidate"]),
        "validation": entry["validation"],
        "validation_std": entry["validation_std"],
        "seeds": entry["seeds"],
        "epochs": entry["epochs"],
        "test": accuracy,
        "params": entry["params"],
        "macs": entry["macs"],
    }
    found = _found(run, entry, metrics)
    write_model(run.path / name, _architecture(run, entry), weights, data, found)
    return {"name": name, "weights_from": source, **metrics}


def _found(run: RunDir, entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Where an exported network comes from: the block `found:`."""
    request, environment = run.request, run.environment
    seeds = {row["trial"]: int(row["seed"]) for row in run.trials()}
    budget = run.stages().get("budget", {})
    return {
        "run": run.name,
        **metrics,
        "weights_from_trial": entry["weights_from"],
        "weights_seed": seeds.get(str(entry["weights_from"])),
        "space": request.space_name,
        "data": request.data,
        "seed": request.seed,
        "strategy": request.strategy,
        "device": request.device,
        "budget": request.budget,
        "spent_device_seconds": budget.get("spent_device_seconds"),
        "wall_seconds": budget.get("wall_seconds"),
        "date": time.strftime("%Y-%m-%d"),
        "versions": dict(environment.get("versions", {})),
    }

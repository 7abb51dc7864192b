"""A folder of everything that may be wrong with files: spaces, data, networks, runs."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas import export
from nas.data import load as load_data
from nas.models import build
from nas.rundir import RunDir
from nas.search import request, run
from nas.space import Architecture, parse

from ..data.image_files import IDX_NAMES, idx_bytes, sample, write_idx

TAIL = "  - {op: global_pool}\n  - {op: linear}\n"
CONV = "  - {name: a, op: conv, channels: !choice [8, 16], kernel: 3}\n"
GOOD = "network:\n" + CONV + TAIL
PLAIN = GOOD.replace("!choice [8, 16]", "8")

Change = Callable[[dict[str, np.ndarray]], dict[str, Any]]


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder in there; the lock that a process holds is not the run's content."""
    found = sorted(path for path in folder.rglob("*") if path.name != ".lock")
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in found
    }


# --- data -------------------------------------------------------------------------------


def _first_pixel(arrays: dict[str, np.ndarray], value: float) -> dict[str, Any]:
    x = arrays["x_train"].astype(np.float32) / 255
    x[3, 0, 0, 0] = value
    return {"x_train": x, "x_test": arrays["x_test"].astype(np.float32) / 255}


def _label(arrays: dict[str, np.ndarray], key: str, value: int) -> dict[str, Any]:
    y = arrays[key].copy()
    y[5] = value
    return {key: y}


def _ragged(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    images = np.empty(len(arrays["x_train"]), object)
    for place in range(len(images)):
        images[place] = np.zeros((1, 8, 8 + place % 2), np.uint8)
    return {"x_train": images}


def _without(arrays: dict[str, np.ndarray], label: int) -> dict[str, Any]:
    kept = arrays["y_train"] != label
    return {key: arrays[key][kept] for key in ("x_train", "y_train")}


NPZ: dict[str, Change] = {
    "nan": lambda a: _first_pixel(a, np.nan),
    "inf": lambda a: _first_pixel(a, np.inf),
    "label": lambda a: _label(a, "y_test", 11),
    "negative": lambda a: _label(a, "y_train", -1),
    "floats": lambda a: {"y_train": a["y_train"] + 0.5},
    "ragged": _ragged,
    "sizes": lambda a: {"x_test": np.zeros((10, 1, 9, 8), np.uint8)},
    "empty": lambda a: _without(a, 4),
    "one": lambda a: {key: np.zeros_like(a[key]) for key in ("y_train", "y_test")},
    "counts": lambda a: {"y_train": a["y_train"][:-1]},
    "names": lambda a: {"classes": np.array([f"c{k}" for k in range(12)])},
    "nothing": lambda a: {"x_train": a["x_train"][:0], "y_train": a["y_train"][:0]},
    "flat": lambda a: {"x_train": a["x_train"].reshape(40, -1)},
    "wide": lambda a: {"x_train": a["x_train"].astype(np.int64) * 9},
}


def write_data(folder: Path) -> None:
    folder.mkdir()
    found = sample(size=(8, 8))
    good = vars(found)
    np.savez(folder / "good.npz", **good)
    np.savez(folder / "small.npz", **vars(sample(size=(2, 2))))
    for name, change in NPZ.items():
        np.savez(folder / f"{name}.npz", **{**good, **change(good)})
    whole = (folder / "good.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "text.npz").write_text("not a zip")
    (folder / "void.npz").write_bytes(b"")
    np.savez(folder / "keys.npz", images=good["x_train"])
    (folder / "photo.txt").write_text("x")
    (folder / "blank").mkdir()
    _write_idx_faults(folder)
    (folder / "cut.tar.gz").write_bytes(gzip.compress(b"x" * 2000)[:20])


def _write_idx_faults(folder: Path) -> None:
    found = sample(size=(8, 8))
    labels = IDX_NAMES["y_train"]
    for name in ("idx_cut", "idx_magic", "idx_missing", "idx_label", "idx_cut_gz", "mnist"):
        write_idx(folder / name, found, packed=name.endswith("gz"))
    file = folder / "idx_cut" / IDX_NAMES["x_train"]
    file.write_bytes(file.read_bytes()[:-7])
    file = folder / "idx_cut_gz" / (IDX_NAMES["x_train"] + ".gz")
    file.write_bytes(file.read_bytes()[:-7])
    file = folder / "idx_magic" / IDX_NAMES["x_train"]
    file.write_bytes(b"\x89PNG" + file.read_bytes()[4:])
    (folder / "idx_missing" / labels).unlink()
    for place in ("idx_label", "mnist"):
        y = found.y_train.astype(np.uint8)
        y[7] = 200
        (folder / place / labels).write_bytes(idx_bytes(y))


# --- networks ---------------------------------------------------------------------------


def write_networks(folder: Path) -> None:
    """best.yaml and best.pt as a search exports them (untrained), and what spoils them."""
    folder.mkdir()
    data = load_data("digits")
    architecture = parse(PLAIN, path=str(folder / "best.yaml"))
    assert isinstance(architecture, Architecture)
    network = _network(architecture, data)
    export.write_model(folder / "best", architecture, network.state_dict(), data, {"run": "none"})
    text = (folder / "best.yaml").read_text()
    other = parse(PLAIN.replace("channels: 8", "channels: 24"), path="other.yaml")
    assert isinstance(other, Architecture)
    torch.save(_network(other, data).state_dict(), folder / "other.pt")
    torch.save({"a": 1}, folder / "numbers.pt")
    torch.save([1, 2], folder / "list.pt")
    (folder / "text.pt").write_text("these are no weights\n")
    (folder / "void.pt").write_bytes(b"")
    weights = (folder / "best.pt").read_bytes()
    (folder / "cut.pt").write_bytes(weights[: len(weights) // 2])
    (folder / "lone.yaml").write_text(text)
    for name, old, new in (
        ("nomean", "mean:", "meen:"),
        ("baddata", "channels: 1", "channels: one"),
        ("badsize", "size: [8, 8]", "size: 8 by 8"),
        ("badmean", "mean: [", "mean: [0.5, "),
        ("one", 'classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]', 'classes: ["0"]'),
        ("wide", "size: [8, 8]", "size: [9, 9]"),
    ):
        assert old in text, text
        (folder / f"{name}.yaml").write_text(text.replace(old, new))
        shutil.copy(folder / "best.pt", folder / f"{name}.pt")
    (folder / "plain.yaml").write_text(PLAIN)
    (folder / "holes.yaml").write_text(GOOD)
    shutil.copy(folder / "best.pt", folder / "plain.pt")
    (folder / "x.png").write_text("no picture")
    (folder / "void.png").write_bytes(b"")
    np.save(folder / "wide.npy", np.zeros((3, 40), np.uint8))
    np.save(folder / "nan.npy", np.full((8, 8), np.nan, np.float32))
    np.save(folder / "good.npy", np.zeros((8, 8), np.uint8))


def _network(architecture: Architecture, data: Any) -> torch.nn.Module:
    return build(architecture, classes=10, channels=data.channels, size=data.size)


# --- runs -------------------------------------------------------------------------------


def write_runs(folder: Path) -> None:
    """Runs that were begun and never searched, spoilt one by one."""
    folder.mkdir()
    source = folder.parent / "mine.yaml"
    source.write_text(GOOD)
    good = make_run(folder / "good", "tiny")
    make_run(folder / "copy_edited", str(source))
    make_run(folder / "source_edited", str(source))
    copy = folder / "copy_edited" / "space.yaml"
    copy.write_text(copy.read_text().replace("16]", "32]"))
    for name, file, text in (
        ("no_journal", "study.journal", None),
        ("no_request", "request.yaml", None),
        ("request_syntax", "request.yaml", "space: [tiny\n"),
        ("request_list", "request.yaml", "- tiny\n"),
        ("request_short", "request.yaml", "space: tiny\n"),
        ("request_words", "request.yaml", _swap(good, "seed: 0", "seed: none at all")),
        ("request_device", "request.yaml", _swap(good, "device: cpu", "device: tpu")),
        ("request_budget", "request.yaml", _swap(good, "budget: 1min", "budget: much")),
        ("request_bytes", "request.yaml", b"space: \xff\n"),
        ("request_data", "request.yaml", _swap(good, "data: digits", "data: /nowhere/x.npz")),
        ("stages_syntax", "stages.json", '{"stages": ['),
        ("stages_list", "stages.json", "[1, 2]\n"),
        ("stages_words", "stages.json", json.dumps({"trials": 3, "stages": "coarse"})),
        ("stages_bytes", "stages.json", b'{"a": "\xff"}'),
        ("journal_words", "study.journal", "these are\nno records\n"),
        ("journal_bytes", "study.journal", b"\xff\xfe\n{}\n"),
        ("trials_words", "trials.csv", b"trial,cause\n1,\xff\n"),
        ("trials_columns", "trials.csv", "trial,cause\n1,finished\n"),
        ("space_gone", "space.yaml", None),
    ):  # fmt: skip
        spoilt = Path(shutil.copytree(good.path, folder / name)) / file
        if text is None:
            spoilt.unlink()
        else:
            spoilt.write_bytes(text if isinstance(text, bytes) else text.encode())
    source.write_text(GOOD.replace("16]", "32]"))
    Path(shutil.copytree(good.path, folder / "locked") / ".lock").unlink(missing_ok=True)
    (folder / "locked" / ".lock").mkdir()  # which root cannot write either
    (folder / "nothing").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "thesis.txt").write_text("years of work")
    (folder / "file").write_text("a file\n")


def make_run(path: Path, space: str) -> RunDir:
    return run.create(request.prepare(space, "digits", "1min", device="cpu"), path)


def _swap(made: RunDir, old: str, new: str) -> str:
    text = (made.path / "request.yaml").read_text()
    assert old in text, text
    return text.replace(old, new)

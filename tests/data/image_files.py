"""Writers of small samples in every format that is read: {name: {variant: writer}}.

A writer takes a folder, puts a sample into it, and gives what to call `load` with, and the sample
(None where the set is not ours to write). Pixel [0, 0, 0] of each image is its number, so that a
test can put a split set back into order.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@dataclass
class Sample:
    """Images (N, C, H, W) and labels (N,), as the loaded set should hold them."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def sample(*, classes: int = 10, channels: int = 1, size: tuple[int, int] = (6, 5)) -> Sample:
    random = np.random.RandomState(7)
    parts = []
    for copies in (4 if classes <= 10 else 2, 1):
        y = random.permutation(np.repeat(np.arange(classes), copies))
        x = random.randint(0, 256, (len(y), channels, *size)).astype(np.uint8)
        x[:, 0, 0, 0] = np.arange(len(y))
        parts += [x, y]
    return Sample(*parts)


def idx_bytes(array: np.ndarray) -> bytes:
    kind = array.dtype.str[1:]
    header = struct.pack(">HBB", 0, IDX_CODES[kind], array.ndim)
    header += struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(f">{kind}").tobytes()


def write_idx(
    folder: Path,
    found: Sample,
    *,
    packed: bool = False,
    names: dict[str, str] = IDX_NAMES,
    axes: tuple[int, ...] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for key, name in names.items():
        array = getattr(found, key)
        if key.startswith("y"):
            array = array.astype(np.uint8)
        elif axes is not None:
            array = array.transpose(axes)
        elif array.shape[1] == 1:
            array = array[:, 0]
        content = idx_bytes(array)
        path = folder / (name + ".gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def write_npz(path: Path, found: Sample, **more: Any) -> Path:
    np.savez(path, **{**vars(found), **more})
    return path


def _short(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def _int(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _python2(value: object) -> bytes:
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, int):
        return _int(value)
    if isinstance(value, list):
        return b"](" + b"".join(_python2(item) for item in value) + b"e"
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.uint8
    data = value.tobytes()
    return b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n",
            b"(" + _int(0) + b"t" + _short("b") + b"tR",
            b"(" + _int(1) + b"(" + b"".join(_int(n) for n in value.shape) + b"t",
            b"cnumpy\ndtype\n(" + _short("u1") + _int(0) + _int(1) + b"tR",
            b"(" + _int(3) + _short("|") + b"NNN" + _int(-1) + _int(-1) + _int(0) + b"tb",
            b"\x89T" + struct.pack("<i", len(data)) + data + b"tb",
        ]
    )


def python2_pickle(entry: dict[str, object]) -> bytes:
    """The opcodes that Python 2's cPickle wrote into CIFAR's archives (protocol 2): byte strings
    for str, and numpy 1's names of modules."""
    items = b"".join(_short(key) + _python2(value) for key, value in entry.items())
    return b"\x80\x02}(" + items + b"u."


def python3_pickle(protocol: int) -> Callable[[dict[str, object]], bytes]:
    """As who saves CIFAR again from Python 3 writes it: bytes for the keys, arrays of labels."""

    def dump(entry: dict[str, object]) -> bytes:
        saved = {key.encode(): value for key, value in entry.items()}
        return pickle.dumps(saved, protocol=protocol)

    return dump


def cifar_files(
    found: Sample, classes: int, dump: Callable[[dict[str, object]], bytes] = python2_pickle
) -> dict[str, bytes]:
    label = "labels" if classes == 10 else "fine_labels"
    names = [f"class{k}" for k in range(classes)]

    def batch(x: np.ndarray, y: np.ndarray) -> bytes:
        return dump({"data": np.ascontiguousarray(x.reshape(-1, 3072)), label: y.tolist()})

    if classes == 100:
        return {
            "train": batch(found.x_train, found.y_train),
            "test": batch(found.x_test, found.y_test),
            "meta": dump({"fine_label_names": names}),
        }
    xs, ys = np.array_split(found.x_train, 5), np.array_split(found.y_train, 5)
    files = {f"data_batch_{n + 1}": batch(xs[n], ys[n]) for n in range(5)}
    files["test_batch"] = batch(found.x_test, found.y_test)
    files["batches.meta"] = dump({"label_names": names})
    return files


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, files: dict[str, bytes], folder: str, mode: str = "w:gz") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in {"readme.html": b"x", **files}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def cifar_sample(classes: int) -> Sample:
    return sample(classes=classes, channels=3, size=(32, 32))


Written = tuple[str, Sample | None]
Writer = Callable[[Path], Written]


def _idx(place: str, **options: Any) -> Writer:
    def write(folder: Path) -> Written:
        found = sample(channels=3 if options.get("axes") else 1)
        return str(write_idx(folder / place, found, **options)), found

    return write


def _npz(change: Callable[[Sample], dict[str, Any]], channels: int = 3) -> Writer:
    def write(folder: Path) -> Written:
        found = sample(channels=channels)
        return str(write_npz(folder / "sample.npz", found, **change(found))), found

    return write


def _cifar(place: str, classes: int, dump: Any = python2_pickle) -> Writer:
    def write(folder: Path) -> Written:
        found = cifar_sample(classes)
        files = cifar_files(found, classes, dump)
        if ".t" not in place:
            return str(write_folder(folder / place, files)), found
        mode = "w" if place.endswith(".tar") else "w:gz"
        return str(write_tar(folder / place, files, "cifar", mode)), found

    return write


def _named(name: str, writer: Writer) -> Writer:
    def write(folder: Path) -> Written:
        return name, writer(folder)[1]

    return write


def _last(found: Sample) -> dict[str, Any]:
    return {key: getattr(found, key).transpose(0, 2, 3, 1) for key in ("x_train", "x_test")}


def _words(found: Sample) -> dict[str, Any]:
    return {key: np.char.add("c", getattr(found, key).astype(str)) for key in ("y_train", "y_test")}


WRITERS: dict[str, dict[str, Writer]] = {
    "digits": {"builtin": lambda folder: ("digits", None)},
    "mnist": {
        "packed": _named("mnist", _idx("mnist", packed=True)),
        "torchvision": _named("mnist", _idx("MNIST/raw")),
    },
    "fashion-mnist": {
        "plain": _named("fashion-mnist", _idx("fashion-mnist")),
        "underscore": _named("fashion-mnist", _idx("fashion_mnist", packed=True)),
    },
    "cifar10": {
        "in its folder": _named("cifar10", _cifar("cifar10/cifar-10-python.tar.gz", 10)),
        "beside": _named("cifar10", _cifar("cifar-10-python.tar.gz", 10)),
        "unpacked": _named("cifar10", _cifar("cifar-10-batches-py", 10)),
    },
    "cifar100": {
        "in its folder": _named("cifar100", _cifar("cifar100/cifar-100-python.tar.gz", 100)),
        "unpacked": _named("cifar100", _cifar("cifar-100-python", 100)),
    },
    "idx": {
        "plain": _idx("set"),
        "packed": _idx("set", packed=True),
        "dotted": _idx(
            "set", names={key: name.replace("-idx", ".idx") for key, name in IDX_NAMES.items()}
        ),
        "emnist": _idx(
            "set",
            packed=True,
            names={
                key: "emnist-digits-" + name.replace("t10k", "test")
                for key, name in IDX_NAMES.items()
            },
        ),
        "colour last": _idx("set", axes=(0, 2, 3, 1)),
        "colour first": _idx("set", axes=(0, 1, 2, 3)),
    },
    "npz": {
        "channels first": _npz(lambda found: {}),
        "channels last": _npz(_last),
        "grey": _npz(
            lambda found: {key: getattr(found, key)[:, 0] for key in ("x_train", "x_test")},
            channels=1,
        ),
        "stated layout": _npz(lambda found: {"layout": "NCHW"}, channels=6),
        "column of labels": _npz(lambda found: {"y_train": found.y_train[:, None]}),
        "words": _npz(_words),
        "int64": _npz(lambda found: {"x_train": found.x_train.astype(np.int64)}),
        "whole floats": _npz(
            lambda found: {
                key: getattr(found, key).astype(np.float64) for key in ("x_train", "x_test")
            }
        ),
    },
    "cifar": {
        "packed": _cifar("some.tar.gz", 10),
        "tar": _cifar("some.tar", 100),
        "unpacked": _cifar("some", 10),
        "archive in a folder": _cifar("some/cifar-100-python.tar.gz", 100),
        "python 3, protocol 2": _cifar("some", 10, python3_pickle(2)),
        "python 3, protocol 4": _cifar("some", 100, python3_pickle(4)),
        "python 3, protocol 5": _cifar("some.tgz", 10, python3_pickle(5)),
    },
}

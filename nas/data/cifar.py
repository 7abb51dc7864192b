"""CIFAR-10 and CIFAR-100 in the authors' Python version, packed (.tar.gz) or unpacked.

Rows of 3,072 bytes: 32x32 red, then green, then blue (Krizhevsky 2009, "Learning multiple layers
of features from tiny images"). CIFAR-100 is read with its 100 fine labels.
"""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .files import read_bytes
from .parts import Part, Parts
from .pickles import read_pickle

READ_BYTES = 1 << 20
PACKED = (".tar.gz", ".tgz", ".tar")


@dataclass(frozen=True)
class Kind:
    """The names of one of the two sets: of its files, and of the keys inside them."""

    name: str
    archive: str
    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    label_names: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.meta)


CIFAR10 = Kind(
    name="CIFAR-10",
    archive="cifar-10-python.tar.gz",
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    labels="labels",
    label_names="label_names",
)
CIFAR100 = Kind(
    name="CIFAR-100",
    archive="cifar-100-python.tar.gz",
    folder="cifar-100-python",
    train=("train",),
    test="test",
    meta="meta",
    labels="fine_labels",
    label_names="fine_label_names",
)
KINDS = (CIFAR10, CIFAR100)


def fits(path: Path) -> bool:
    """Whether that is a tar archive, or a folder with files of CIFAR or an archive of them."""
    if not path.is_dir():
        return path.name.lower().endswith(PACKED)
    inside = _inside(path)
    return inside != path or _kind_of(_names(path)) is not None


def read(path: Path, kind: Kind | None = None) -> Parts:
    """Both parts from an archive or a folder; of any of the two sets, or of `kind` alone.

    Raises DataError.
    """
    path = _inside(path, kind)
    unpacked = path.is_dir()
    files = {} if unpacked else _unpack(path)
    names = _names(path) if unpacked else set(files)
    kind = kind or _kind_of(names)
    if kind is None:
        raise DataError(
            f"{path} holds no files of CIFAR such as {CIFAR10.train[0]}: give"
            f" {CIFAR10.archive}, {CIFAR100.archive}, or the folder that one unpacks to"
        )
    missing = [name for name in kind.files if name not in names]
    if missing:
        raise DataError(
            f"{path} holds no {', '.join(missing)}: {kind.name} is {', '.join(kind.files)};"
            f" unpack or download {kind.archive} again"
        )
    where = {name: f"{path}/{name}" if unpacked else f"{path}: {name}" for name in kind.files}
    entries = {}
    for name in kind.files:
        content = read_bytes(path / name) if unpacked else files.pop(name)
        entries[name] = read_pickle(content, where[name])
    train = _joined([_batch(entries.pop(name), kind, where[name]) for name in kind.train])
    test = _batch(entries[kind.test], kind, where[kind.test])
    return Parts(train, test, _classes(entries[kind.meta], kind, where[kind.meta]))


def _inside(path: Path, kind: Kind | None = None) -> Path:
    """The unpacked folder or the archive that lies in the folder `path`, else `path` itself."""
    for each in KINDS if kind is None else (kind,):
        for name in (each.folder, each.archive):
            if path.is_dir() and (path / name).exists():
                return path / name
    return path


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_file()}


def _kind_of(names: set[str]) -> Kind | None:
    if names & set(CIFAR10.files):
        return CIFAR10
    # "train" and "test" are names of many things: one of them alone does not tell.
    return CIFAR100 if len(names & set(CIFAR100.files)) >= 2 else None


def _unpack(path: Path) -> dict[str, bytes]:
    """The members that may be CIFAR's, by their last name: in one pass, nothing is extracted."""
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes): copy or download it again")
    wanted = {name for kind in KINDS for name in kind.files}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None or name not in wanted or name.startswith("._"):
                    continue
                found[name] = stream.read()
            while archive.fileobj and archive.fileobj.read(READ_BYTES):
                pass  # gzip tells of damage at its end alone, which tarfile need not reach
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        first = str(error).partition("\n")[0].rstrip(":")  # tarfile tells of every method in turn
        raise DataError(
            f"{path} is no tar archive, or truncated ({first}): copy or download it again"
        ) from None
    return found


def _batch(entry: dict[str, Any], kind: Kind, where: str) -> Part:
    rows, labels = (_entry(entry, key, kind, where) for key in ("data", kind.labels))
    if not (isinstance(rows, np.ndarray) and rows.dtype == np.uint8 and rows.shape[1:] == (3072,)):
        shape = getattr(rows, "shape", type(rows).__name__)
        raise DataError(
            f"{where}: data is {getattr(rows, 'dtype', 'no array')} {shape}, but must be uint8"
            " (N, 3072): use the authors' archive"
        )
    if len(rows) != len(labels):
        raise DataError(
            f"{where} holds {len(rows):,} images, but {len(labels):,} labels: each image needs one"
            " label, in the same order"
        )
    x: NDArray[Any] = np.ascontiguousarray(rows).reshape(-1, 3, 32, 32)  # (N, 3, 32, 32)
    try:
        y = np.asarray(labels)
    except ValueError:
        raise DataError(
            f"{where}: {kind.labels} holds lists, but must hold a number for each image: use"
            f" {kind.archive}"
        ) from None
    return Part(x, y, where, where)


def _joined(batches: list[Part]) -> Part:
    x = np.concatenate([batch.x for batch in batches])
    y = np.concatenate([batch.y for batch in batches])
    where = batches[0].x_from if len(batches) == 1 else f"{batches[0].x_from} and those after it"
    return Part(x, y, where, where)


def _classes(entry: dict[str, Any], kind: Kind, where: str) -> tuple[str, ...]:
    names = _entry(entry, kind.label_names, kind, where)
    return tuple(str(n, "latin1") if isinstance(n, bytes) else str(n) for n in names)


def _entry(entry: dict[str, Any], key: str, kind: Kind, where: str) -> Any:
    value = entry.get(key)
    if not isinstance(value, list | tuple | np.ndarray) or not len(value):
        raise DataError(
            f"{where} has no list {key!r} (it has {', '.join(map(repr, entry)) or 'nothing'}): use"
            f" {kind.archive}"
        )
    return value

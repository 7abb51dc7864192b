"""IDX, the format of MNIST: a folder with four files, each packed with gzip or not.

A file is the magic number (two zero bytes, the type of the values, the number of dimensions), the
length of each dimension as a big-endian 32-bit number, then the values
(LeCun, Cortes and Burges, "The MNIST database", section "The IDX file format").
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .files import read_bytes
from .parts import Part, Parts, channels_first

TYPES: Mapping[int, str] = {
    0x08: "u1",
    0x09: "i1",
    0x0B: ">i2",
    0x0C: ">i4",
    0x0D: ">f4",
    0x0E: ">f8",
}
FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
# Also the names of EMNIST (emnist-letters-train-…) and those with a dot before idx.
NAME = re.compile(
    r"(?:.*[-_.])?(train|t10k|test)[-_.](images|labels)[-_.]idx\d-[a-z]+(\.gz)?", re.IGNORECASE
)


def fits(path: Path) -> bool:
    """Whether that is one of the four files, or a folder that holds one."""
    if path.is_dir():
        return any(NAME.fullmatch(entry.name) for entry in path.iterdir())
    return NAME.fullmatch(path.name) is not None


def read(folder: Path, classes: tuple[str, ...] | None = None) -> Parts:
    """Both parts from the four files in `folder`. Raises DataError.

    Images have three dimensions (N, H, W), or four with the channels second or last (parts.py
    has the rule).
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is one of four IDX files: give the folder that holds all four")
    found = {role: _find(folder, *role) for role in FILES}
    images = {part: read_array(found[part, "images"]) for part in ("train", "test")}
    labels = {part: read_array(found[part, "labels"]) for part in ("train", "test")}
    train, test = (
        Part(
            channels_first(images[part], str(found[part, "images"])),
            labels[part],
            str(found[part, "images"]),
            str(found[part, "labels"]),
        )
        for part in ("train", "test")
    )
    return Parts(train, test, classes)


def read_array(path: Path) -> NDArray[Any]:
    """The array in an IDX file, read-only. Raises DataError where the file is not whole."""
    content = read_bytes(path)
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or magic[3] == 0:
        raise DataError(
            f"{path} starts with the bytes {magic.hex(' ')}, which is no magic number of an IDX"
            " file (00 00, a type such as 08 for bytes, the number of dimensions): put an IDX file"
            " there"
        )
    start = 4 + 4 * magic[3]
    if len(content) < start:
        raise DataError(
            f"{path} is truncated: it ends after {len(content)} of the {start} bytes of its header:"
            " copy or download it again"
        )
    shape = struct.unpack(f">{magic[3]}I", content[4:start])
    dtype = np.dtype(TYPES[magic[2]])
    wanted = start + math.prod(shape) * dtype.itemsize
    if len(content) != wanted:
        fault = "is truncated" if len(content) < wanted else "is too long"
        raise DataError(
            f"{path} {fault}: it holds {len(content):,} bytes (unpacked), but its header tells of"
            f" {'x'.join(map(str, shape))} values, {wanted:,} bytes: copy or download it again"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _find(folder: Path, part: str, kind: str) -> Path:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), reverse=True):  # x.gz before x: the unpacked one stays
        match = NAME.fullmatch(path.name)
        if (
            match
            and match[2].lower() == kind
            and (match[1].lower() == "train") == (part == "train")
        ):
            found[path.name.removesuffix(".gz")] = path
    if len(found) > 1:
        raise DataError(
            f"{folder} holds several files of {part} {kind} ({', '.join(sorted(found))}): leave one"
            " set of four files in a folder of its own"
        )
    if not found:
        raise DataError(
            f"{folder} holds no file of {part} {kind}: put {FILES[part, kind]} (or"
            f" {FILES[part, kind]}.gz) there"
        )
    return found.popitem()[1]

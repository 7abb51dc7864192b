"""A .npz file of one's own: x_train, y_train, x_test, y_test, and if wanted classes, layout.

Images are (N, H, W), (N, H, W, C) or (N, C, H, W): of the second and the last axis the one with
1, 3 or 4 entries is the channels; where that does not settle it, `layout` must say "NCHW" or
"NHWC". Labels are whole numbers from 0 to K-1, or words; `classes` names them in order.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .parts import LAYOUTS, Part, Parts, channels_first

# What zipfile and numpy raise on bytes that are not what they should be; RuntimeError is
# zipfile's word for encrypted, and NotImplementedError under it for an unknown compression.
DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, KeyError, MemoryError, RuntimeError)
KEYS = ("x_train", "y_train", "x_test", "y_test")


def fits(path: Path) -> bool:
    """Whether the name ends in .npz."""
    return path.suffix.lower() == ".npz" and not path.is_dir()


def read(path: Path) -> Parts:
    """Both parts from the file. Raises DataError."""
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes): write it again with numpy.savez")
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} is no .npz file, or a truncated one (a zip archive of arrays): write it again"
            " with numpy.savez"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except DAMAGE as error:
        raise _damaged(path, "", error) from None
    missing = [key for key in KEYS if key not in names]
    if missing:
        has = ", ".join(map(repr, names[:20])) or "nothing"
        raise DataError(
            f"{path} has no {', '.join(missing)} (it has {has}): it must hold {', '.join(KEYS)}"
        )
    arrays = {key: _array(path, key) for key in (*KEYS, "classes", "layout") if key in names}
    where = {key: f"{path}: {key}" for key in arrays}
    layout = _layout(arrays.get("layout"), path)
    train, test = (
        Part(
            channels_first(arrays[x], where[x], layout),
            np.atleast_1d(arrays[y]),
            where[x],
            where[y],
        )
        for x, y in (("x_train", "y_train"), ("x_test", "y_test"))
    )
    return Parts(train, test, _classes(arrays.get("classes"), path))


def _array(path: Path, key: str) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[key])
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise _damaged(path, key, error) from None
        advice = (
            "images of different sizes make one: bring all to one size"
            if key.startswith("x_")
            else "mixed types make one: convert it with astype(int) or astype(str)"
        )
        raise DataError(f"{path}: {key} is an array of objects, and {advice}") from None
    except DAMAGE as error:
        raise _damaged(path, key, error) from None


def _damaged(path: Path, key: str, error: Exception) -> DataError:
    return DataError(
        f"{path} is truncated or damaged{f' in {key}' if key else ''} ({error}): write it again"
        " with numpy.savez"
    )


def _layout(stated: NDArray[Any] | None, path: Path) -> str | None:
    if stated is None or str(stated) in LAYOUTS:
        return None if stated is None else str(stated)
    raise DataError(f"{path}: layout is {str(stated)!r}, but must be 'NCHW' or 'NHWC'")


def _classes(names: NDArray[Any] | None, path: Path) -> tuple[str, ...] | None:
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind not in "USiu" or not len(names):
        raise DataError(
            f"{path}: classes has type {names.dtype} and shape {names.shape}, but must be a list of"
            " names, one a class"
        )
    if names.dtype.kind == "S":
        return tuple(str(name, "utf-8", "replace") for name in names.tolist())
    return tuple(str(name) for name in names.tolist())

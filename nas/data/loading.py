"""From a name or a path to a data set of three parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, hint
from .catalogue import DATASETS, FORMATS
from .checks import checked
from .cifar import PACKED
from .images import ImageData, Images
from .parts import Parts
from .split import stratified
from .statistics import channel_statistics


def load(name: str, *, seed: int = 0, validation: float = 0.1) -> ImageData:
    """The data set of that name, or at that path.

    name        a name of DATASETS, else a path (FORMATS has what may lie there)
    seed        draws the validation part; the test part never depends on it
    validation  the part of the training images to validate with, class by class

    All arrays are read-only: Ray's object store hands out such, so nothing may write to them.
    Raises DataError, in one sentence, for whatever is wrong with the data.
    """
    if not 0 < validation < 1:
        raise DataError(
            f"validation is {validation}, but is a part of the training images, above 0 and below"
            " 1: type 0.1 for a tenth"
        )
    if not 0 <= seed < 2**32:
        raise DataError(f"the seed is {seed}, but must be 0 to {2**32 - 1}: type a smaller one")
    source = locate(name)
    train, test, classes = checked(_read(source))
    kept, cut = stratified(train.y, validation, seed)
    chosen = _frozen(train.x[kept], train.y[kept])
    mean, std = channel_statistics(chosen.x)
    return ImageData(
        name=source if source in DATASETS else _title(Path(source)),
        train=chosen,
        validation=_frozen(train.x[cut], train.y[cut]),
        test=_frozen(test.x, test.y),
        classes=classes,
        mean=mean,
        std=std,
    )


def locate(name: str) -> str:
    """What `name` means, from any working folder: a name of DATASETS as it is, else an absolute
    path.

    A known name wins over a file or folder so called (`./digits` reaches that). Raises DataError
    where there is neither, with the nearest known name.
    """
    if name in DATASETS:
        return name
    path = Path(name).expanduser()
    if name and path.exists():
        return str(path.absolute())
    if path.name != name or path.suffix:  # no bare word
        raise DataError(
            f"{name} does not exist: give a known name ({', '.join(DATASETS.names())}), or the path"
            f" of {_formats()}"
        )
    raise DataError(
        f"{name!r} is no known data set, and no file or folder of that name is in {Path.cwd()}"
        f"{hint(name, DATASETS.names())}"
    )


def _read(source: str) -> Parts:
    path = Path(source)
    try:
        if source in DATASETS:
            return DATASETS.get(source)()
        for _, form in FORMATS.items():
            if form.fits(path):
                return form.read(path)
        inside = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be read ({error.strerror}): give a file that can"
        ) from None
    if path.is_dir():
        found = f" (in there: {', '.join(inside[:5])}{', …' if len(inside) > 5 else ''})"
        raise DataError(
            f"{path} holds no data of a known format{found if inside else ', it is empty'}: give"
            f" {_formats()}"
        )
    raise DataError(f"{path} is no file of a known format: give {_formats()}")


def _formats() -> str:
    return ", or ".join(form.about for _, form in FORMATS.items())


def _title(path: Path) -> str:
    """The name of a file without its ending, of a folder as it is."""
    ending = next((e for e in (*PACKED, ".npz") if path.name.lower().endswith(e)), "")
    return path.resolve().name if path.is_dir() else path.name[: len(path.name) - len(ending)]


def _frozen(x: NDArray[Any], y: NDArray[Any]) -> Images:
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    for array in (x, y):
        array.setflags(write=False)
    return Images(x, y)

"""What every data set must hold to, whatever file it came from; else a DataError."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .images import Images
from .parts import Part, Parts
from .statistics import blocks


def checked(parts: Parts) -> tuple[Images, Images, tuple[str, ...]]:
    """Training images, test images and class names, from what a reader found.

    Pixels come out as uint8 or float32, labels as int64 from 0 to K-1. Raises DataError.
    """
    for part in (parts.train, parts.test):
        _same_count(part)
    x_train, x_test = pixels((parts.train.x, parts.train.x_from), (parts.test.x, parts.test.x_from))
    _alike(x_train, x_test, parts)
    y_train, y_test = (_flat(part) for part in (parts.train, parts.test))
    if y_train.dtype.kind in "US" or y_test.dtype.kind in "US":
        classes, y_train, y_test = _words_to_numbers(y_train, y_test, parts)
    else:
        for y, part in ((y_train, parts.train), (y_test, parts.test)):
            _whole_numbers(y, part.y_from)
        classes = parts.classes or tuple(str(k) for k in _numbers(y_train, parts.train.y_from))
        for y, part in ((y_train, parts.train), (y_test, parts.test)):
            _in_range(y, len(classes), part.y_from)
    _splittable(y_train, classes, parts.train.y_from)
    return (
        Images(x_train, y_train.astype(np.int64)),
        Images(x_test, y_test.astype(np.int64)),
        classes,
    )


def pixels(*arrays: tuple[NDArray[Any], str]) -> list[NDArray[Any]]:
    """Images (each with the file that they came from) as uint8 or float32.

    uint8 passes as it is, other whole numbers from 0 to 255 become uint8, floats become float32.
    Where all arrays hold floats that are nothing but whole numbers from 0 to 255, beyond 1 too,
    they become uint8 as well: they are the same images at four times the memory, and on another
    scale than the bytes that `read_images` gives.
    Raises DataError on NaN, infinity and whole numbers outside 0 to 255.
    """
    found = [_bytes_or_floats(x, where) for x, where in arrays]
    if all(x.dtype == np.float32 and _holds_bytes(x) for x in found):
        return [x.astype(np.uint8) for x in found]
    return found


def _bytes_or_floats(x: NDArray[Any], where: str) -> NDArray[Any]:
    if x.size == 0:
        raise DataError(f"{where}: the shape {x.shape} holds no pixel: at least one is needed")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind in "iu":
        low, high = int(x.min()), int(x.max())
        if low < 0 or high > 255:
            raise DataError(
                f"{where}: pixels go from {low} to {high}, but whole numbers must be 0 to 255:"
                " scale them, or save them as floats"
            )
        return x.astype(np.uint8)
    if x.dtype.kind != "f":
        raise DataError(
            f"{where}: pixels are of type {x.dtype}, but must be uint8 (0 to 255) or float: convert"
            " them with astype"
        )
    with np.errstate(over="ignore"):  # what does not fit becomes inf, which is refused next
        x = x.astype(np.float32, copy=False)
    _finite(x, where)
    return x


def _finite(x: NDArray[Any], where: str) -> None:
    seen = 0
    for block in blocks(x):
        good = np.isfinite(block)
        if not good.all():
            place = np.argwhere(~good)[0]
            raise DataError(
                f"{where}: image {seen + place[0]} holds the pixel {block[tuple(place)]}, but all"
                " must be finite float32 numbers: replace it, or leave the image out"
            )
        seen += len(block)


def _holds_bytes(x: NDArray[Any]) -> bool:
    if not (x.min() >= 0 and 1 < x.max() <= 255):
        return False
    return all(bool((block == np.floor(block)).all()) for block in blocks(x))


def _same_count(part: Part) -> None:
    if len(part.x) != len(part.y):
        raise DataError(
            f"{part.x_from} holds {len(part.x):,} images, but {part.y_from} {len(part.y):,} labels:"
            " each image needs one label, in the same order"
        )


def _alike(train: NDArray[Any], test: NDArray[Any], parts: Parts) -> None:
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{parts.test.x_from}: the images are {_size(test)}, but those of"
            f" {parts.train.x_from} are {_size(train)} (height x width x channels): bring all"
            " images to one size"
        )
    if train.dtype != test.dtype:
        raise DataError(
            f"{parts.test.x_from}: pixels are {test.dtype}, but those of {parts.train.x_from} are"
            f" {train.dtype}: save both in one scale and type"
        )


def _size(x: NDArray[Any]) -> str:
    return "x".join(str(x.shape[axis]) for axis in (2, 3, 1))


def _flat(part: Part) -> NDArray[Any]:
    y = part.y
    if y.ndim == 2 and y.shape[1] == 1:  # as Keras saves CIFAR
        return y[:, 0]
    if y.ndim == 1:
        return y
    advice = "take labels.argmax(1)" if y.ndim == 2 else "save one label an image"
    raise DataError(f"{part.y_from}: labels have shape {y.shape}, but must be (N,): {advice}")


def _whole_numbers(y: NDArray[Any], where: str) -> None:
    if y.dtype.kind not in "iu":
        first = f" (the first is {y[0]})" if len(y) else ""
        raise DataError(
            f"{where}: labels are of type {y.dtype}{first}, but must be whole numbers or words:"
            " convert them with astype(int)"
        )
    if int(y.min()) < 0:
        place = int(np.argmax(y < 0))
        raise DataError(
            f"{where}: label {y[place]} at position {place} is negative, but labels are 0 to K-1"
            " for K classes: correct it, or leave the image out"
        )


def _numbers(y: NDArray[Any], where: str) -> range:
    """The classes 0 to K-1 of labels that come without names, all of them in use."""
    present = np.unique(y)
    highest = int(present[-1])
    if len(present) == highest + 1:
        return range(highest + 1)
    if len(present) == highest:
        absent = int(np.argmax(np.append(present, -1) != np.arange(highest + 1)))
        advice = "subtract 1 from all labels of both parts" if absent == 0 else "close the gap"
    else:
        absent = int(np.argmax(present != np.arange(len(present))))
        advice = f"correct the label {highest}, or number the {len(present)} classes without gaps"
    raise DataError(
        f"{where}: labels go up to {highest}, but class {absent} has no training image; labels must"
        f" be 0 to K-1 and every class in use: {advice}"
    )


def _in_range(y: NDArray[Any], classes: int, where: str) -> None:
    if int(y.max()) >= classes:
        place = int(np.argmax(y >= classes))
        raise DataError(
            f"{where}: label {y[place]} at position {place} is out of range, but the training data"
            f" have {classes} classes, 0 to {classes - 1}: correct it, or leave the image out"
        )


def _words_to_numbers(
    y_train: NDArray[Any], y_test: NDArray[Any], parts: Parts
) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    words = []
    for y, where in ((y_train, parts.train.y_from), (y_test, parts.test.y_from)):
        if y.dtype.kind not in "US":
            raise DataError(
                f"{where}: labels are of type {y.dtype}, but those of the other part are words:"
                " save both as words, or both as numbers"
            )
        words.append([str(w, "utf-8", "replace") if isinstance(w, bytes) else str(w) for w in y])
    classes = parts.classes or tuple(sorted(set(words[0])))
    number = {word: k for k, word in enumerate(classes)}
    for part, where in zip(words, (parts.train.y_from, parts.test.y_from), strict=True):
        for place, word in enumerate(part):
            if word not in number:
                some = ", ".join(map(repr, classes[:20])) + (", …" if len(classes) > 20 else "")
                raise DataError(
                    f"{where}: label {word!r} at position {place} is none of the classes {some}:"
                    " correct it, or leave the image out"
                )
    train, test = (np.array([number[word] for word in part], np.int64) for part in words)
    return classes, train, test


def _splittable(y: NDArray[Any], classes: tuple[str, ...], where: str) -> None:
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise DataError(f"{where}: two classes are named {twice!r}: give each a name of its own")
    if len(classes) < 2:
        raise DataError(
            f"{where}: all training images are of the class {classes[0]!r}, but at least two"
            " classes are needed: add images of another"
        )
    counts = np.bincount(y.astype(np.int64), minlength=len(classes))
    smallest = int(counts.argmin())
    if counts[smallest] < 2:
        has = "one training image" if counts[smallest] else "no training image"
        raise DataError(
            f"{where}: class {classes[smallest]!r} has {has}, but needs two, one to train on and"
            " one to validate with: add images, or take the class out"
        )

"""Pickles of plain values and numpy arrays, read without running what they name.

A pickle may call any function. Here it reaches stand-ins alone, which take the arguments that
numpy's own functions would get and build the array from its bytes: not even numpy's functions are
called, as they trust what they are given (numpy 2.4 ended in a segmentation fault on one of a few
thousand damaged files).
"""

from __future__ import annotations

import io
import math
import pickle
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

NUMBERS = re.compile(r"[biuf][1248]")


class _Foreign(pickle.UnpicklingError):
    """The pickle names something beside numpy's arrays."""


class _Type:
    """Stands for numpy.dtype; its state is (version, byte order, …)."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        self.name, self.order = _text(name), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])

    def dtype(self) -> np.dtype[Any]:
        if not NUMBERS.fullmatch(self.name) or self.order not in ("<", ">", "|", "="):
            raise _Foreign(f"values of type {self.order}{self.name}")
        return np.dtype(self.order + self.name)


class _Array:
    """Stands for numpy.ndarray; its state is (version, shape, type, columns first, bytes)."""

    array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns_first, content = state
        self.fill(content, kind, shape, "F" if columns_first else "C")

    def fill(self, content: Any, kind: _Type, shape: tuple[int, ...], order: Any) -> None:
        raw = content.encode("latin1") if isinstance(content, str) else bytes(content)
        if len(raw) != math.prod(shape) * kind.dtype().itemsize:
            raise ValueError(f"{len(raw)} bytes for the shape {shape}")
        self.array = np.frombuffer(raw, kind.dtype()).reshape(shape, order=order)


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _frombuffer(content: Any, kind: _Type, shape: tuple[int, ...], order: str, *_: Any) -> _Array:
    made = _Array()
    made.fill(content, kind, shape, order)
    return made


def _scalar(kind: _Type, content: Any) -> Any:
    made = _Array()
    made.fill(content, kind, (), "C")
    assert made.array is not None
    return made.array.item()


def _encode(text: str, encoding: str) -> bytes:
    """The one use of `_codecs.encode`: how Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise _Foreign(f"the encoding {encoding}")
    return text.encode("latin1")


# numpy 2 moved its functions into numpy._core; CIFAR's files (Python 2) have the older names.
STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle._Unpickler):
    """The one in Python: the one in C answers some damage by filling all memory, or by a
    SystemError out of a destructor. A batch of CIFAR-10 takes it 0.06 s instead of 0.03 s."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise _Foreign(f"{module}.{name}")
        return STAND_INS[module, name]


def read_pickle(content: bytes, where: str) -> dict[str, Any]:
    """The dict in a pickle, of Python 2 or 3: its keys as text, its arrays as numpy's.

    Raises DataError where there is none, or where it names anything but numpy's arrays.
    """
    if not content:
        raise DataError(f"{where} is empty (0 bytes): copy or download it again")
    try:
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except _Foreign as error:
        raise DataError(
            f"{where} is a pickle that asks for {str(error)!r}, but only numpy arrays are allowed,"
            " since anything else could run code: use the authors' archive"
        ) from None
    except Exception as error:  # a damaged pickle raises whatever its opcodes meet
        raise DataError(
            f"{where} is no pickle, or a truncated one ({type(error).__name__}): copy or download"
            " it again"
        ) from None
    if not isinstance(found, dict):
        raise DataError(
            f"{where} holds a {type(found).__name__.strip('_')}, but CIFAR's files hold a dict: use"
            " the authors' archive"
        )
    return {
        _text(key): value.array if isinstance(value, _Array) else value
        for key, value in found.items()
    }


def _text(word: object) -> str:
    return word.decode("latin1") if isinstance(word, bytes) else str(word)

"""The tables of this package: sets that have a name, formats that have a path, augmentations.

A new set or format is one file and one line here; the contract tests take it up by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..registry import Registry
from . import cifar, digits, idx, npz
from .parts import Parts
from .stored import Stored

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Format:
    """A format of files: whether a path looks like it, and how it is read (DataError)."""

    about: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Parts]


DATASETS: Registry[Callable[[], Parts]] = Registry("data set")
FORMATS: Registry[Format] = Registry("data format")
AUGMENTATIONS: Registry[Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = Registry(
    "augmentation", home="nas.data.augmentation"
)

NUMERALS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FOUR_FILES = ", ".join(f"{name}.gz" for name in idx.FILES.values())

# Behind the first place each: other spellings, and where torchvision keeps the same files.
MNIST = Stored(
    "mnist", ("mnist", "MNIST/raw", "MNIST"), FOUR_FILES, partial(idx.read, classes=NUMERALS)
)
FASHION_MNIST = Stored(
    "fashion-mnist",
    ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw", "FashionMNIST"),
    FOUR_FILES,
    partial(idx.read, classes=CLOTHES),
)
CIFAR10 = Stored(
    "cifar10",
    ("cifar10", "cifar-10", cifar.CIFAR10.folder, cifar.CIFAR10.archive),
    cifar.CIFAR10.archive,
    partial(cifar.read, kind=cifar.CIFAR10),
)
CIFAR100 = Stored(
    "cifar100",
    ("cifar100", "cifar-100", cifar.CIFAR100.folder, cifar.CIFAR100.archive),
    cifar.CIFAR100.archive,
    partial(cifar.read, kind=cifar.CIFAR100),
)

DATASETS.add("digits", digits.read)
DATASETS.add("mnist", MNIST)
DATASETS.add("fashion-mnist", FASHION_MNIST)
DATASETS.add("cifar10", CIFAR10)
DATASETS.add("cifar100", CIFAR100)

FORMATS.add("idx", Format("a folder with the four IDX files of MNIST", idx.fits, idx.read))
FORMATS.add("npz", Format("a .npz with x_train, y_train, x_test, y_test", npz.fits, npz.read))
FORMATS.add("cifar", Format("CIFAR's .tar.gz, or what it unpacks to", cifar.fits, cifar.read))

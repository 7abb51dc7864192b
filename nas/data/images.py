"""Images with their labels, and a data set of three such parts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Images:
    """Images and their labels. Both arrays are C-contiguous and read-only.

    x  (N, C, H, W), uint8 (0 to 255) or float32 (any finite values)
    y  (N,), int64, the class of each image, 0 to K-1
    """

    x: NDArray[Any]
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: a part to train on, one to choose by, one to test on at the very end.

    classes    the names of the classes, in the order of the labels
    mean, std  per channel of the training part alone, uint8 scaled to [0, 1]; std is never 0
    """

    name: str
    train: Images
    validation: Images
    test: Images
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return int(self.train.x.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.train.x.shape[2]), int(self.train.x.shape[3])

    @property
    def num_classes(self) -> int:
        """How many classes there are; every one of them is in `train` and in `validation`."""
        return len(self.classes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all images and labels, as they are split."""
        found = hashlib.sha256("\n".join(self.classes).encode(errors="backslashreplace"))
        for part in (self.train, self.validation, self.test):
            found.update(repr((part.x.shape, part.x.dtype.str)).encode())
            found.update(part.x.data)
            found.update(part.y.data)
        return found.hexdigest()

    def without_test(self) -> ImageData:
        """What a search works with: it cannot look at test images that it does not have."""
        return replace(self, test=Images(self.test.x[:0], self.test.y[:0]))

    def describe(self) -> str:
        """One line: "digits: 1,293 train + 144 validation + 360 test images, 8x8x1, …"."""
        height, width = self.size
        return (
            f"{self.name}: {len(self.train):,} train + {len(self.validation):,} validation"
            f" + {len(self.test):,} test images, {height}x{width}x{self.channels},"
            f" {self.num_classes} classes"
        )

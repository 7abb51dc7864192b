"""scikit-learn's digits: 1,797 real handwritten digits of 8x8 pixels, part of its installation.

(Alpaydin and Kaynak 1998, UCI "Optical recognition of handwritten digits", its test part.)
"""

from __future__ import annotations

import numpy as np

from .parts import Part, Parts
from .split import stratified

TEST_FRACTION = 0.2
TEST_SEED = 1998  # a constant: results of different seeds are told on the same test images


def read() -> Parts:
    """The images with their 17 grey levels spread over 0 to 255; 1,437 to train on, 360 to test."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    x = np.rint(loaded.images * (255 / 16)).astype(np.uint8)[:, np.newaxis]  # (N, 1, 8, 8)
    train, test = stratified(loaded.target, TEST_FRACTION, TEST_SEED)
    where = "scikit-learn's digits"
    return Parts(
        Part(x[train], loaded.target[train], where, where),
        Part(x[test], loaded.target[test], where, where),
        classes=tuple("0123456789"),
    )

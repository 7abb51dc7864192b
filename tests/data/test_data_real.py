"""The real MNIST and Fashion-MNIST, where $NAS_DATA holds them."""

from __future__ import annotations

import os

import numpy as np
import pytest

from nas.data import ImageData, load
from nas.errors import DataError


def _real(name: str) -> ImageData:
    if not os.environ.get("NAS_DATA"):
        pytest.skip("NAS_DATA names no folder with the real data")
    try:
        return load(name)
    except DataError as error:
        if " is not in " not in str(error):
            raise
        pytest.skip(str(error))


# Mean and deviation of all 60,000 training images, as published; ours leave 6,000 out.
@pytest.mark.parametrize(
    ("name", "mean", "std", "last"),
    [("mnist", 0.1307, 0.3081, "9"), ("fashion-mnist", 0.2860, 0.3530, "Ankle boot")],
)
def test_the_real_files(name, mean, std, last):
    data = _real(name)
    assert data.describe() == (
        f"{name}: 54,000 train + 6,000 validation + 10,000 test images, 28x28x1, 10 classes"
    )
    assert data.classes[9] == last
    assert data.mean == pytest.approx([mean], abs=5e-4)
    assert data.std == pytest.approx([std], abs=5e-4)
    whole = np.bincount(data.train.y) + np.bincount(data.validation.y)
    np.testing.assert_allclose(np.bincount(data.validation.y), whole / 10, atol=1)

"""Commands in this process, and pictures."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ..conftest import Result


@pytest.fixture
def nas(here: Callable[..., Result]) -> Callable[..., Result]:
    """Run a command in this process."""
    return here


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> list[Path]:
    """Four handwritten digits as PNG, named by what they show."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for place in range(4):
        pixels = np.round(digits.images[place] * 255 / 16).astype(np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        path = folder / f"{digits.target[place]}.png"
        path.write_bytes(content.getvalue())
        paths.append(path)
    return paths

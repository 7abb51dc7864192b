"""Every registered set and format: what is written is what is loaded, and what a set promises."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from nas.data import DATASETS, FORMATS, ImageData, load
from nas.train.batches import shared_tensor

from ..data.image_files import WRITERS, Sample

NAMES = (*DATASETS.names(), *FORMATS.names())
CASES = [(name, variant) for name in NAMES for variant in WRITERS.get(name, {"no writer": None})]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}: {case[1]}")
def written(request, tmp_path, monkeypatch) -> tuple[str, Sample | None]:
    name, variant = request.param
    assert name in WRITERS, f"tests/data/image_files.py has no writer for {name}"
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    return WRITERS[name][variant](tmp_path)


def test_no_writer_without_a_set():
    assert set(WRITERS) == set(NAMES)


def test_what_was_written_is_loaded(written):
    name, sample = written
    data = load(name)
    if sample is None:
        pytest.skip(f"{name} is not written by us; its other promises are tested below")
    x = np.concatenate([data.train.x, data.validation.x])
    y = np.concatenate([data.train.y, data.validation.y])
    order = np.argsort(x[:, 0, 0, 0])
    np.testing.assert_array_equal(x[order], sample.x_train)
    np.testing.assert_array_equal(y[order], sample.y_train)
    np.testing.assert_array_equal(data.test.x, sample.x_test)
    np.testing.assert_array_equal(data.test.y, sample.y_test)


def test_what_a_set_promises(written):
    data = load(written[0], validation=0.25)
    k = len(data.classes)
    assert data.num_classes == k
    assert len(set(data.classes)) == k
    for part in (data.train, data.validation, data.test):
        assert part.x.dtype in (np.uint8, np.float32)
        assert part.y.dtype == np.int64
        assert part.x.shape == (len(part), data.channels, *data.size)
        assert part.y.shape == (len(part),)
        assert part.x.flags.c_contiguous
        assert part.y.flags.c_contiguous
        assert not part.x.flags.writeable
        assert not part.y.flags.writeable
        assert part.y.max() < k
    for part in (data.train, data.validation):
        assert np.bincount(part.y, minlength=k).min() >= 1
    assert len(data.mean) == len(data.std) == data.channels
    assert min(data.std) > 0
    scaled = data.train.x / 255 if data.train.x.dtype == np.uint8 else data.train.x
    np.testing.assert_allclose(data.mean, scaled.mean(axis=(0, 2, 3), dtype=np.float64))
    assert f"{len(data.test)} test images" in data.describe()


def test_the_seed_moves_the_validation_part_alone(written):
    first, again, other = (load(written[0], seed=seed) for seed in (3, 3, 4))
    assert _bytes(first) == _bytes(again)
    assert first.train.x.tobytes() != other.train.x.tobytes()
    assert first.test.x.tobytes() == other.test.x.tobytes()


def test_a_set_travels_to_a_worker(written):
    data = load(written[0])
    there = pickle.loads(pickle.dumps(data))
    assert _bytes(there) == _bytes(data)
    for part in ("train", "validation", "test"):  # by which convolutions pick their kernels
        here, gone = (shared_tensor(getattr(each, part).x) for each in (data, there))
        assert here.stride() == gone.stride() == torch.empty(here.shape).stride()


def _bytes(data: ImageData) -> list[bytes]:
    parts = (data.train, data.validation, data.test)
    return [array.tobytes() for part in parts for array in (part.x, part.y)]


def test_a_search_gets_no_test_images():
    from nas.data import load

    data = load("digits")
    kept = data.without_test()
    assert len(kept.test) == 0
    assert kept.train is data.train and kept.validation is data.validation

"""Mean and deviation per channel, against numpy's in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas.data import statistics

shapes = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
floats = st.floats(-1e4, 1e4, width=32)


@given(st.one_of(arrays(np.uint8, shapes), arrays(np.float32, shapes, elements=floats)))
def test_they_are_numpys(x):
    wanted = (x / 255 if x.dtype == np.uint8 else x).astype(np.float64)
    flat = wanted.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
    mean, std = statistics.channel_statistics(x)
    np.testing.assert_allclose(mean, flat.mean(axis=1), rtol=1e-9, atol=1e-9)
    constant = flat.min(axis=1) == flat.max(axis=1)
    np.testing.assert_allclose(std, np.where(constant, 1.0, flat.std(axis=1)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_blocks_change_nothing(dtype, monkeypatch):
    x = np.random.RandomState(0).randint(0, 256, (50, 3, 7, 5)).astype(dtype)
    whole = statistics.channel_statistics(x)
    monkeypatch.setattr(statistics, "BLOCK_VALUES", 3 * 7 * 5 * 4)
    assert len(list(statistics.blocks(x))) == 13
    np.testing.assert_allclose(statistics.channel_statistics(x), whole, rtol=1e-12)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_channel_has_a_deviation_of_one(value):
    x = np.random.RandomState(0).randint(0, 256, (20, 2, 4, 4)).astype(np.uint8)
    x[:, 1] = value
    assert statistics.channel_statistics(x)[1][1] == 1
    # 0.1 is no binary fraction: the rounded mean is not the value itself.
    assert statistics.channel_statistics(np.full((999, 1, 3, 3), 0.1, np.float32))[1] == (1,)

"""Cutting a part off, class by class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def stratified(
    y: NDArray[Any], fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions to keep and positions to cut off, each in ascending order, for labels `y` (N,).

    `fraction` of all images (rounded up) is cut off, shared among the classes by largest
    remainder; a class keeps at least one image on either side, so it needs two.
    The same labels, fraction and seed give the same positions everywhere: RandomState's stream
    is frozen for ever, that of numpy's newer generators is not (NEP 19).
    """
    random = np.random.RandomState(seed)
    counts = np.unique(y, return_counts=True)[1]
    ends = np.cumsum(counts)
    by_class = np.split(np.argsort(y, kind="stable"), ends[:-1])
    cut = []
    for positions, share in zip(by_class, _shares(counts, fraction), strict=True):
        cut.append(random.permutation(positions)[:share])
    inside = np.zeros(len(y), bool)
    inside[np.concatenate(cut)] = True
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def _shares(counts: NDArray[Any], fraction: float) -> NDArray[Any]:
    quotas = counts * fraction
    shares = np.floor(quotas).astype(np.int64)
    # 0.1 * 70 is 7.000000000000001 in binary, which is no reason to cut off an eighth image.
    missing = math.ceil(round(float(quotas.sum()), 6)) - int(shares.sum())
    shares[np.argsort(shares - quotas, kind="stable")[: max(0, missing)]] += 1
    return np.clip(shares, 1, counts - 1)

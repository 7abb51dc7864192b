"""Early stopping: patience on the smoothed accuracy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.train.stopping import EarlyStopper

accuracies = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def stalled_at(stopper: EarlyStopper, values: list[float]) -> int | None:
    for epoch, value in enumerate(values, 1):
        if stopper.see(value):
            return epoch
    return None


@pytest.mark.parametrize("patience", [1, 3, 10])
def test_unsmoothed_it_stops_patience_epochs_after_the_last_better_one(patience: int) -> None:
    values = [0.1, 0.5, 0.9] + [0.9] * 50
    assert stalled_at(EarlyStopper(patience, 0.0), values) == 3 + patience


@given(accuracies, st.floats(0, 0.99))
def test_patience_0_never_stops(values: list[float], smoothing: float) -> None:
    assert stalled_at(EarlyStopper(0, smoothing), values) is None


@given(accuracies, st.integers(1, 10), st.floats(0, 0.99))
def test_it_never_stops_before_patience_epochs(
    values: list[float], patience: int, smoothing: float
) -> None:
    epoch = stalled_at(EarlyStopper(patience, smoothing), values)
    assert epoch is None or epoch > patience


@given(st.integers(1, 5), st.floats(0, 0.99), st.integers(2, 60))
def test_a_steady_rise_is_never_stopped(patience: int, smoothing: float, epochs: int) -> None:
    values = [0.01 * epoch for epoch in range(epochs)]
    assert stalled_at(EarlyStopper(patience, smoothing), values) is None


@given(accuracies, st.floats(0, 0.99))
def test_best_is_the_highest_smoothed_value(values: list[float], smoothing: float) -> None:
    stopper = EarlyStopper(0, smoothing)
    assert math.isnan(stopper.best)
    seen = []
    for value in values:
        stopper.see(value)
        seen.append(stopper.smoothed)
    assert stopper.best == max(seen)


def test_smoothing_rides_over_one_bad_epoch() -> None:
    # rising, with every other epoch poor: raw values bring a new best only every second epoch
    values = [0.3 + 0.02 * i - (0.05 if i % 2 else 0) for i in range(20)]
    assert stalled_at(EarlyStopper(1, 0.0), values) == 2
    assert stalled_at(EarlyStopper(2, 0.5), values) is None


def test_creeping_up_to_a_flat_accuracy_counts_as_flat() -> None:
    values = [0.5] + [0.9] * 100
    epoch = stalled_at(EarlyStopper(3, 0.5), values)
    assert epoch is not None
    assert epoch < 20


@given(accuracies, accuracies, st.integers(0, 5), st.floats(0, 0.99))
def test_from_a_checkpoint_it_goes_on_the_same(
    before: list[float], after: list[float], patience: int, smoothing: float
) -> None:
    first, second = EarlyStopper(patience, smoothing), EarlyStopper(patience, smoothing)
    for value in before:
        first.see(value)
    second.load_state(first.state())
    assert [first.see(value) for value in after] == [second.see(value) for value in after]
    assert (first.smoothed, first.best) == (second.smoothed, second.best)

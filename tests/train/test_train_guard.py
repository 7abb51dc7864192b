"""The guard's promises, as the design states them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.train.guard import Guard, violation
from nas.train.smoothing import ExponentialMean

# the history before a jump: all that a training does, from solved to just under the bound
histories = st.lists(st.floats(0.0, 1.5), max_size=200)
initials = st.floats(0.01, 100)


def steps_until_stop(guard: Guard, loss: float, most: int) -> int | None:
    for step in range(1, most + 1):
        if guard.see(loss):
            return step
    return None


@given(initials, histories)
def test_a_jump_to_5x_is_caught_within_10_steps(initial: float, history: list[float]) -> None:
    guard = Guard(initial)
    assert not any(guard.see(initial * value) for value in history)
    assert steps_until_stop(guard, 5 * initial, 10) is not None
    assert guard.verdict() == "exploded"


@given(initials, histories)
def test_3_01x_held_is_caught_within_60_steps(initial: float, history: list[float]) -> None:
    guard = Guard(initial)
    assert not any(guard.see(initial * value) for value in history)
    assert steps_until_stop(guard, 3.01 * initial, 60) is not None


@given(initials, histories)
def test_just_under_the_bound_is_never_stopped(initial: float, history: list[float]) -> None:
    guard = Guard(initial)
    assert not any(guard.see(initial * value) for value in history)
    assert steps_until_stop(guard, 2.999 * initial, 300) is None


@given(initials, st.lists(st.floats(0.0, 1.0), min_size=1, max_size=50), st.floats(3.0, 4.7))
def test_a_single_batch_over_3x_does_not_fire(
    initial: float, history: list[float], peak: float
) -> None:
    guard = Guard(initial)
    losses = [*history, peak, *[1.0] * 20]
    assert not any(guard.see(initial * value) for value in losses)


def test_a_single_high_batch_late_may_be_far_higher() -> None:
    guard = Guard(2.3)
    losses = [2.3] * 50 + [2.3 * 20] + [2.3] * 50
    assert not any(guard.see(loss) for loss in losses)


@given(initials, histories, st.sampled_from([math.nan, math.inf]))
def test_a_non_finite_value_stops_at_once_and_for_good(
    initial: float, history: list[float], bad: float
) -> None:
    guard = Guard(initial)
    for value in history:
        guard.see(initial * value)
    assert guard.see(bad) == "nan"
    assert guard.see(initial) == "nan"


@pytest.mark.parametrize("initial", [math.nan, math.inf])
def test_a_non_finite_initial_loss_stops_before_the_first_step(initial: float) -> None:
    assert Guard(initial).verdict() == "nan"
    assert Guard(2.3).verdict() is None


def test_an_initial_loss_of_0_neither_divides_by_it_nor_misfires() -> None:
    guard = Guard(0.0)
    assert guard.ratio is None
    assert guard.see(1e-4) is None
    assert guard.see(0.5) == "exploded"


@given(initials, histories, histories)
def test_a_guard_from_a_checkpoint_sees_what_the_first_would_have(
    initial: float, before: list[float], after: list[float]
) -> None:
    guard = Guard(initial)
    for value in before:
        guard.see(initial * value)
    resumed = Guard.from_state(guard.state())
    assert resumed.ratio == guard.ratio
    for value in [*after, 5.0, 5.0, 5.0]:
        assert resumed.see(initial * value) == guard.see(initial * value)
    assert resumed.ratio == guard.ratio


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.floats(0, 0.99))
def test_the_mean_is_the_weighted_mean_of_its_definition(
    values: list[float], factor: float
) -> None:
    mean = ExponentialMean(factor)
    assert mean.empty
    for value in values:
        mean.add(value)
    weights = [factor ** (len(values) - 1 - i) for i in range(len(values))]
    wanted = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert mean.value == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@given(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)))
def test_the_violation_is_a_number_above_0_within_its_bounds(ratio: float | None) -> None:
    assert 0.1 <= violation(ratio) <= 10


@pytest.mark.parametrize(
    ("ratio", "wanted"),
    [
        (3.0, 0.1),
        (3.01, 0.1),
        (3 * math.e, 1.0),
        (1e30, 10.0),
        (math.inf, 10.0),
        (math.nan, 1.0),
        (None, 1.0),
        (0.0, 0.1),
        (5e-324, 0.1),
        (-math.inf, 0.1),
    ],
)
def test_the_violation_is_the_log_of_the_ratio_over_3(ratio: float | None, wanted: float) -> None:
    assert violation(ratio) == pytest.approx(wanted)

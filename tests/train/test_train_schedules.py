"""Properties of the learning-rate schedules."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.train.recipe import Recipe
from nas.train.schedules import SHAPES, Schedule

recipes = st.builds(
    Recipe,
    schedule=st.sampled_from(sorted(SHAPES)),
    lr=st.floats(1e-6, 1e4),
    epochs=st.integers(1, 300),
    warmup_epochs=st.floats(0, 400),
)


def rates(schedule: Schedule) -> list[float]:
    return [schedule.lr(index) for index in range(schedule.steps)]


@given(recipes, st.integers(1, 400))
def test_every_rate_is_above_0_and_at_most_the_peak(recipe: Recipe, steps: int) -> None:
    # cosine(1) would be 0: the last step is one short of it
    assert all(0 < rate <= recipe.lr * (1 + 1e-12) for rate in rates(Schedule(recipe, steps)))


@given(recipes, st.integers(1, 400))
def test_it_rises_in_the_warm_up_and_never_after(recipe: Recipe, steps: int) -> None:
    schedule = Schedule(recipe, steps)
    values = rates(schedule)
    assert 0 <= schedule.warmup <= (steps + 1) // 2
    up, down = values[: schedule.warmup + 1], values[schedule.warmup :]
    assert all(a < b for a, b in pairwise(up))
    assert all(a >= b for a, b in pairwise(down))
    if schedule.warmup < steps:
        assert values[schedule.warmup] == pytest.approx(recipe.lr)


@given(st.integers(20, 400), st.floats(0, 400))
def test_cosine_ends_near_0_however_short_the_training(steps: int, warmup: float) -> None:
    recipe = Recipe(warmup_epochs=warmup)
    assert Schedule(recipe, steps).lr(steps - 1) < 0.03 * recipe.lr


def test_step_falls_to_a_tenth_twice() -> None:
    values = rates(Schedule(Recipe(schedule="step", lr=1.0), 8))
    assert values == [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]


def test_constant_stays() -> None:
    assert set(rates(Schedule(Recipe(schedule="constant", lr=0.3), 9))) == {0.3}


def test_a_short_stage_warms_up_by_the_same_share() -> None:
    recipe = Recipe(epochs=30, warmup_epochs=3)
    assert Schedule(recipe, 30 * 100).warmup == 300
    assert Schedule(recipe, 3 * 100).warmup == 30

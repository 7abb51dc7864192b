from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from nas.search.rungs import Rungs


def test_rungs_are_powers_of_three_up_to_a_third():
    assert Rungs.at(1) == ()
    assert Rungs.at(2) == ()
    assert Rungs.at(3) == (1,)
    assert Rungs.at(30) == (1, 3, 9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_best_so_far_always_passes_and_the_worst_of_many_never(values):
    rungs = Rungs()
    for value in values:
        rungs.record(1, value)
    assert rungs.passes(1, 2.0)
    assert not rungs.passes(1, -1.0)


def test_nan_never_passes_and_is_not_remembered():
    rungs = Rungs()
    assert not rungs.passes(1, math.nan)
    assert not rungs.passes(1, math.inf)
    assert rungs.passes(1, 0.1)


@given(st.lists(st.floats(0, 1), min_size=30, max_size=120, unique=True))
def test_about_a_third_of_a_random_order_goes_on(values):
    rungs = Rungs()
    passed = sum(rungs.passes(1, value) for value in values)
    assert 1 <= passed < len(values)

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.search import stages
from nas.space import Hole, parse

from .simulator import TEXT

HOLES = {hole.name: hole for hole in parse(TEXT, path="s.yaml").holes}
RATE = HOLES["recipe.lr"]


def best(*rates: float) -> list[dict[str, float]]:
    return [{"recipe.lr": rate} for rate in rates]


def decades(hole: Hole) -> float:
    return math.log10(hole.high / hole.low)


@given(st.lists(st.floats(-4, 1), min_size=1, max_size=12))
def test_a_log_range_gets_narrower_and_keeps_the_best(exponents):
    rates = [10**x for x in exponents]
    after = stages.narrow(RATE, best(*rates))
    assert after.low * (1 - 1e-5) <= rates[0] <= after.high * (1 + 1e-5)
    assert 0 < decades(after) < decades(RATE)


def test_a_range_is_widened_past_the_edge_that_the_best_lies_on():
    assert stages.narrow(RATE, best(9.9, 5.0)).high > RATE.high
    assert stages.narrow(RATE, best(1.05e-4, 1e-3)).low < RATE.low
    middle = stages.narrow(RATE, best(0.1, 0.2))
    assert RATE.low < middle.low and middle.high < RATE.high


def test_what_the_recipe_forbids_is_no_widening():
    momentum = Hole("recipe.momentum", "float", low=0.5, high=0.99, default=0.9, line=1)
    after = stages.narrow(momentum, [{"recipe.momentum": 0.99}])
    assert after.high <= 1


def test_options_and_sizes_are_those_of_the_best():
    channels, depth = HOLES["network.stem.channels"], HOLES["network.body.repeat"]
    decisions = [
        {"network.stem.channels": 32, "network.body.repeat": 4},
        {"network.stem.channels": 16, "network.body.repeat": 4},
    ]
    assert stages.narrow(channels, decisions).options == (16, 32)
    assert (stages.narrow(depth, decisions).low, stages.narrow(depth, decisions).high) == (3, 4)


def test_a_hole_that_no_good_trial_opened_stays_whole():
    assert stages.narrow(RATE, [{"network.stem.channels": 8}]) == RATE


@given(st.integers(1, 600))
def test_stages_grow_longer_and_are_never_empty(full):
    first = stages.coarse(tuple(HOLES.values()))
    second = stages.fine(first, best(0.1), forecast=100)
    third = stages.fine(second, best(0.1), forecast=100)
    assert 1 <= first.epochs(full) <= second.epochs(full) <= third.epochs(full) <= full
    assert (second.until, third.until) == (0.8, 1.0)


@pytest.mark.parametrize("name", ["coarse", "fine-1"])
def test_a_stage_survives_its_record(name):
    stage = stages.coarse(tuple(HOLES.values()))
    if name != "coarse":
        stage = stages.fine(stage, best(9.9, 1.0), forecast=3)
    again = stages.Stage.from_record(stage.record(), tuple(HOLES.values()))
    assert again == stage

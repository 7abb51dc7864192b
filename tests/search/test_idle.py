"""Tune's idle workers are kept while a search waits, and only such as can be trusted."""

from __future__ import annotations

import pytest
from ray.tune.execution import tune_controller

from nas.search.backend.idle import Idle

KEY = ("cpu", 1.0)


@pytest.fixture
def idle() -> Idle:
    return Idle(2)


@pytest.fixture
def cache(idle):
    with idle.kept():
        return tune_controller._ObjectCache(may_keep_one=True)


def test_tune_has_its_own_again_afterwards(cache):
    assert not isinstance(tune_controller._ObjectCache(may_keep_one=True), type(cache))


def test_one_is_kept_for_every_slot_though_no_trial_waits(cache):
    assert [cache.cache_object(KEY, worker) for worker in "abc"] == [True, True, False]
    assert list(cache.flush_cached_objects()) == []
    assert cache.total_max_objects == 0
    assert {cache.pop_cached_object(KEY), cache.pop_cached_object(KEY)} == {"a", "b"}
    assert not cache.has_cached_object(KEY) and cache.num_cached_objects == 0


def test_no_more_than_the_final_training_can_use():
    with Idle(256).kept():
        cache = tune_controller._ObjectCache(may_keep_one=True)
    kept = sum(cache.cache_object(KEY, worker) for worker in range(256))
    assert kept == 12
    cache.increase_max(KEY, by=20)  # so many trials wait for a worker
    assert sum(cache.cache_object(KEY, worker) for worker in range(256, 512)) == 8


def test_none_is_used_once_a_node_may_be_gone(cache, idle):
    cache.cache_object(KEY, "a")
    idle.distrust()
    assert not cache.has_cached_object(KEY)
    assert not cache.cache_object(KEY, "b"), "it is as suspect"
    assert list(cache.flush_cached_objects()) == ["a"]
    assert cache.cache_object(KEY, "c") and cache.has_cached_object(KEY)


def test_all_are_ended_with_the_search(cache):
    cache.cache_object(KEY, "a")
    cache.cache_object(KEY, "b")
    assert set(cache.flush_cached_objects(force_all=True)) == {"a", "b"}

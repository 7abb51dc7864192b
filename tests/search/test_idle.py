"""Tune's idle workers: they are kept while a search waits, and go to the right trials."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial

from nas.search.backend import adapters
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


def test_none_is_used_once_one_has_died(cache, idle):
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


def test_a_free_worker_is_for_the_newest_trial_unless_another_waits_too_long(monkeypatch):
    now = 0.0
    monkeypatch.setattr(adapters.time, "monotonic", lambda: now)
    scheduler = adapters._Scheduler(None, None, None)
    assert scheduler.choose_trial_to_run(None) is None
    first, second, third = (SimpleNamespace(status=Trial.PENDING) for _ in range(3))
    for trial in (first, second):
        scheduler.on_trial_add(None, trial)
    assert scheduler.choose_trial_to_run(None) is second
    assert scheduler.choose_trial_to_run(None) is second, "as often as it is asked"
    second.status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(None) is first
    now = adapters.WORKER_SECONDS + 1
    scheduler.on_trial_add(None, third)
    assert scheduler.choose_trial_to_run(None) is first, "its own worker did not come up"
    first.status = Trial.TERMINATED
    assert scheduler.choose_trial_to_run(None) is third
    third.status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(None) is None

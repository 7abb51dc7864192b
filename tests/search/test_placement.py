"""Where trials run: the policy on a device by formula, and what fits where."""

from __future__ import annotations

import random

import pytest

from nas.errors import UserError
from nas.search.machine import Node, pick_cluster_device
from nas.search.placement import (
    AUTO,
    HEADROOM,
    Level,
    Wish,
    parse_count,
    parse_share,
    place,
    settle,
    share_of,
    sharing,
)

GIB = 2**30
LAPTOP = Node("laptop", cpus=8)
SERVER = Node("server", cpus=64, gpus=4, gpu="Some GPU", gpu_memory=40 * GIB)
SMALL = Node("small", cpus=4, gpus=1, gpu="Some GPU", gpu_memory=16 * GIB)


def saturating(k: int) -> float:
    """Three trials fill the device; more share what there is."""
    return 1000.0 * min(k, 3)


def falling(k: int) -> float:
    """Good to four trials; more get in each other's way."""
    return 1000.0 * k if k <= 4 else 4000.0 * (4 / k) ** 2


def serial(k: int) -> float:
    """One trial fills the device."""
    return 1000.0


def growing(k: int) -> float:
    return 1000.0 * k


class Device:
    """Counts what is asked of it; `noise` is the share by which a look may be too low, `slowing`
    how many times as slow a trial is with more than one thread."""

    def __init__(
        self, pace, memory: int = 0, noise: float = 0.0, seed: int = 0, slowing: float = 1.0
    ) -> None:
        self.pace, self.memory, self.noise, self.slowing = pace, memory, noise, slowing
        self.random, self.asked = random.Random(seed), []

    def __call__(self, trials: int, threads: int) -> Level:
        self.asked.append(trials)
        pace = self.pace(trials) * (1 - self.random.random() * self.noise)
        return Level(trials, threads, pace / (self.slowing if threads > 1 else 1), self.memory)


def settled(device: Device, most: int = 64, memory: int = 80 * GIB) -> int:
    level, _ = settle(device, most, lambda trials: [1], memory)
    return level.trials


@pytest.mark.parametrize(
    ("pace", "chosen"), [(saturating, 3), (falling, 4), (serial, 1), (growing, 64)]
)
def test_trials_are_added_only_while_more_gets_done(pace, chosen):
    device = Device(pace)
    assert settled(device) == chosen
    beyond = [trials for trials in device.asked if trials > chosen]
    assert len(beyond) <= 2, "one step beyond the best, looked at twice"


def test_a_busy_machine_misleads_by_a_step_at_most():
    for seed in range(200):
        assert settled(Device(saturating, noise=0.04, seed=seed)) == 3
        assert settled(Device(falling, noise=0.15, seed=seed)) in (3, 4)


@pytest.mark.parametrize("gib", [3, 7, 11, 30, 79, 200])
def test_memory_bounds_what_shares_a_device(gib):
    device = Device(growing, memory=gib * GIB)
    chosen = settled(device)
    assert chosen == max(1, int(80 / (HEADROOM * gib)))
    assert max(device.asked) * gib * HEADROOM <= 80 or device.asked == [1]


def test_trials_that_break_when_they_share_run_alone():
    assert settled(Device(lambda k: 1000.0 if k == 1 else 0.0)) == 1


def test_a_little_more_is_not_worth_another_trial():
    assert settled(Device(lambda k: 1000.0 * (1 + 0.03 * (k - 1)))) == 1


def test_the_share_of_so_many_trials_holds_so_many():
    for trials in range(1, 101):
        assert sharing(share_of(trials)) == trials


def on(nodes, device, wish=None, address=None, pace=None, memory=0, slowing=1.0):
    wish = wish or Wish()
    simulated = None
    if pace is not None:
        simulated = lambda most, threads, room: settle(  # noqa: E731
            Device(pace, memory, slowing=slowing), most, threads, room
        )
    return place(
        wish, device, nodes, address=address, memory=40 * GIB if device == "cuda" else 16 * GIB,
        settled=simulated,
    )  # fmt: skip


def test_nothing_said_fills_the_machine_with_one_thread_each():
    found = on([LAPTOP], "cpu")
    assert (found.trials_at_once, found.threads, found.gpus_per_trial) == (8, 1, 0.0)
    found = on([SERVER], "cuda")
    assert (found.trials_at_once, found.threads, found.gpus_per_trial) == (4, 16, 1.0)


@pytest.mark.parametrize(
    ("share", "trials", "threads"), [(0.25, 16, 4), (0.3, 12, 5), (1, 4, 16), (2, 2, 32)]
)
def test_a_share_of_a_gpu_says_how_many_fit(share, trials, threads):
    found = on([SERVER], "cuda", Wish(gpus_per_trial=float(share)))
    assert (found.trials_at_once, found.threads) == (trials, threads)
    assert found.memory == min(1.0, share) * 40 * GIB


def test_cpus_per_trial_are_its_threads():
    found = on([LAPTOP], "cpu", Wish(cpus_per_trial=3))
    assert (found.trials_at_once, found.threads, found.cpus_per_trial) == (2, 3, 3)


def test_auto_on_cpus_chooses_between_more_trials_and_more_threads():
    wish = Wish(trials_at_once=AUTO)
    many = on([LAPTOP], "cpu", wish, pace=growing)
    few = on([LAPTOP], "cpu", wish, pace=serial, slowing=0.5)
    assert (many.trials_at_once, many.threads) == (8, 1)
    assert (few.trials_at_once, few.threads) == (1, 8)
    assert "1 at once (8 threads) 2,000 images/s" in few.why


def test_auto_gives_a_small_network_one_thread_where_more_fight():
    for wish in (Wish(trials_at_once=AUTO), Wish(cpus_per_trial=AUTO)):
        lone = on([LAPTOP], "cpu", wish, pace=serial, slowing=10.0)
        assert (lone.trials_at_once, lone.threads, lone.cpus_per_trial) == (1, 1, 1)
        assert "1 at once (8 threads) 100 images/s, 1 at once (1 thread) 1,000" in lone.why
        many = on([LAPTOP], "cpu", wish, pace=growing, slowing=10.0)
        assert (many.trials_at_once, many.threads) == (8, 1)
        said = Wish(trials_at_once=AUTO, cpus_per_trial=2)
        assert on([LAPTOP], "cpu", said, pace=serial, slowing=10.0).threads == 2


def test_auto_on_gpus_packs_each_of_them():
    found = on([SERVER], "cuda", Wish(gpus_per_trial=AUTO), pace=saturating)
    assert (found.trials_at_once, sharing(found.gpus_per_trial), found.threads) == (12, 3, 5)
    tight = on([SERVER], "cuda", Wish(gpus_per_trial=AUTO), pace=growing, memory=15 * GIB)
    assert (tight.trials_at_once, sharing(tight.gpus_per_trial)) == (8, 2)
    few = on([SERVER], "cuda", Wish(gpus_per_trial=AUTO, trials_at_once=8), pace=growing)
    assert (few.trials_at_once, sharing(few.gpus_per_trial)) == (8, 2)


def test_a_cluster_counts_what_fits_on_each_node():
    nodes = [SERVER, SMALL, LAPTOP]
    found = on(nodes, "cuda", Wish(gpus_per_trial=0.5), address="head:1")
    assert found.trials_at_once == 10, "none on the node without a GPU"
    found = on(nodes, "cuda", Wish(gpus_per_trial=0.25, cpus_per_trial=2), address="head:1")
    assert found.trials_at_once == 16 + 2, "the small node has CPUs for two"
    found = on(nodes, "cpu", Wish(cpus_per_trial=3), address="head:1")
    assert found.trials_at_once == 21 + 1 + 2


@pytest.mark.parametrize(
    ("nodes", "device", "wish", "address", "words"),
    [
        ([LAPTOP], "cpu", Wish(gpus_per_trial=0.5), None, "--gpus-per-trial 0.5 needs --device"),
        ([LAPTOP], "cpu", Wish(gpus_per_trial=AUTO), None, "--gpus-per-trial auto needs --device"),
        ([SMALL], "cuda", Wish(gpus_per_trial=2.0), None, "placed: this machine has 1 GPU"),
        ([SMALL, SERVER], "cuda", Wish(gpus_per_trial=5.0), "head:1", "has 4 GPUs on a node"),
        ([LAPTOP], "cpu", Wish(cpus_per_trial=9), None, "does not fit: this machine has 8 CPUs"),
        ([LAPTOP], "cpu", Wish(trials_at_once=65), None, "is too many for 8 cpu slots: at most 64"),
        ([SMALL], "cuda", Wish(trials_at_once=2), None, "at 1 GPUs a trial, 1 fit"),
        ([LAPTOP, LAPTOP], "cpu", Wish(trials_at_once=17), "head:1", "16 fit on the cluster"),
        ([Node("gpus", 1, 1, "", GIB), LAPTOP], "cuda", Wish(cpus_per_trial=2), "head:1",
         "no node has 1 GPU and 2 CPUs for a trial"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_there_is(nodes, device, wish, address, words):
    with pytest.raises(UserError, match=words):
        on(nodes, device, wish, address)


def test_a_cluster_without_gpus_says_what_it_has():
    with pytest.raises(UserError, match=r"no GPU \(2 nodes: laptop: 8 CPUs, no GPU; laptop"):
        pick_cluster_device("cuda", [LAPTOP, LAPTOP])
    assert pick_cluster_device(None, [LAPTOP, SMALL]) == "cuda"
    assert pick_cluster_device(None, [LAPTOP]) == "cpu"


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1.5", "0.001", "half", ""])
def test_fractions_that_cannot_be_placed(value):
    with pytest.raises(UserError, match="--gpus-per-trial"):
        parse_share("--gpus-per-trial", value)


@pytest.mark.parametrize("value", ["0", "-2", "1.5", "many", ""])
def test_counts_that_are_none(value):
    with pytest.raises(UserError, match=r"--trials-at-once .*at least 1"):
        parse_count("--trials-at-once", value)
    assert parse_count("--trials-at-once", AUTO) == AUTO
    assert parse_count("--trials-at-once", "3") == 3

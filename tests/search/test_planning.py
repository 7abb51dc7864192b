"""The forecast against what then happens, on the virtual clock; and a real pilot."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from nas.api import planning, searching
from nas.errors import RunError
from nas.search import pilot
from nas.search.simulated import Simulation, trained
from nas.space import parse

STEP, MAC, TRIAL, STARTING = 2e-3, 4e-10, 0.12, 10.0  # a machine
IMAGES, STEPS = 1293, 21
MISFIT = (
    "network: [{op: conv, channels: 8, kernel: 99, padding: 0}, {op: global_pool}, {op: linear}]"
)


def epoch(macs: float) -> float:
    return STEPS * STEP + MAC * macs * IMAGES


@pytest.fixture
def machine(monkeypatch):
    """A pilot that measures what epochs take by the formula."""

    def measure(networks, data, **_):
        paces = [
            pilot.Pace(epoch(planning._price(network, asked["prepared"]).macs), TRIAL, True)
            for network in networks
        ]
        return pilot.Pilot(tuple(paces), STARTING)

    asked = {}
    monkeypatch.setattr(pilot, "measure", measure)
    monkeypatch.setattr(pilot, "RAY_SECONDS", 0.0)
    monkeypatch.setattr(pilot, "RAY_SHARE", 0.0)
    monkeypatch.setattr(planning.time, "monotonic", lambda: 0.0)

    def plan(budget, space="tiny", changes=None, **options):
        prepared = searching.prepare(space, "digits", budget, **{"trials_at_once": 2, **options})
        asked["prepared"] = replace(prepared, request=replace(prepared.request, **(changes or {})))
        return planning.plan(asked["prepared"], 0.0)

    plan.asked = asked
    return plan


def happening(machine, folder, budget, seed):
    """The search itself on such a machine: larger networks and rates near 0.1 are the better."""
    prepared = machine.asked["prepared"]

    def curve(ask, _, at):
        row = simulation.core.table.rows[ask.number]
        height = 0.6 + 0.02 * math.log10(row["macs"])
        height -= 0.05 * abs(math.log10(row["recipe.lr"] / 0.1))
        return {**trained(at, height * (1 - math.exp(-at / 3))), "seconds": epoch(row["macs"])}

    def pace(ask):
        row = simulation.core.table.rows[ask.number]
        own = 0 if ask.number in simulation.epochs else TRIAL + planning.DRIVER_SECONDS
        return own + epoch(row["macs"])

    simulation = Simulation(
        prepared.space, curve, budget=budget, folder=folder, gpus=2, strategy="random",
        epoch_seconds=pace, price=lambda network: planning._price(network, prepared), seed=seed,
        interval=planning.PAUSE_SECONDS,
    )  # fmt: skip
    simulation.clock.now = STARTING
    return simulation, simulation.go()


BUDGETS = ("50s", "0.02gpu-h", "90trials", "200epochs", "60s,40trials")


@pytest.mark.parametrize(
    ("budget", "seeds"),
    [
        ("50s", (3,)), ("0.02gpu-h", (4,)), ("90trials", (5,)),
        *(pytest.param(each, (3, 4, 5), marks=pytest.mark.slow) for each in BUDGETS),
    ],
)  # fmt: skip
def test_the_forecast_is_what_then_happens(machine, tmp_path, budget, seeds):
    """Of several seeds, the one in the middle."""
    pairs = []
    for seed in seeds:
        plan = machine(budget, seed=seed)
        pairs.append((plan, *happening(machine, tmp_path / f"{seed}", budget, seed)))
    pairs.sort(key=lambda pair: pair[0]["trials"] / pair[1].core.ledger.trials)
    plan, simulation, state = pairs[len(pairs) // 2]
    assert plan["trials"] == pytest.approx(simulation.core.ledger.trials, rel=0.3)
    assert plan["wall_seconds"] == pytest.approx(simulation.clock.now, rel=0.3, abs=4)
    names = [row["name"] for row in plan["stages"]]
    assert names[:2] == [row["name"] for row in state["stages"]][:2]


@pytest.mark.parametrize("budget", ["150s", pytest.param("160trials", marks=pytest.mark.slow)])
def test_a_large_budget_is_reckoned_from_a_part_of_it(machine, monkeypatch, budget):
    whole = machine(budget)
    assert whole["reckoned_times"] == 1
    monkeypatch.setattr(planning, "MOST_SIMULATED", 100)
    part = machine(budget)
    assert part["reckoned_times"] > 1 and part["simulated_trials"] < whole["simulated_trials"]
    assert part["trials"] == pytest.approx(whole["trials"], rel=0.25)
    assert part["wall_seconds"] == pytest.approx(whole["wall_seconds"], rel=0.3)
    assert part["final"]["trainings"] >= whole["final"]["trainings"] - 4


def test_fractions_of_a_gpu_hold_as_many_trials_as_whole_ones_for_longer(machine):
    shared = machine("0.004gpu-h", changes={"gpus_per_trial": 0.25})
    whole = machine("0.016gpu-h", changes={"gpus_per_trial": 1.0})
    assert shared["trials"] == whole["trials"]


def test_what_has_no_holes_is_one_trial_and_no_reason_for_a_note(machine):
    rows = "[{op: conv, channels: 8}, {op: global_pool}, {op: linear}]"
    plan = machine("500trials", space=parse(f"name: one\nnetwork: {rows}\n", path="one.yaml"))
    assert plan["trials"] == 1 and plan["warning"] is None
    assert plan["drawn"]["mean_macs"] is None


def test_a_budget_that_is_too_small_is_told_the_smallest_useful_one(machine):
    plan = machine("11s")
    assert "the smallest useful one is about" in plan["warning"]
    named = plan["warning"].partition("useful one is about ")[2].partition(";")[0]
    after = machine(named)
    assert after["trials"] >= 4 and after["final"]["trainings"] and not after["final"]["shortened"]


def test_a_pilot_trains_on_every_slot_and_tells_what_it_takes():
    prepared = searching.prepare("tiny", "digits", "1min")
    first = planning.default_network(prepared.space)
    data = prepared.data.without_test()
    measured = pilot.measure([first], data, device="cpu", slots=2, threads=1)
    (pace,) = measured.paces
    assert pace.whole and 0 < pace.epoch < 60 and pace.trial >= 0 and measured.ready > 0


@pytest.mark.slow
def test_a_pilot_that_cannot_train_says_why():
    prepared = searching.prepare("tiny", "digits", "1min")
    misfit = parse(MISFIT, path="misfit.yaml")
    with pytest.raises(RunError, match="pilot measurement failed"):
        pilot.measure([misfit], prepared.data.without_test(), device="cpu", slots=1, threads=1)

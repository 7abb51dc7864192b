"""Budgets, held to the letter on the virtual clock: bounds, the reserve, what is too small."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.errors import UserError
from nas.search import minimum
from nas.search.finals import too_small
from nas.search.ledger import Ledger
from nas.search.request import check_unit
from nas.search.work import Ask
from nas.space import parse
from nas.units import Budget, parse_budget

from .simulator import TEXT, Simulation

CASES, QUICK = 200, range(3, 5)  # the quick ones stand for the others in the default suite
KINDS = (
    ("s",), ("gpu-h",), ("cpu-h",), ("trials",), ("epochs",), ("s", "gpu-h"), ("s", "trials"),
    ("epochs", "gpu-h"), ("s", "cpu-h", "trials", "epochs"),
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """What epochs take: the default's seconds, how they grow with the network, their noise."""

    seconds: float
    growth: float
    noise: float
    slots: int
    full: int
    seed: int

    @classmethod
    def drawn(cls, seed: int) -> World:
        source = random.Random(seed)
        seconds = math.exp(source.uniform(math.log(0.3), math.log(60)))
        return cls(
            seconds, source.choice([0, 0.5, 1.0]), source.choice([0, 0.05, 0.1]),
            source.choice([1, 2, 3, 4, 8]), source.choice([6, 18, 40]), seed,
        )  # fmt: skip

    @property
    def interval(self) -> float:
        """Between two reports; the real worker's are a second apart, whatever the epoch takes."""
        return self.seconds / 6

    def simulation(self, folder: Path, budget: str) -> Simulation:
        noise = random.Random(self.seed)

        def epoch_seconds(ask: Ask) -> float:
            stem, body, *_ = parse(ask.architecture, path="a.yaml").network
            size = int(stem["channels"]) * int(body.get("repeat", 1)) / 16  # of the default: 1
            return self.seconds * size**self.growth * math.exp(noise.gauss(0, self.noise))

        return Simulation(
            folder, budget, slots=self.slots, seed=self.seed, interval=self.interval,
            text=TEXT.replace("epochs: 18", f"epochs: {self.full}"), epoch_seconds=epoch_seconds,
        )  # fmt: skip

    def smallest(self, kinds: tuple[str, ...]) -> str:
        """What the program itself would name as the smallest useful budget."""
        tiny = parse_budget(",".join(f"{_least(kind)}{kind}" for kind in kinds))
        measured = minimum.Measured(self.seconds, max(1, round(self.full / 6)), self.full)
        least = minimum.smallest(tiny, measured, slots=self.slots, devices_per_trial=1.0)
        return minimum.advice(tiny, least)


def _least(kind: str) -> str:
    return "1" if kind in ("trials", "epochs") else "0.0000001"


def times(budget: str, factor: float) -> str:
    parts = []
    for part in budget.split(","):
        number = part.rstrip("abcdefghijklmnopqrstuvwxyz-")
        kind = part.removeprefix(number)
        amount = float(number) * factor
        whole = kind in ("trials", "epochs")
        parts.append(f"{math.ceil(amount)}{kind}" if whole else f"{amount:.8f}{kind}")
    return ",".join(parts)


def check_bounds(simulation: Simulation, bounds: Budget, world: World) -> None:
    ledger, interval = simulation.ledger, world.interval * (1 + 5 * world.noise)
    if bounds.wall_seconds is not None:
        assert ledger.wall_seconds <= bounds.wall_seconds + interval
    if bounds.device_seconds is not None:
        assert ledger.device_seconds <= bounds.device_seconds + world.slots * interval
    if bounds.epochs is not None:
        assert ledger.epochs <= bounds.epochs
    if bounds.trials is not None:
        assert ledger.trials <= bounds.trials


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=pytest.mark.slow if seed not in QUICK else ())
        for seed in range(CASES)
    ],
)
def test_every_search_keeps_its_bounds_and_enough_for_its_finals(tmp_path, seed):
    world, source = World.drawn(seed), random.Random(seed + 1000)
    kinds = KINDS[seed % len(KINDS)]
    budget = times(world.smallest(kinds), math.exp(source.uniform(0, math.log(5))))
    simulation = world.simulation(tmp_path / "run", budget)
    state = simulation.go()
    check_bounds(simulation, parse_budget(budget), world)
    full = {
        e["candidate"] for e in state["finalists"] if e["complete"] and e["epochs"] == world.full
    }
    assert 0 in full, state["notes"]
    assert state["finalists"][0]["candidate"] in full, "the winner"
    assert all(entry["final"] for entry in state["finalists"])


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.sampled_from(KINDS), seed=st.integers(0, 10_000), factor=st.floats(0.05, 3),
    slots=st.integers(1, 6), kills=st.lists(st.integers(1, 80), max_size=3),
)  # fmt: skip
def test_kills_charge_nothing_twice_and_forget_one_report_a_trial(
    tmp_path_factory, kinds, seed, factor, slots, kills
):
    folder = tmp_path_factory.mktemp("kills") / "run"
    drawn = World.drawn(seed)
    world = World(drawn.seconds, 0.5, 0.05, slots, 6, seed)
    budget = times(world.smallest(kinds), factor)
    booked = epochs = 0.0
    for steps in [*kills, None]:
        simulation = world.simulation(folder, budget)
        assert simulation.ledger.device_seconds == pytest.approx(booked, abs=0.01)
        assert simulation.ledger.epochs == epochs
        before, began = simulation.ledger.wall_seconds, simulation.ledger.wall_seconds
        counter = itertools.count()
        ended = simulation.go(lambda _, c=counter, n=steps: n is not None and next(c) >= n)
        booked, epochs = simulation.ledger.device_seconds, simulation.ledger.epochs
        assert before == began
        if ended:
            break
    told = sum(row["device_seconds"] for row in simulation.table.rows.values())
    assert told == pytest.approx(simulation.ledger.device_seconds, rel=1e-3, abs=0.1)
    check_bounds(simulation, parse_budget(budget), world)


def test_a_killed_session_s_wall_clock_is_known_to_its_last_report(tmp_path):
    first = Simulation(tmp_path / "run", "1000s", slots=1, text=TEXT.replace("18", "600"))
    first.clock.now = 20.0
    first.go(lambda s: s.clock.now >= 57)
    second = Simulation(tmp_path / "run", "1000s", slots=1, text=TEXT.replace("18", "600"))
    assert second.ledger.wall_seconds == pytest.approx(57)
    assert second.ledger.starting_seconds == pytest.approx(20)


@pytest.mark.slow
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kinds=st.sampled_from(KINDS), seed=st.integers(0, 10_000))
def test_the_smallest_useful_budget_that_is_named_searches_and_trains_in_full(
    tmp_path_factory, kinds, seed
):
    world = World.drawn(seed)
    simulation = world.simulation(tmp_path_factory.mktemp("least") / "run", world.smallest(kinds))
    state = simulation.go()
    assert simulation.ledger.trials >= 2, "it searched"
    full = {e["candidate"] for e in state["finalists"] if e["epochs"] == world.full}
    assert 0 in full and state["finalists"][0]["candidate"] in full


@pytest.mark.parametrize(
    "budget", ["12s", "0.004gpu-h", "0.004cpu-h,100trials", "3epochs", "1trials", "2trials,1h"]
)
def test_what_is_too_small_names_a_budget_that_is_not(tmp_path, budget):
    text = TEXT.replace("epochs: 18", "epochs: 6")
    options = {"text": text, "epoch_seconds": lambda _: 3.0}
    notes = Simulation(tmp_path / "small", budget, **options).go()["notes"]
    (note,) = [note for note in notes if "smallest useful budget" in note]
    named = note.partition("about ")[2].partition(" (less")[0]
    if "which takes about" in note:
        named = note.rpartition("is about ")[2].partition(" (less")[0]
    assert [part.lstrip("0123456789. ") for part in named.split(",")] == [
        part.lstrip("0123456789.") for part in budget.split(",")
    ], "in the units that were asked"
    state = Simulation(tmp_path / "enough", named, **options).go()
    assert any(entry["candidate"] and entry["epochs"] == 6 for entry in state["finalists"])
    assert not [note for note in state["notes"] if "small" in note]


def test_the_budget_that_is_named_does_not_hang_on_how_small_the_given_one_is():
    """One that is small shortens the coarse stage, of a forecast too; one that is enough does
    not."""
    least = [
        minimum.smallest(
            parse_budget("1s,1gpu-h,1epochs"), minimum.Measured(0.5, coarse, 12), slots=2,
            devices_per_trial=1.0,
        )
        for coarse in (1, 2)
    ]  # fmt: skip
    assert least[0] == least[1]


def test_what_the_start_has_eaten_is_told_with_what_it_took():
    now = 58.0
    book = Ledger(parse_budget("60s"), slots=2, devices_per_trial=1, clock=lambda: now, started=0.0)
    book.begin_search()
    now = 60.0
    said = too_small(book, {"epochs": 2, "full_epochs": 12}, 0.2, 0.0)
    assert "the start took 58 s" in said
    assert parse_budget(said.rpartition("give at least ")[2]).wall_seconds > 70


def test_a_budget_of_few_trials_is_told_with_one_that_is_enough(tmp_path):
    simulation = Simulation(tmp_path / "run", "75s", epoch_seconds=lambda _: 6.0)
    (note,) = [n for n in simulation.go()["notes"] if "is small for this space and data" in n]
    assert "the smallest useful budget is about " in note
    named = parse_budget(note.rpartition("is about ")[2].partition(" (less")[0])
    assert named.wall_seconds > 75


def test_a_search_that_is_over_shortens_no_stage(tmp_path):
    simulation = Simulation(tmp_path / "run", "1epochs", epoch_seconds=lambda _: 6.0)
    simulation.go()
    assert "the budget being small" not in simulation.run.log_file.read_text()


def test_a_small_budget_shortens_the_coarse_trials_and_not_the_final_ones(tmp_path):
    text = TEXT.replace("epochs: 18", "epochs: 30")
    small = Simulation(tmp_path / "small", "75s", text=text)
    state = small.go()
    lengths = {ask.number: ask.epochs for ask in small.asked}
    assert lengths[0] == 5 and 1 <= lengths[5] < 5
    assert state["stages"][0]["epochs"] == lengths[5]
    assert all(entry["epochs"] == 30 for entry in state["finalists"])
    large = Simulation(tmp_path / "large", "500s", text=text)
    large.go()
    assert all(ask.epochs == 5 for ask in large.asked if ask.stage == "coarse")


def test_a_resumed_search_keeps_its_shortened_stage(tmp_path):
    text = TEXT.replace("epochs: 18", "epochs: 30")
    Simulation(tmp_path / "run", "75s", text=text).go(lambda s: len(s.asked) > 8)
    second = Simulation(tmp_path / "run", "75s", text=text)
    assert second.core._proposer.stage.epochs(30) < 5


def test_hours_of_cpu_slots_and_a_search_on_gpus_do_not_go_together():
    with pytest.raises(UserError, match="trains on cuda: write gpu-h, or add --device cpu"):
        check_unit("2cpu-h,100trials", "cuda")
    check_unit("2cpu-h", "cpu")
    check_unit("2gpu-h", "cpu")
    check_unit("2gpu-h", "cuda")


def test_trial_0_begins_however_long_the_start_took(tmp_path):
    late = Simulation(tmp_path / "late", "100s", text=TEXT.replace("epochs: 18", "epochs: 2"))
    late.clock.now = 80.0  # past the search's part of the budget, before there is a reserve
    state = late.go()
    assert late.asked[0].number == 0 and state["finalists"]
    later = Simulation(tmp_path / "later", "100s")
    later.clock.now = 99.0
    assert "spent before the first trial could begin" in later.go()["notes"][0]

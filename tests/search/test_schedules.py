"""Random schedules: whatever happens in whatever order, nothing is lost, passed or overspent."""

from __future__ import annotations

import math
import random
import tempfile
from collections import Counter
from pathlib import Path

import optuna
import pytest

from nas.search.simulated import broke, died, exploded, out_of_memory, trained
from nas.search.strategies import STRATEGIES
from nas.search.study import Studies
from nas.units import parse_budget

from .simulator import Simulation

BUDGETS = (
    "9trials",
    "14trials",
    "60epochs",
    "40s",
    "0.03gpu-h",
    "12trials,40s",
    "0.02gpu-h,80epochs",
)
WRITES = (
    "create_new_study", "create_new_trial", "delete_study", "set_study_user_attr",
    "set_trial_param", "set_trial_state_values", "set_trial_intermediate_value",
    "set_trial_user_attr", "set_trial_system_attr",
)  # fmt: skip


class Killed(BaseException):
    """SIGKILL, as the storage sees it."""


class Storage(optuna.storages.InMemoryStorage):
    """What was written stays; the driver is killed before one of its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.left = math.inf

    def _write(self) -> None:
        if self.left <= 0:
            raise Killed
        self.left -= 1


def _mortal(name):
    def write(self, *args, **keywords):
        self._write()
        return getattr(optuna.storages.InMemoryStorage, name)(self, *args, **keywords)

    return write


for _name in WRITES:
    setattr(Storage, _name, _mortal(_name))


class Schedule:
    """One search by a seed: its devices, its faults, its kills."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.source = random.Random(seed)
        self.seed, self.folder, self.storage = seed, folder, Storage()
        self.budget = self.source.choice(BUDGETS)
        self.slots = self.source.randint(1, 6)
        self.faulty = self.source.choice((0.0, 0.1, 0.4))
        self.strategy = self.source.choice(("random", "random", "random", "tpe"))
        self.kills = [
            self.source.randint(1, 900) for _ in range(self.source.choice((0, 0, 1, 2, 3)))
        ]
        self.said: dict[int, dict[int, float]] = {}  # number -> epoch -> validation, ever
        self.begun: Counter[tuple[int, int]] = Counter()  # number, session
        self.sessions: list[Simulation] = []

    def curve(self, ask, recipe, epoch):
        fate = random.Random(f"{self.seed} {ask.seed} {epoch}")
        lot = fate.random() / self.faulty if self.faulty else math.inf
        if lot < 0.15 and ask.number:
            return exploded(epoch, 5.0)
        if lot < 0.3 and ask.number:
            return out_of_memory()
        if lot < 0.45:
            return broke(f"Traceback\nValueError: {ask.number}")
        if lot < 0.7 and self.source.random() < 0.8:  # another time it may live
            return died()
        value = math.nan if lot < 1 else fate.random()
        self.said.setdefault(ask.number, {})[epoch] = value
        return trained(epoch, value)

    def epoch_seconds(self, ask):
        return round(10 ** random.Random(ask.seed).random() / 2, 3)

    def session(self):
        make = STRATEGIES.get(self.strategy)
        self.storage.left = math.inf
        number = len(self.sessions)
        if number < len(self.kills):
            self.storage.left = self.kills[number]
        try:
            self.sessions.append(simulation := Simulation(
                self.folder, self.budget, slots=self.slots, curve=self.curve, seed=self.seed,
                strategy=self.strategy, epoch_seconds=self.epoch_seconds, interval=1.0,
                studies=Studies(self.storage, "run", lambda n: make(self.seed + n)),
            ))  # fmt: skip
            return simulation.go()
        except Killed:
            if len(self.sessions) == number:  # while it was taken up
                self.kills.pop(number)
            return None

    def run(self):
        while (state := self.session()) is None:
            pass
        return state


def check(schedule, state):
    last = schedule.sessions[-1]
    records = [r for name in last.studies.names() for r in last.studies.records(name)]
    own = [r for r in records if r.carried_from is None]
    if state["stopped"] != "error":  # else the running ones are kept for a resume
        assert not [r for r in own if r.running or r.cause is None], "untold"
    numbers = [r.number for r in own if r.number is not None]
    assert sorted(numbers) == list(range(len(numbers))), "a number twice, or lost"
    assert sorted(last.table.rows) == sorted(numbers)
    counts = state["trials"]
    searched = [r for r in own if r.number is not None and r.stage != "final"]
    ended = [r for r in searched if not r.running]
    assert counts["total"] - counts["infeasible"] == len(ended)
    _check_rungs(schedule, last)
    _check_spending(schedule, last, len(searched))


def _check_rungs(schedule, last):
    for number, values in schedule.said.items():
        row = last.table.rows.get(number)
        if row is None:
            continue
        for epoch, value in values.items():
            if math.isnan(value):
                assert max(values) == epoch, "NaN was trained on"


def _check_spending(schedule, last, trials):
    """One reporting interval (1 s, or the epoch that runs) a slot; and a kill forgets as much."""
    bounds, ledger, slots = parse_budget(schedule.budget), last.ledger, schedule.slots
    lost = (len(schedule.sessions) - 1) * slots
    true = sum(stop - start for s in schedule.sessions for start, stop in s.spans_until_now())
    assert true - lost * 2.0 - 0.01 <= ledger.device_seconds <= true + 0.01
    if bounds.trials:
        assert trials <= bounds.trials
    if bounds.device_seconds:
        assert ledger.device_seconds <= bounds.device_seconds + slots
    if bounds.wall_seconds:
        assert ledger.wall_seconds <= bounds.wall_seconds + 1
    if bounds.epochs:
        assert ledger.epochs <= bounds.epochs + slots


def schedules(first, count):
    return pytest.param(first, count, id=f"{first}-{first + count - 1}")


@pytest.mark.parametrize(
    ("first", "count"),
    [
        schedules(0, 40),
        *(
            pytest.param(*schedules(n, 200).values, marks=pytest.mark.slow, id=f"{n}-{n + 199}")
            for n in range(40, 10_040, 200)
        ),
    ],
)
def test_on_any_schedule_nothing_is_lost_passed_or_overspent(first, count, tmp_path):
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            schedule = Schedule(seed, Path(folder) / "run")
            state = schedule.run()
            try:
                check(schedule, state)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error

"""Kills and power cuts on a real journal: nothing that was acted upon is lost.

A killed process leaves what it wrote, a power cut what the disk was waited for. Each may come
between two events, or within one, before any of its writes.
"""

from __future__ import annotations

import os
import random

import pytest
from optuna.samplers import RandomSampler

from nas.search.journal import open_journal
from nas.search.rungs import Rungs
from nas.search.study import Studies

from .simulator import Simulation, quadratic
from .test_simulated import tenfold


class Killed(BaseException):
    """The process is gone."""


class Machine:
    """A run folder on a disk; `power` false: what was not waited for is lost at the next cut."""

    def __init__(self, folder, source, monkeypatch):
        self.folder, self.source = folder, source
        self.journal = folder.parent / "study.journal"
        self.journal.touch()
        self.sure = 0  # bytes of the journal
        self.appends = None
        self.told = {}  # number -> epochs that the driver has answered
        self.stopped = set()
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, handle):
        found = os.fstat(handle)
        if os.path.samestat(found, self.journal.stat()):
            self.sure = found.st_size

    def session(self, budget, cut):
        storage = open_journal(self.journal)
        append = storage._file._append

        def mortal(*words):
            if self.appends is not None and self.appends <= 0:
                raise Killed
            if self.appends is not None:
                self.appends -= 1
            append(*words)

        storage._file._append = mortal
        self.appends = self.source.randint(1, 250) if cut else None
        events = self.source.randint(1, 150) if cut and self.source.random() < 0.5 else 10**9
        simulation = Simulation(
            self.folder, budget, slots=4, epoch_seconds=tenfold, interval=3.0,
            studies=Studies(storage, "run", RandomSampler),
        )  # fmt: skip
        return simulation, events


def answered(simulation, machine):
    """Have every answer of the driver noted."""
    core, hear = simulation.core, simulation.core.on_report

    def on_report(number, report):
        stop = hear(number, report)
        if report["kind"] == "epoch":
            machine.told.setdefault(number, set()).add(report["epoch"])
        if stop:
            machine.stopped.add(number)
        return stop

    core.on_report = on_report


def check(machine, asked, power):
    """What stands in the journal after the cut, beside what was acted upon."""
    with machine.journal.open("r+b") as file:
        if power:
            file.truncate(machine.sure)
    studies = Studies(open_journal(machine.journal), "run", lambda n: None)
    records = {
        r.number: r for name in studies.names() for r in studies.records(name)
        if r.number is not None and r.carried_from is None
    }  # fmt: skip
    for ask in asked:
        assert ask.number in records, "a trial began that nobody knows of"
    for number in machine.stopped:
        record = records[number]
        assert not record.running, "a trial was stopped, and is not told"
        if record.cause != "exploded":
            assert record.epoch == max(machine.told[number])
    for number, epochs in machine.told.items():
        record = records[number]
        if power:  # a final training passes no rungs
            rungs = Rungs.at(record.plan["epochs"]) if record.stage != "final" else ()
            must = epochs.intersection(rungs)
        else:
            must = epochs
        if record.cause != "exploded":
            assert must <= set(record.values), "a trial went on by a value that is lost"


def searches(machine, budget, power):
    """Sessions to the end of the search; the first three are cut."""
    for cut in (True, True, True, False):
        machine.told, machine.stopped, simulation = {}, set(), None
        try:
            simulation, events = machine.session(budget, cut)
            answered(simulation, machine)
            left = iter(range(events))
            state = simulation.go(lambda _, left=left: next(left, None) is None)
            if state is not None:
                return simulation, state
        except Killed:
            pass
        check(machine, simulation.asked if simulation else [], power)
    raise AssertionError("a session that was not cut did not end")


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize(("first", "count"), [(0, 5), pytest.param(5, 100, marks=pytest.mark.slow)])
def test_what_was_acted_upon_stands_in_the_journal(tmp_path, monkeypatch, power, first, count):
    for seed in range(first, first + count):
        (tmp_path / str(seed)).mkdir()
        machine = Machine(tmp_path / str(seed) / "run", random.Random(seed), monkeypatch)
        try:
            simulation, state = searches(machine, "25trials", power)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        numbers = sorted(simulation.table.rows)
        assert numbers == list(range(len(numbers))), seed
        assert state["trials"]["total"] - state["trials"]["infeasible"] == 25, seed
        assert not [row for row in simulation.table.rows.values() if row["cause"] is None], seed


def test_the_curve_of_these_tests_ends_trials_in_every_way(tmp_path):
    found = Simulation(tmp_path / "run", "25trials", slots=4, curve=quadratic)
    counts = found.go()["trials"]
    assert counts["finished"] and counts["pruned"] and counts["exploded"]

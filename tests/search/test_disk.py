"""A search on a full disk: it waits, goes on, or stops; no file is ever half written."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.errors import UserError
from nas.rundir import RunDir, files, leftovers
from nas.search import disk as disks
from nas.search import run, trainable
from nas.search.disk import Disk, DiskFull
from nas.search.storage import open_storage, patient
from nas.search.work import Ask

from .simulator import Simulation


class SmallDisk:
    """Writes fail after so many bytes, half-way as a real disk's do, until space is made."""

    def __init__(self, monkeypatch, room: int) -> None:
        self.room, self.points = room, []
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, handle, content):
        fitting = min(len(content), max(self.room, 0))
        if content and not fitting:
            name = Path(os.readlink(f"/proc/self/fd/{handle}")).name
            self.points.append(name.partition("-")[0])
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= fitting
        return self._write(handle, bytes(content)[:fitting])


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_a_search_whose_disk_is_full_again_and_again_finds_what_it_finds_without(
    tmp_path, monkeypatch, seed
):
    plain = Simulation(tmp_path / "plain", "60trials", seed=seed)
    plain.go()
    simulation = Simulation(tmp_path / "run", "60trials", seed=seed)
    source, said = random.Random(seed), []
    small = SmallDisk(monkeypatch, 1000)
    monkeypatch.setattr(disks, "LOOK_SECONDS", 0.0)
    core = simulation.core

    def make_space():
        for file in simulation.run.path.rglob("*.csv"):
            assert file.read_text().endswith("\n"), "a file is whole or not there"
        again = small.points[-4:] == 4 * small.points[-1:]  # what belongs together may be much
        small.room = source.randrange(200, 20_000 if again else 2000)

    core.disk.refresh = make_space
    core.disk._say = said.append
    with core.disk.patience():
        simulation.go()
    monkeypatch.undo()
    assert len(small.points) >= 30
    assert {"study.journal"} < set(small.points), "several kinds of files"
    assert any("is full" in line for line in said) and any("goes on" in line for line in said)
    assert simulation.table.rows == plain.table.rows
    assert (simulation.run.path / "trials.csv").read_text() == (
        plain.run.path / "trials.csv"
    ).read_text()
    assert not leftovers(simulation.run.path)
    assert _records(simulation.run) == _records(plain.run)


def _records(run: RunDir) -> list[int]:
    """The operations of the journal, which Optuna's own backend reads."""
    storage = JournalStorage(JournalFileBackend(str(run.journal)))
    assert optuna.get_all_study_names(storage)
    return [json.loads(line)["op_code"] for line in run.journal.read_text().splitlines()]


@pytest.mark.parametrize("room", [0, 3000, 20_000])
def test_when_no_space_comes_it_stops_with_one_sentence_and_can_be_resumed(
    tmp_path, monkeypatch, room
):
    simulation = Simulation(tmp_path / "run", "8trials")
    before = {n: row["cause"] for n, row in simulation.table.rows.items()}
    with monkeypatch.context() as patched:
        patched.setattr(disks, "LOOK_SECONDS", 0.0)
        SmallDisk(patched, room)
        core = simulation.core
        core.disk.refresh = lambda: setattr(simulation.clock, "now", simulation.clock.now + 60.0)
        with pytest.raises(DiskFull) as caught, core.disk.patience():
            simulation.go()
    assert "waited 10 min" in str(caught.value)
    assert f"nas search --resume {tmp_path / 'run'}" in str(caught.value)
    assert caught.value.exit_code == 1
    again = Simulation(tmp_path / "run", "8trials")
    state = again.go()
    assert state["trials"]["total"] == 8 and set(before) <= set(again.table.rows)


def test_a_stop_is_not_kept_waiting_by_a_full_disk(tmp_path, monkeypatch):
    simulation = Simulation(tmp_path / "run", "8trials")
    monkeypatch.setattr(disks, "LOOK_SECONDS", 0.0)
    SmallDisk(monkeypatch, 5000)
    core = simulation.core
    core.disk.refresh = core.interrupt
    with pytest.raises(DiskFull), core.disk.patience():
        simulation.go()


def test_while_a_worker_cannot_write_no_trial_begins_and_then_it_goes_on(tmp_path):
    simulation = Simulation(tmp_path / "run", "20trials", slots=2)
    core = simulation.core
    first, second = core.next(), core.next()
    report = {"kind": "pause", "share": 1.0, "full": "/data/run/trials/0"}
    assert not core.on_report(first.number, report)
    assert "the disk of /data/run/trials/0 is full" in core.disk.notice
    core.on_report(second.number, _diverged())
    assert not isinstance(core.next(), Ask), "no new trial"
    assert not core.on_report(first.number, {"kind": "epoch", "epoch": 1, "validation": 0.5})
    assert core.disk.notice is None
    assert isinstance(core.next(), Ask)
    log = core.run.log_file.read_text()
    assert "is full" in log and "goes on" in log


def test_waiting_for_space_is_no_device_time(tmp_path, monkeypatch):
    """By the worker, which says so; and by the driver, which stands still with all its trials."""
    monkeypatch.setattr(disks, "LOOK_SECONDS", 0.0)
    simulation = Simulation(tmp_path / "run", "20trials", slots=1)
    core, clock = simulation.core, simulation.clock
    ask = core.next()
    core.on_start(ask.number)
    clock.now += 5.0
    full = {"kind": "pause", "share": 1.0, "full": str(tmp_path)}
    core.on_report(ask.number, full)
    for _ in range(100):
        clock.now += 1.0
        core.on_report(ask.number, full)
    clock.now += 1.0
    core.on_report(ask.number, {"kind": "epoch", "epoch": 1, "validation": 0.5})
    assert core.ledger.device_seconds == pytest.approx(5.0)
    assert core.ledger.waiting_seconds == pytest.approx(101.0)
    clock.now += 2.0
    core.disk.refresh = lambda: setattr(clock, "now", clock.now + 300.0)
    with core.disk.patience():
        files.enduring(tmp_path / "x", _fails_once())
    core.interrupt()
    core.on_report(ask.number, {"kind": "epoch", "epoch": 2, "validation": 0.5})
    assert core.ledger.device_seconds == pytest.approx(7.0)
    assert core.finish()["budget"]["waiting_seconds"] == pytest.approx(401.0)
    again = Simulation(tmp_path / "run", "20trials", slots=1)
    assert again.ledger.waiting_seconds == pytest.approx(401.0)


def test_waiting_for_a_lost_database_is_no_device_time_of_any_trial(tmp_path):
    simulation = Simulation(tmp_path / "run", "20trials", slots=2)
    core, clock = simulation.core, simulation.clock
    asks = [core.next(), core.next()]
    for ask in asks:
        core.on_start(ask.number)
    storage = open_storage(f"sqlite:///{tmp_path / 'trials.db'}", tmp_path)
    with run._keeping(storage, core):
        clock.now += 5.0
        patient(storage).waited(300.0)  # within a call, the trials' workers being idle
        clock.now += 300.0
        for ask in asks:
            core.on_report(ask.number, {"kind": "epoch", "epoch": 1, "validation": 0.5})
    assert core.ledger.device_seconds == pytest.approx(10.0)
    assert core.ledger.waiting_seconds == pytest.approx(600.0)


def _fails_once():
    times = iter([True])

    def write():
        if next(times, False):
            _never()

    return write


def _diverged():
    return {"kind": "epoch", "epoch": 1, "validation": 0.1, "stop": "nan", "violation": 1.0}


def test_after_a_while_the_search_stops_cleanly_and_the_trial_is_not_blamed(tmp_path):
    simulation = Simulation(tmp_path / "run", "20trials", slots=2)
    core = simulation.core
    ask, other = core.next(), core.next()
    report = {"kind": "pause", "share": 1.0, "full": str(tmp_path)}
    assert not core.on_report(ask.number, report)
    simulation.clock.now += disks.WAIT_SECONDS + 1
    assert core.on_report(ask.number, report) and core.on_report(other.number, report)
    state = core.finish()
    assert state["stopped"] == "disk full" and not state["ended"]
    assert "the disk is full" in state["notes"][0] and "free" in state["notes"][0]
    again = Simulation(tmp_path / "run", "20trials", slots=2)
    state = again.go()
    assert state["trials"]["failed"] == 0 and state["trials"]["total"] == 20


def test_a_wall_clock_budget_ends_the_waiting(tmp_path, monkeypatch):
    simulation = Simulation(tmp_path / "run", "60s")
    simulation.clock.now = 59.0
    with pytest.raises(DiskFull), simulation.core.disk.patience():
        files.enduring(tmp_path / "x", _never)


def _never():
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_variable_names_the_patience(tmp_path, monkeypatch):
    monkeypatch.setenv(disks.WAIT, "3")
    assert disks.wait_seconds() == 3
    monkeypatch.setenv(disks.WAIT, "soon")
    assert disks.wait_seconds() == disks.WAIT_SECONDS


def test_a_worker_keeps_what_it_trained_until_it_can_write_it(tmp_path, monkeypatch):
    times = []
    monkeypatch.setattr(trainable, "PAUSE_SECONDS", 0.0)

    def write():
        times.append(1)
        if len(times) < 4:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    told = list(trainable.patiently(tmp_path, write))
    assert [report["full"] for report in told] == [str(tmp_path)] * 3 and len(times) == 4
    with pytest.raises(PermissionError):
        list(trainable.patiently(tmp_path, lambda: (_ for _ in ()).throw(PermissionError())))


def test_a_disk_with_space_says_nothing(tmp_path):
    simulation = Simulation(tmp_path / "run", "2trials")
    disk = Disk(simulation.run)
    assert disk.notice is None and disk.verdict() is None and not disk.full


def test_a_limit_on_files_is_named_and_one_too_small_for_a_search_is_refused(tmp_path, monkeypatch):
    infinite = resource.RLIM_INFINITY
    simulation = Simulation(tmp_path / "run", "2trials")
    disk = Disk(simulation.run)
    disk.stopping = lambda: True
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8192, infinite))
    with pytest.raises(UserError, match=r"files of this process may hold 8.* at most.*ulimit -f"):
        disks.refuse_small_files()
    with pytest.raises(disks.DiskFull, match=r"may hold 8.*see ulimit -f"), disk.patience():
        disk.wait(simulation.run.path)
    for limit in (infinite, 2**30):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, infinite))
        disks.refuse_small_files()

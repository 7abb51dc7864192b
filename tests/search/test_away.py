"""A worker on a node without the run folder, and a cluster that has no slot: Ray by stand-ins."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nas.rundir import write_checkpoint
from nas.search.backend import mirror
from nas.search.backend.mirror import Keeper, Mirror
from nas.search.backend.waiting import LOST_SECONDS, TOLD_SECONDS, Waiting


class Handle:
    """An actor handle whose calls happen at once."""

    def __init__(self, actor: object) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._actor, name)
        return type("Method", (), {"remote": staticmethod(method)})


@pytest.fixture
def away(monkeypatch, tmp_path) -> Mirror:
    (tmp_path / "node").mkdir()
    monkeypatch.setattr(mirror, "short_temporary_folder", lambda: str(tmp_path / "node"))
    monkeypatch.setattr(mirror.ray, "get", lambda value: value)
    return Mirror(Handle(Keeper()))


def test_what_is_written_away_comes_home_whole_and_once(away, tmp_path, monkeypatch):
    home = tmp_path / "trials" / "7"
    home.mkdir(parents=True)
    (home / "architecture.yaml").write_text("network: []\n")
    there = Path(away.fetch(str(home)))
    assert there != home and (there / "architecture.yaml").read_text() == "network: []\n"
    sent: list[list[str]] = []
    write = Keeper.write
    monkeypatch.setattr(
        Keeper, "write", lambda self, to, files: sent.append([*files]) or write(self, to, files)
    )
    away.push()
    assert sent == [], "nothing is new"
    for content in (b"first", b"second"):
        write_checkpoint(there, content)
        (there / "metrics.csv").write_bytes(content)
        away.push()
    assert sent == [["checkpoint.pt", "metrics.csv"]] * 2
    assert (home / "checkpoint.pt").read_bytes() == (home / "metrics.csv").read_bytes() == b"second"
    assert (home / "checkpoint.previous.pt").read_bytes() == b"first"


def test_the_next_trial_of_a_worker_begins_with_its_own_files(away, tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "checkpoint.pt").write_bytes(str(number).encode())
    first = Path(away.fetch(str(tmp_path / "1")))
    second = Path(away.fetch(str(tmp_path / "2")))
    assert not first.exists() and (second / "checkpoint.pt").read_bytes() == b"2"


def test_a_full_disk_at_home_is_told_and_tried_again(away, tmp_path, monkeypatch):
    there = Path(away.fetch(str(tmp_path / "1")))
    (there / "metrics.csv").write_text("epoch\n")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "write", full)
        with pytest.raises(OSError, match="No space"):
            away.push()
    away.push()
    assert (tmp_path / "1" / "metrics.csv").read_text() == "epoch\n"


@dataclass
class Log:
    lines: list[str] = field(default_factory=list)

    def log(self, line: str) -> None:
        self.lines.append(line)


@dataclass
class Ledger:
    over: bool = False

    def spent(self) -> bool:
        return self.over


class Core:
    """As much of the core as waiting looks at."""

    def __init__(self) -> None:
        self.run, self.ledger, self.notes = Log(), Ledger(), []
        self.ending: str | None = None
        self.numbers = {1, 2}

    @property
    def live(self) -> int:
        return len(self.numbers)

    def interrupt(self, why: str = "interrupted") -> None:
        self.ending = why

    def suspend(self) -> None:
        self.numbers.clear()


@dataclass
class Trial:
    number: int
    status: str = "PENDING"

    @property
    def config(self) -> dict[str, Any]:
        return {"ask": {"number": self.number}}


def run(core: Core, trials: list[Trial], until: float) -> float | None:
    """The second at which the search is left."""
    now = 0.0
    waiting = Waiting(clock=lambda: now)
    while now < until:
        if waiting.look(core, trials):
            return now
        now += 1.0
    return None


def test_a_cluster_without_a_free_slot_is_not_waited_for_for_ever():
    core = Core()
    assert run(core, [Trial(1), Trial(2)], 2 * LOST_SECONDS) == LOST_SECONDS
    assert core.ending == "interrupted" and "--resume" in core.notes[0]
    assert f"{TOLD_SECONDS:.0f} s: waiting" in core.run.lines[0]


def test_an_interrupt_leaves_trials_behind_that_never_began():
    core = Core()
    core.interrupt()
    assert run(core, [Trial(1), Trial(2)], 10) == 0.0


def test_a_spent_budget_is_no_reason_to_wait():
    core = Core()
    core.ledger.over = True
    assert run(core, [Trial(1), Trial(2)], 10) == 0.0


def test_one_trial_that_runs_is_enough_to_go_on():
    core = Core()
    assert run(core, [Trial(1), Trial(2, "RUNNING")], 2 * LOST_SECONDS) is None
    core.interrupt()
    assert run(core, [Trial(1), Trial(2, "RUNNING")], 10) is None, "its report ends it"

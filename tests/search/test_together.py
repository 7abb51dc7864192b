"""What the journal writes at once: whole, in order, readable by others, nothing lost."""

from __future__ import annotations

import errno
import os

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.search.journal import Journal, open_journal
from nas.search.study import Studies

from .simulator import Simulation


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "study.journal"


def make(journal):
    return optuna.create_study(storage=open_journal_of(journal), study_name="s")


def open_journal_of(journal):
    journal.touch()
    return open_journal(journal)


def theirs(journal):
    """As Optuna reads it, from the file alone."""
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name="s", storage=storage)


def told(study, value):
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("n", value)
    study.tell(trial, value)


def test_it_is_seen_inside_and_written_at_the_end(journal):
    study = make(journal)
    before = journal.read_bytes()
    with study._storage.together():
        told(study, 1.0)
        told(study, 2.0)
        assert [t.value for t in study.trials] == [1.0, 2.0]
        assert journal.read_bytes() == before
    told(study, 3.0)
    assert [t.value for t in study.trials] == [1.0, 2.0, 3.0]
    assert [t.value for t in theirs(journal).trials] == [1.0, 2.0, 3.0]


def test_one_wait_for_the_disk(journal, monkeypatch):
    study, waits = make(journal), []
    monkeypatch.setattr(os, "fsync", lambda _: waits.append(1))
    with study._storage.together(), study._storage.together():
        told(study, 1.0)
    assert len(waits) == 1


def fsyncs(monkeypatch, fails=lambda n: False):
    """A list that grows with every wait for the disk; some of them fail."""
    waits = []

    def fsync(_):
        waits.append(1)
        if fails(len(waits)):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    return waits


def test_what_need_not_last_is_written_at_once_and_waited_for_by_the_next_that_must(
    journal, monkeypatch
):
    study, waits = make(journal), fsyncs(monkeypatch)
    with study._storage.together(lasting=False):
        told(study, 1.0)
    assert [t.value for t in theirs(journal).trials] == [1.0]  # a killed process loses nothing
    assert not waits
    study._storage.sync()
    study._storage.sync()
    assert len(waits) == 1
    with study._storage.together(lasting=False):
        told(study, 2.0)
        study._storage.sync()
        assert [t.value for t in theirs(journal).trials] == [1.0, 2.0]
        assert len(waits) == 2
        told(study, 3.0)
    assert len(waits) == 2
    told(study, 4.0)
    assert [t.value for t in theirs(journal).trials] == [1.0, 2.0, 3.0, 4.0]
    assert [t.value for t in study.trials] == [1.0, 2.0, 3.0, 4.0]


def test_what_need_not_last_is_waited_for_after_a_while(journal, monkeypatch):
    from nas.search import journal as module

    study, waits = make(journal), fsyncs(monkeypatch)
    monkeypatch.setattr(module, "LOOSE_SECONDS", 0.0)
    for n in range(3):
        with study._storage.together(lasting=False):
            told(study, float(n))
    assert len(waits) >= 1


def test_what_a_wait_refused_is_written_again_before_the_next(journal, monkeypatch):
    """After a failed fsync the system may drop what it could not write, and say no more of it."""
    study = make(journal)
    fsyncs(monkeypatch, lambda n: n in (1, 2))
    with study._storage.together(lasting=False):
        told(study, 1.0)
    with pytest.raises(OSError):
        study._storage.sync()
    content = journal.read_bytes()
    place = content.index(b'"op_code":4')
    with journal.open("r+b") as file:  # the system dropped it
        file.seek(place)
        file.write(b"\0" * 30)
    study._storage.sync()
    assert journal.read_bytes() == content
    assert [t.value for t in theirs(journal).trials] == [1.0]


def test_others_write_between(journal):
    mine, other = make(journal), optuna.load_study(study_name="s", storage=Journal(journal))
    for n in range(4):
        with mine._storage.together():
            told(mine, float(2 * n))
        told(other, float(2 * n + 1))
    for study in (mine, other, theirs(journal)):
        assert [t.value for t in study.trials] == [float(n) for n in range(8)]


def test_no_other_process_writes_inside(journal):
    study = make(journal)
    other = Journal(journal)._file._kernel_lock
    with study._storage.together():
        handle = os.open(other._path, os.O_RDWR)
        import fcntl

        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
    assert other.acquire()
    other.release()


def test_what_a_full_disk_refuses_is_written_later_and_leaves_no_half(journal, monkeypatch):
    study = make(journal)
    told(study, 1.0)
    before = journal.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError), study._storage.together():
            told(study, 2.0)
        assert journal.read_bytes() == before
    told(study, 3.0)
    assert [t.value for t in study.trials] == [1.0, 2.0, 3.0]
    assert [t.value for t in theirs(journal).trials] == [1.0, 2.0, 3.0]


def test_a_long_journal_is_not_read_again(journal, monkeypatch):
    """Optuna's backend reads the whole file where it does not know where a record begins."""
    study = make(journal)
    for n in range(5):
        with study._storage.together():
            told(study, float(n))
        file = study._storage._file
        assert study._storage._replay_result.log_number_read in file._log_number_offset


def test_a_study_in_another_storage_takes_it_as_it_is():
    studies = Studies(optuna.storages.InMemoryStorage(), "r", lambda n: None)
    with studies.together():
        pass


def test_a_search_leaves_a_journal_that_optuna_reads(tmp_path):
    found = Simulation(tmp_path / "run", "20trials", slots=4)
    found.go()
    storage = JournalStorage(JournalFileBackend(str(found.run.journal)))
    for name in found.studies.names():
        own = optuna.load_study(study_name=f"{found.run.name}.{name}", storage=storage)
        assert own.trials == found.studies.study(name).trials

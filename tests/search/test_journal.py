from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.errors import RunError, StorageLost
from nas.search import journal_lock
from nas.search.journal import look_over, mend_journal, open_journal, torn_bytes
from nas.search.journal_lock import KernelLock


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "study.journal"
    path.touch()
    study = optuna.create_study(storage=open_journal(path), study_name="s")
    for _ in range(3):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))
    return path


def trials(path):
    return optuna.load_study(storage=open_journal(path), study_name="s").trials


def test_optunas_own_backend_reads_it(journal):
    theirs = JournalStorage(JournalFileBackend(str(journal)))
    assert len(optuna.load_study(storage=theirs, study_name="s").trials) == 3


def check_goes_on(journal, content):
    """Opens, keeps every whole record, takes the next write, and Optuna's own backend reads it."""
    journal.write_bytes(content)
    whole = content[: content.rstrip(b"\0").rfind(b"\n") + 1]
    storage = open_journal(journal)
    assert journal.read_bytes() == whole
    studies = optuna.get_all_study_names(storage)
    if studies:
        study = optuna.load_study(storage=storage, study_name="s")
        asked = study.ask()
        study.set_user_attr("next", asked.number)
    else:
        optuna.create_study(storage=storage, study_name="s")
    kept = journal.read_bytes()
    assert kept.startswith(whole) and len(kept) > len(whole)
    assert all(isinstance(json.loads(line), dict) for line in kept.splitlines())
    theirs = JournalStorage(JournalFileBackend(str(journal)))
    assert optuna.get_all_study_names(theirs) == ["s"]


def test_a_cut_at_every_byte_of_the_last_three_records_opens_and_is_written_again(journal):
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    for size in range(len(whole) - sum(map(len, lines[-3:])), len(whole)):
        check_goes_on(journal, whole[:size])


def test_a_cut_at_200_random_offsets_opens_and_is_written_again(journal):
    whole, source = journal.read_bytes(), random.Random(4)
    for _ in range(200):
        check_goes_on(journal, whole[: source.randrange(len(whole))])


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_tail_of_nuls_is_cut_off(journal, cut):
    whole = journal.read_bytes()
    content = whole[: len(whole) - cut] + b"\0" * 4096
    journal.write_bytes(content)
    assert torn_bytes(journal) == mend_journal(journal)
    assert torn_bytes(journal) == 0
    check_goes_on(journal, content)


@pytest.mark.parametrize("after", [0, 1, 30])
def test_a_record_that_a_full_disk_broke_off_is_cut_back_before_the_next(
    journal, monkeypatch, after
):
    before, real = journal.read_bytes(), os.write

    def broken(handle, content):
        if after:
            real(handle, bytes(content)[:after])
        raise OSError(errno.ENOSPC, "No space left on device")

    study = optuna.load_study(storage=open_journal(journal), study_name="s")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", broken)
        with pytest.raises(OSError, match="No space"):
            study.ask()
    assert journal.read_bytes() == before
    assert study.ask().number == 3
    assert len(trials(journal)) == 4


def test_a_short_write_goes_on_with_the_rest(journal, monkeypatch):
    real = os.write
    study = optuna.load_study(storage=open_journal(journal), study_name="s")
    monkeypatch.setattr(os, "write", lambda handle, content: real(handle, bytes(content)[:7]))
    study.ask()
    monkeypatch.undo()
    assert len(trials(journal)) == 4


def test_an_untouched_journal_stays_untouched(journal):
    whole = journal.read_bytes()
    assert mend_journal(journal) == 0
    assert journal.read_bytes() == whole


HOLD = """
import fcntl, sys, time
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""  # as KernelLock.acquire does, without its imports: twenty processes


def test_the_lock_dies_with_its_process(journal):
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-S", "-c", HOLD, f"{journal}.lock"],
            stdout=subprocess.PIPE, text=True,
        ) as holder:  # fmt: skip
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(BlockingIOError), open(f"{journal}.lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder.kill()
        began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Optuna warns while it waits for a stale lock
            study = optuna.load_study(storage=open_journal(journal), study_name="s")
            study.set_user_attr("again", 1)
        assert time.monotonic() - began < 10, "Optuna's own lock waits 30 s"
    assert len(trials(journal)) == 3


@pytest.fixture
def holder(journal):
    """A process that holds the journal's lock and stands still."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", HOLD, f"{journal}.lock"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        yield process
        process.kill()


def test_a_wait_for_the_lock_is_told_with_its_holder(journal, holder, monkeypatch):
    monkeypatch.setattr(journal_lock, "TOLD_SECONDS", 0.1)
    said, waited = [], []

    def tell(words):
        said.append(words)
        holder.kill()  # after the first

    lock = KernelLock(journal, tell)
    lock.waited = waited.append
    assert lock.acquire()
    lock.release()
    assert f"pid {holder.pid}" in said[0] and f"{journal}.lock; waiting" in said[0]
    if sys.platform == "linux":
        assert f"kill -CONT {holder.pid}" in said[0]
    assert "is free again" in said[1] and waited[0] >= 0.1


def test_a_lock_that_does_not_come_free_is_given_up_and_nothing_is_held(journal, holder):
    storage = open_journal(journal, mend=False)
    study = optuna.load_study(storage=storage, study_name="s")
    storage.lock.patience = 0.2
    for _ in range(2):  # the second time at once
        with pytest.raises(StorageLost, match=rf"pid {holder.pid}.*--resume"):
            study.ask()
    holder.kill()
    holder.wait()
    assert len(trials(journal)) == 3


def test_a_search_that_was_told_to_stop_does_not_wait_long(journal, holder, monkeypatch):
    monkeypatch.setattr(journal_lock, "HURRY", 0.2)
    lock = KernelLock(journal)
    lock.hurry = lambda: True
    with pytest.raises(StorageLost):
        lock.acquire()


def test_a_look_over_finds_damage_and_no_torn_tail(journal):
    whole = journal.read_bytes()
    for content in (whole, whole[:-9], whole + b"\0" * 99, b""):
        journal.write_bytes(content)
        look_over(journal)
    journal.write_bytes(whole.replace(b"\n{", b"\nx{", 1))
    with pytest.raises(RunError, match=r"study\.journal:2 is no record.*put a copy of it back"):
        look_over(journal)


def altered(line, **values):
    return json.dumps(json.loads(line) | values).encode() + b"\n"


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        (4, lambda line: b"garbage\n", r"journal:5 is no record of .*'garbage'; 8 bytes"),
        (4, lambda line: b"\0" * len(line), r"journal:5 is no record .*x00.* …; .*head -n 4"),
        (4, lambda line: b"\xff" + line, r"journal:5 is no record .*no JSON"),
        (4, lambda line: b"[1]\n", r"journal:5 is no record .*no JSON object"),
        (4, lambda line: b"{}\n", r"journal:5 is no record .*not those of a record"),
        (4, lambda line: altered(line, op_code=77), r"journal:5 is no record"),
        (5, lambda line: altered(line, trial_id=7), r"journal:6 is no record .*trial is not there"),
        # the next trial would take its number
        (1, lambda line: b"", r"journal:2 is no record .*its trial is not there"),
        (1, lambda line: altered(line, study_id=7), r"journal:2 is .*its study is not there"),
    ],
)
def test_damage_in_the_middle_is_refused_by_its_line(journal, place, change, said):
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[place] = change(lines[place])
    journal.write_bytes(b"".join(lines))
    with pytest.raises(RunError, match=said):
        open_journal(journal)
    journal.write_bytes(b"".join(lines[:place]))  # the way out that it names
    trials(journal)

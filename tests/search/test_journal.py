from __future__ import annotations

import json
import subprocess
import sys
import warnings

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.search.journal import mend_journal, open_journal


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


def test_a_cut_at_every_byte_of_the_last_records_opens_and_is_written_again(journal):
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    for size in range(len(whole) - sum(map(len, lines[-2:])), len(whole)):
        journal.write_bytes(whole[:size])
        study = optuna.load_study(storage=open_journal(journal), study_name="s")
        study.tell(study.ask(), 1.0)
        kept = journal.read_bytes()
        assert all(json.loads(line) for line in kept.splitlines())
        assert whole[:size].rpartition(b"\n")[0] + b"\n" == kept[: whole[:size].rfind(b"\n") + 1]


def test_a_tail_of_nuls_is_cut_off(journal):
    whole = journal.read_bytes()
    journal.write_bytes(whole + b"\0" * 4096)
    assert mend_journal(journal) == 4096
    assert journal.read_bytes() == whole


def test_an_untouched_journal_stays_untouched(journal):
    whole = journal.read_bytes()
    assert mend_journal(journal) == 0
    assert journal.read_bytes() == whole


HOLD = """
import sys, time
from pathlib import Path
from nas.search.journal import KernelLock
KernelLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_the_lock_dies_with_its_process(journal):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(journal)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns while it waits for a stale lock
        assert len(trials(journal)) == 3

"""The storages of a search: their URLs, whose studies they hold, what happens when one is lost."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError

from nas.errors import RunError, StorageError, StorageLost
from nas.rundir import RunDir
from nas.search import claims, storage
from nas.search.request import prepare
from nas.search.run import create, open_studies
from nas.search.storage import check, open_storage, patient, same, shown, written
from nas.search.study import PLAN

from ..postgresql import PASSWORD

SERVER = "postgresql+psycopg://nas@127.0.0.1:1/trials"


@pytest.fixture(autouse=True)
def forgotten():
    """What a test types as a password is not known to the next one."""
    yield
    storage._typed.clear()


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("database")
    return {"journal": "journal", "sqlite": f"sqlite:///{tmp_path / 'trials.db'}"}[request.param]


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("database")
    return f"sqlite:///{tmp_path / 'trials.db'}"


def begun(folder: Path, url: str, space: str = "tiny") -> RunDir:
    """A new run, its first study made and a trial asked, as a search begins."""
    run = create(prepare(space, "digits", "5trials", storage=url), folder)
    studies = open_studies(run)
    studies.create("coarse", {"name": "coarse"})
    studies.finish_creating("coarse")
    trial = studies.ask("coarse")
    studies.begin(trial, 0, dict.fromkeys(PLAN, 1))
    studies.end("coarse", trial, "finished", 0.5)
    run.write_stages({"stages": [{"name": "coarse"}]})
    storage.close(studies.storage)
    return run


# --- the URL -----------------------------------------------------------------------------


def test_a_relative_sqlite_file_is_written_down_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert written("sqlite:///trials.db") == f"sqlite:///{tmp_path / 'trials.db'}"
    assert same("sqlite:///trials.db", f"sqlite:///{tmp_path}/trials.db")
    assert written("journal") == "journal"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("postgres://nas@127.0.0.1:1/trials", SERVER),
        ("postgresql://nas:hunter22@127.0.0.1:1/trials", SERVER),
        (SERVER.replace("nas@", "nas:${TRIALS}@"), SERVER.replace("nas@", "nas:${TRIALS}@")),
    ],
)
def test_a_typed_password_is_not_written_down_and_a_reference_to_one_is(typed, kept):
    assert written(typed) == kept
    assert same(typed, SERVER)


@pytest.mark.parametrize(
    "text",
    [
        "--storage=postgresql+psycopg://nas:hunter22@host/trials",
        "connection to postgresql://nas:hunter22@host:5432/x failed",
        "postgresql://host/x?user=nas&password=hunter22&sslmode=require",
        "mysql://nas:hunter22/@host/x",
    ],
)
def test_passwords_are_masked_wherever_they_are_shown(text):
    assert "hunter" not in shown(text) and "***" in shown(text)
    assert shown("sqlite:////a/b.db at 10:30") == "sqlite:////a/b.db at 10:30"


def test_a_typed_password_is_masked_outside_of_urls_too():
    written(
        SERVER.replace("nas@", f"nas:{quote('hunter/22')}@").replace("hunter/22", "hunter%2F22")
    )
    assert shown("password hunter/22 is wrong") == "password *** is wrong"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mysql://nas:hunter22@host/trials", ("must be journal", "sqlite:///FILE", "***")),
        ("trials.db", ("must be journal",)),
        ("", ("must be journal",)),
        ("sqlite://", ("must name a file",)),
        ("sqlite:///:memory:", ("must name a file",)),
        ("postgresql://nas@host", ("names no database",)),
        ("postgresql://host/x?password=hunter22", ("PGPASSWORD", "~/.pgpass")),
        ("sqlite:////no/such/folder/x.db", ("no folder /no/such/folder",)),
        (f"sqlite:///{Path(__file__).parent}", ("is a folder",)),
        (f"sqlite:///{__file__}", ("is not a database",)),
        (SERVER, ("Connection refused", "start the server")),
        (SERVER.replace("nas@", "nas:hunter22@"), ("Connection refused",)),
        (SERVER.replace("nas@", "nas:${NO_SUCH_NAME}@"), ("no NO_SUCH_NAME",)),
        ("postgresql://nas@no.such.host.invalid/x", ("no.such.host.invalid", "mend its address")),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_in_one_sentence(text, words):
    with pytest.raises(StorageError) as refusal:
        check(written(text))
    told = str(refusal.value)
    assert told.startswith("--storage") and "\n" not in told
    assert "hunter" not in told
    for word in words:
        assert word in told
    assert refusal.value.exit_code == 2


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setattr(storage, "find_spec", lambda _: None)
    with pytest.raises(StorageError, match=r"pip install 'nas-toolkit\[postgresql\]'"):
        written(SERVER)


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(storage, "CHECK_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(StorageError, match="no answer within"):
            check(written(SERVER.replace(":1/", f":{port}/")))


def test_what_a_server_refuses_is_said_with_what_to_do(database, monkeypatch):
    with pytest.raises(StorageError, match=r"does not exist.*createdb nowhere"):
        check(written(database.rpartition("/")[0] + "/nowhere"))
    wrong = database.replace("tester@", "tester:hunter22@")
    with pytest.raises(StorageError, match=r"password authentication failed.*PGPASSWORD") as told:
        check(written(wrong))
    assert "hunter" not in str(told.value)
    storage._typed.clear()
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(StorageError, match="no password supplied"):
        check(written(database))
    monkeypatch.setenv("TRIALS", PASSWORD)
    check(written(database.replace("tester@", "tester:${TRIALS}@")))
    check(written(database.replace("tester@", f"tester:{quote(PASSWORD, safe='')}@")))


def test_a_check_makes_no_file(tmp_path):
    check(f"sqlite:///{tmp_path / 'trials.db'}")
    assert not list(tmp_path.iterdir())


def test_tables_of_another_optuna_are_refused_with_its_advice(shared, tmp_path):
    run = begun(tmp_path / "run", shared)
    kept = open_storage(shared, Path())
    with kept._backend.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    with pytest.raises(StorageError, match=r"optuna storage upgrade.*another database") as told:
        open_studies(run)
    assert "\n" not in str(told.value)


# --- whose studies -----------------------------------------------------------------------


def test_studies_are_kept_and_found_again(url, tmp_path):
    run = begun(tmp_path / "run", url)
    studies = open_studies(run, mend=False)
    assert studies.names() == ["coarse"]
    (record,) = studies.records("coarse")
    assert (record.number, record.cause, record.value) == (0, "finished", 0.5)
    assert (run.path / "study.journal").exists() == (url == "journal")
    assert RunDir.open(run.path).request.storage == url


def test_a_moved_folder_keeps_its_studies(shared, tmp_path):
    run = begun(tmp_path / "run", shared)
    run.path.rename(tmp_path / "moved")
    assert open_studies(RunDir.open(tmp_path / "moved")).names() == ["coarse"]


def test_a_copy_is_refused_while_its_original_is_there(shared, tmp_path):
    run = begun(tmp_path / "run", shared)
    shutil.copytree(run.path, tmp_path / "copy")
    with pytest.raises(RunError, match=r"copy is a copy of .*run, and both"):
        open_studies(RunDir.open(tmp_path / "copy"))


def test_a_second_run_of_that_name_is_refused_and_both_are_named(shared, tmp_path):
    begun(tmp_path / "one" / "run", shared)
    prepared = prepare("resnet_cells", "digits", "5trials", storage=shared)
    with pytest.raises(StorageError) as refusal:
        create(prepared, tmp_path / "two" / "run")
    for word in (f"{tmp_path}/one/run", "tiny", f"{tmp_path}/two/run", "resnet_cells", "--run-dir"):
        assert word in str(refusal.value)
    assert not (tmp_path / "two").exists()


def test_runs_of_one_name_begun_at_once_do_not_mix(shared, tmp_path):
    prepared = [prepare("tiny", "digits", "5trials", storage=shared) for _ in range(2)]
    runs = [create(p, tmp_path / str(i) / "run") for i, p in enumerate(prepared)]
    for i, run in enumerate(runs):
        studies = open_studies(run)
        studies.create("coarse", {})
        for _ in range(i + 1):
            studies.ask("coarse")
    assert [len(list(open_studies(run).records("coarse"))) for run in runs] == [1, 2]


def test_a_name_of_our_own_is_free_in_the_storage_too(shared, tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        request = prepare("tiny", "digits", "5trials", storage=shared).request
        path = claims.place(request, None)
        assert path is not None
        begun(path, shared)
    names = sorted(path.name for path in tmp_path.glob("*/runs/*"))
    assert [name.rpartition("-")[2] for name in names] == ["1", "2"]


def test_the_sampler_s_seed_does_not_hang_on_other_runs(shared, tmp_path):
    begun(tmp_path / "one", shared)
    begun(tmp_path / "two", shared)
    counts = []
    run = RunDir.open(tmp_path / "two")
    studies = open_studies(run)
    sampler = studies._sampler
    studies._sampler = lambda n: counts.append(n) or sampler(n)
    studies.study("coarse")
    assert counts == [1]


def test_studies_of_another_space_are_refused(url, tmp_path):
    run = begun(tmp_path / "run", url)
    run.write_request(replace(run.request, space_digest="0" * 64, space_name="other"))
    with pytest.raises(RunError, match=r"is of another space \(tiny, of .*run\), not of other"):
        open_studies(run)


def test_studies_in_a_later_form_are_refused(url, tmp_path):
    run = begun(tmp_path / "run", url)
    study = open_studies(run).study("coarse")
    study.set_user_attr("run", {**study.user_attrs["run"], "schema": 7, "nas": "9.1"})
    with pytest.raises(RunError, match=r"made by nas 9\.1 \(form 7\), this nas reads forms 0 to 1"):
        open_studies(run)


def test_an_emptied_storage_is_not_begun_anew(shared, tmp_path):
    run = begun(tmp_path / "run", shared)
    kept = open_storage(shared, Path())
    for study in kept.get_all_studies():
        kept.delete_study(study._study_id)
    with pytest.raises(RunError, match="holds no study of"):
        open_studies(run)


def test_a_sqlite_file_that_is_gone_is_not_made_anew_for_looking(tmp_path):
    run = begun(tmp_path / "run", f"sqlite:///{tmp_path / 'trials.db'}")
    for file in tmp_path.glob("trials.db*"):
        file.unlink()
    with pytest.raises(StorageError, match="no such file"):
        open_studies(run, mend=False)


# --- many at once ------------------------------------------------------------------------

ASK = """
import os, sys
from pathlib import Path
from nas.rundir import RunDir
from nas.search.run import open_studies

def ask(process):
    studies = open_studies(RunDir.open(sys.argv[1]))
    lines = []
    for _ in range(int(sys.argv[2])):
        trial = studies.ask("coarse")
        x = trial.suggest_float("x", 0, 1)
        studies.report(trial, 1, 1, x)
        studies.end("coarse", trial, "finished", x)
        lines.append(f"{trial.number} {x}\\n")
    Path(sys.argv[1], f"asked-{process}").write_text("".join(lines))

children = []
for process in range(4):
    children.append(os.fork())
    if not children[-1]:
        ask(process)
        sys.stdout.flush()
        os._exit(0)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
sys.exit(any(codes))
"""


@pytest.mark.parametrize(
    ("url", "trials"),
    [
        ("journal", 25),
        ("postgresql", 25),
        pytest.param("sqlite", 25, marks=pytest.mark.slow),
        pytest.param("journal", 250, marks=pytest.mark.slow),
        pytest.param("sqlite", 250, marks=pytest.mark.slow),
        pytest.param("postgresql", 250, marks=pytest.mark.slow),
    ],
    indirect=["url"],
)
def test_four_processes_ask_of_one_study_and_no_number_comes_twice(url, tmp_path, trials):
    prepared = prepare("tiny", "digits", "5trials", strategy="random", storage=url)
    run = create(prepared, tmp_path / "run")
    studies = open_studies(run)
    studies.create("coarse", {"name": "coarse"})
    words = [sys.executable, "-c", ASK, str(run.path), str(trials)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for file in run.path.glob("asked-*") for line in file.read_text().splitlines()]
    told = {int(number): float(x) for number, _, x in (line.partition(" ") for line in lines)}
    assert len(lines) == 4 * trials
    assert sorted(told) == list(range(4 * trials))
    records = list(open_studies(run).records("coarse"))
    assert {record.optuna_number: record.value for record in records} == told
    assert Counter(record.cause for record in records) == {"finished": 4 * trials}


# --- a storage that is lost --------------------------------------------------------------


def test_a_server_that_comes_back_is_waited_for_and_nothing_is_lost(server, database, tmp_path):
    run = create(prepare("tiny", "digits", "5trials", storage=database), tmp_path / "run")
    studies = open_studies(run)
    studies.create("coarse", {})
    trial = studies.ask("coarse")
    waited: list[float] = []
    patient(studies.storage).waited = waited.append
    server.stop()
    back = threading.Timer(1.0, server.start)
    back.start()
    studies.report(trial, 1, 1, 0.5)
    studies.end("coarse", trial, "finished", 0.5)
    second = studies.ask("coarse")
    back.join()
    assert second.number == 1
    assert sum(waited) >= 0.9, "so that nobody pays for it"
    assert "is lost" in run.log_file.read_text() and "is back" in run.log_file.read_text()
    records = list(open_studies(run).records("coarse"))
    assert [(r.optuna_number, r.value) for r in records] == [(0, 0.5), (1, None)]


@pytest.mark.parametrize("stopping", [False, True])
def test_a_server_that_does_not_come_back_ends_the_waiting(server, database, monkeypatch, stopping):
    kept = open_storage(database, Path())
    watched = patient(kept)
    assert watched is not None
    watched.patience = 600.0 if stopping else 1.0
    watched.hurry = lambda: stopping
    monkeypatch.setattr(storage, "HURRY", 0.5)
    server.stop()
    try:
        with pytest.raises(StorageLost, match=r"was lost .* not back after .* --resume") as told:
            kept.get_all_studies()
    finally:
        server.start()
    assert told.value.exit_code == 1 and watched.lost is told.value
    assert PASSWORD not in str(told.value)


class Flaky:
    """An RDBStorage of which one call is done, once, and its answer is lost."""

    def __init__(self, within, name):
        self._within, self._name, self.lost = within, name, False

    def __getattr__(self, name):
        return self._call if name == self._name else getattr(self._within, name)

    def _call(self, *words, **named):
        found = getattr(self._within, self._name)(*words, **named)
        if self.lost:
            return found
        self.lost = True
        raise StorageInternalError("lost") from OperationalError("", {}, OSError("gone"))


@pytest.mark.parametrize(
    "name",
    ["create_new_study", "write", "set_trial_state_values", "set_study_user_attr"],
)
def test_an_answer_that_is_lost_does_not_make_a_call_count_twice(tmp_path, name):
    kept = open_storage(f"sqlite:///{tmp_path / 'trials.db'}", Path())
    watched = patient(kept)
    assert watched is not None
    watched._storage = flaky = Flaky(watched._storage, name)
    study = optuna.create_study(storage=kept, study_name="one")
    study.set_user_attr("a", 1)
    study.enqueue_trial({"x": 0.25})
    trial = study.ask()
    x = trial.suggest_float("x", 0, 1)
    trial.report(x, 1)
    trial.set_user_attr("b", 2)
    study.tell(trial, x)
    (found,) = optuna.load_study(
        storage=open_storage(f"sqlite:///{tmp_path / 'trials.db'}", Path()), study_name="one"
    ).trials
    assert (found.value, found.params, found.intermediate_values) == (0.25, {"x": 0.25}, {1: 0.25})
    assert found.user_attrs == {"b": 2} and study.user_attrs == {"a": 1}
    assert flaky.lost


def test_a_fault_that_is_not_of_the_connection_is_not_tried_again(tmp_path):
    kept = open_storage(f"sqlite:///{tmp_path / 'trials.db'}", Path())
    began = time.monotonic()
    with pytest.raises(KeyError):
        kept.get_study_id_from_name("nowhere")
    assert time.monotonic() - began < 60


def test_a_sqlite_file_that_is_being_written_can_be_looked_at(tmp_path):
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    kept = open_storage(url, Path())
    optuna.create_study(storage=kept, study_name="one")
    with contextlib.closing(sqlite3.connect(tmp_path / "trials.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert len(open_storage(url, Path(), mend=False).get_all_studies()) == 1


def test_the_command_that_is_recorded_has_no_password(monkeypatch, tmp_path):
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    secret = "--storage=postgresql://nas:hunter22@host/x"
    monkeypatch.setattr(sys, "argv", ["nas", "search", secret])
    run = create(prepare("tiny", "digits", "5trials", storage=url), tmp_path / "run")
    assert (
        "hunter" not in json.dumps(run.environment)
        and "nas:***@host" in run.environment["command"][2]
    )

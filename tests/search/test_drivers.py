"""Two drivers of one run in a database: the second is refused, a dead one is taken over."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest
import sqlalchemy

from nas.api.doctor import doctor
from nas.errors import RunError
from nas.rundir import RunDir
from nas.search import drivers
from nas.search.drivers import TABLE, Driver, driving
from nas.search.request import reopen
from nas.search.run import search
from nas.search.storage import close, open_storage, patient

from .test_storage import begun

ELSEWHERE = {"pid": 4711, "host": "farhost", "machine": "another", "started": 1, "token": "t"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(drivers, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(drivers, "STALE_SECONDS", 0.8)
    monkeypatch.setattr(drivers, "LOOK_SECONDS", 0.05)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def run(request, tmp_path) -> RunDir:
    if request.param == "postgresql":
        return begun(tmp_path / "run", request.getfixturevalue("database"))
    return begun(tmp_path / "run", f"sqlite:///{tmp_path / 'trials.db'}")


@pytest.fixture
def engine(run):
    """The database, as other processes write in it."""
    storage = open_storage(run.request.storage, run.journal)
    engine = patient(storage).engine
    drivers._make_table(engine)
    yield engine
    close(storage)


def write(engine: sqlalchemy.Engine, of: RunDir, **values: object) -> Driver:
    row = Driver(**{"run": of.request.id, "folder": "/far/run", **ELSEWHERE, **values})
    with engine.begin() as connection:
        connection.execute(TABLE.delete())
        connection.execute(TABLE.insert().values(asdict(row)))
    return row


def rows(engine: sqlalchemy.Engine) -> list[Driver]:
    with engine.connect() as connection:
        return [Driver(**row) for row in connection.execute(TABLE.select()).mappings()]


def hold(run: RunDir):
    return driving(run, run.request)


def test_the_second_is_refused_with_pid_and_host_of_the_first(run, engine):
    with hold(run), pytest.raises(RunError) as caught, hold(run):
        pass
    said = str(caught.value)
    assert f"pid {os.getpid()} on {socket.gethostname()}" in said
    assert f"nas stop {run.path}" in said and "PASSWORD" not in said
    assert rows(engine) == [], "released at the end"
    with hold(run):
        assert len(rows(engine)) == 1


def test_it_is_so_on_a_server_too(database, tmp_path):
    run = begun(tmp_path / "run", database)
    with hold(run), pytest.raises(RunError, match=f"pid {os.getpid()} on"), hold(run):
        pass
    with hold(run):
        pass


def test_a_copy_of_the_folder_neither_searches_nor_mends_meanwhile(run, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    with hold(run):
        other, prepared = reopen(copy)
        before = (copy / "log.txt").read_text()
        with pytest.raises(RunError, match=f"in the hands of pid {os.getpid()} on"):
            search(other, prepared)
        assert (copy / "log.txt").read_text() == before
        with pytest.raises(RunError, match=f"in the hands of pid {os.getpid()} on"):
            doctor(copy)


def test_a_process_of_this_machine_that_was_killed_is_followed_at_once(run, engine, monkeypatch):
    monkeypatch.setattr(drivers, "STALE_SECONDS", 3600.0)
    own = drivers._ourselves(run, run.request)
    for values in ({"pid": 2**22 - 1}, {"pid": own.pid, "started": own.started - 1}):
        write(engine, run, **{**ELSEWHERE, "machine": own.machine, **values})
        with hold(run):
            assert rows(engine)[0].pid == own.pid


def test_so_is_a_search_of_this_process_whose_server_was_gone_at_its_end(run, engine, monkeypatch):
    monkeypatch.setattr(drivers, "STALE_SECONDS", 3600.0)
    own = drivers._ourselves(run, run.request)
    ended = asdict(own) | {"token": "of the one before"}
    write(engine, run, **ended)
    with hold(run):
        assert [row.token for row in rows(engine)] != [ended["token"]]


def test_a_dead_host_is_followed_after_a_while_and_it_is_said(run, engine):
    write(engine, run)
    heard: list[str] = []
    with drivers.driving(run, run.request, heard.append):
        assert rows(engine)[0].pid == os.getpid()
    waiting, taken = heard
    assert "pid 4711 on farhost" in waiting and "waiting up to" in waiting
    assert "taken over from pid 4711 on farhost" in taken
    assert taken in run.log_file.read_text()


def test_a_living_process_of_another_host_is_refused(run, engine):
    over = threading.Event()
    write(engine, run)

    def live():
        while not over.wait(0.05):
            with engine.begin() as connection:
                connection.execute(TABLE.update().values(beat=TABLE.c.beat + 1))

    heart = threading.Thread(target=live)
    heart.start()
    try:
        with pytest.raises(RunError, match="farhost, which searches in /far/run"), hold(run):
            pass
    finally:
        over.set()
        heart.join()


def test_another_run_in_the_same_database_is_nobody_s_business(run, engine):
    write(engine, run, run="another")
    with hold(run):
        assert len(rows(engine)) == 2


def test_who_was_taken_over_is_asked_to_stop(run, engine):
    with hold(run):
        write(engine, run)
        limit = time.monotonic() + 30
        while not run.asked_to_stop() and time.monotonic() < limit:
            time.sleep(0.02)
        assert run.asked_to_stop()
    assert "taken over by pid 4711 on farhost" in run.log_file.read_text()
    assert rows(engine)[0].host == "farhost", "the other's row is left alone"


def test_of_several_at_once_one_has_it(run, engine, monkeypatch):
    """Each takes the row of a dead one at the same moment, as another machine."""
    write(engine, run)
    own = drivers._ourselves(run, run.request)
    refused, held, release = [], [], threading.Event()
    start = threading.Barrier(4)

    def compete(number: int) -> None:
        one = replace(own, pid=number, machine=f"machine {number}", token=f"token {number}")
        start.wait()
        try:
            drivers._take(engine, one, run.request)
        except RunError:
            refused.append(number)
            return
        held.append(number)
        heart = drivers.Heart(engine, one, run)
        heart.start()
        release.wait(30)
        heart.stop()

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    limit = time.monotonic() + 60
    while len(refused) + len(held) < 4 and time.monotonic() < limit:
        time.sleep(0.02)
    release.set()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 3)


def test_a_journal_has_the_lock_of_its_folder_alone(tmp_path):
    run = begun(tmp_path / "run", "journal")
    with hold(run), hold(run):
        pass


@pytest.mark.slow
def test_a_killed_driver_leaves_a_run_that_can_be_taken(run, engine):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from nas.rundir import RunDir\n"
        "from nas.search.drivers import driving\n"
        "run = RunDir(Path(sys.argv[1]))\n"
        "with driving(run, run.request):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, run.path], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"pid {process.pid} on"), hold(run):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    began = time.monotonic()
    with hold(run):
        assert time.monotonic() - began < 30
        assert rows(engine)[0].pid == os.getpid()

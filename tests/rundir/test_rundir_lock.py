"""Two processes on one run: who has it, and when it is taken from a dead host."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from dataclasses import replace

import pytest

from nas.errors import RunError
from nas.rundir import lock


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.6)
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.05)


def write(folder, holder: lock.Holder) -> None:
    """As a process of another machine does, whose kernel's lock does not reach here."""
    held = lock.Hold.__new__(lock.Hold)
    handle = os.open(folder / lock.NAME, os.O_RDWR | os.O_CREAT)
    held._handle, held._own = handle, holder
    held._write()
    os.close(handle)


def elsewhere() -> lock.Holder:
    return lock.Holder(4711, "farhost", "another-boot", 1, "token")


def test_the_second_is_refused_with_pid_and_host_of_the_first(tmp_path):
    with lock.hold(tmp_path), pytest.raises(RunError) as caught, lock.hold(tmp_path):
        pass
    assert f"pid {os.getpid()} on {socket.gethostname()}" in str(caught.value)
    assert "nas stop" in str(caught.value)


def test_it_is_free_after_a_release_and_names_nobody(tmp_path):
    with lock.hold(tmp_path):
        assert lock.holder(tmp_path) == f"pid {os.getpid()} on {socket.gethostname()}"
    assert lock.holder(tmp_path) is None and lock.abandoned(tmp_path) is None
    with lock.hold(tmp_path) as held:
        assert held.taken_over is None


def test_the_heart_beats_while_it_is_held(tmp_path):
    with lock.hold(tmp_path):
        first = lock.read(tmp_path / lock.NAME)
        limit = time.monotonic() + 30
        while lock.read(tmp_path / lock.NAME) == first and time.monotonic() < limit:
            time.sleep(0.02)
        assert lock.read(tmp_path / lock.NAME).beat > first.beat


def test_a_lock_left_by_a_killed_process_of_this_machine_is_free_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "STALE_SECONDS", 3600.0)
    gone = replace(lock.ourselves(), pid=2**22 - 1, started=1)
    write(tmp_path, gone)
    assert lock.abandoned(tmp_path) == str(gone)
    with lock.hold(tmp_path) as held:
        assert held.taken_over is None


def test_a_lock_of_a_dead_host_is_taken_over_and_said(tmp_path):
    write(tmp_path, elsewhere())
    with lock.hold(tmp_path) as held:
        assert "pid 4711 on farhost" in held.taken_over and "taken over" in held.taken_over
        assert lock.read(tmp_path / lock.NAME).pid == os.getpid()


def test_a_lock_of_a_living_process_elsewhere_is_refused(tmp_path):
    over = threading.Event()

    def live():
        other = elsewhere()
        while not over.wait(0.05):
            other = replace(other, beat=other.beat + 1)
            write(tmp_path, other)

    write(tmp_path, elsewhere())
    heart = threading.Thread(target=live)
    heart.start()
    try:
        with pytest.raises(RunError, match="pid 4711 on farhost"), lock.hold(tmp_path):
            pass
    finally:
        over.set()
        heart.join()


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_jump_of_the_clock_makes_no_living_lock_stale(tmp_path, monkeypatch, jump):
    real = time.time
    with lock.hold(tmp_path):
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        with pytest.raises(RunError), lock.hold(tmp_path):
            pass
        assert lock.holder(tmp_path) is not None


def test_where_the_file_system_has_no_locks_the_process_is_looked_up(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    own = f"pid {os.getpid()}"
    with lock.hold(tmp_path), pytest.raises(RunError, match=own), lock.hold(tmp_path):
        pass
    gone = replace(lock.ourselves(), pid=2**22 - 1, started=1)
    write(tmp_path, gone)
    with lock.hold(tmp_path):
        pass


def test_who_stood_still_and_was_taken_over_is_told(tmp_path):
    with lock.hold(tmp_path) as held:
        write(tmp_path, elsewhere())
        limit = time.monotonic() + 30
        while not held.lost and time.monotonic() < limit:
            write(tmp_path, elsewhere())
            time.sleep(0.02)
        assert held.lost
    assert lock.read(tmp_path / lock.NAME).host == "farhost", "the other's lock is left alone"

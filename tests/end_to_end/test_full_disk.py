"""The disk is full under a real search: `prlimit` ends what one process may write, without root."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import subprocess
import time
from pathlib import Path

import pytest

from .test_faults import WORDS, rows, wait


def workers(driver: int) -> list[int]:
    """Ray's processes that train, below the driver."""
    parents = {}
    for folder in Path("/proc").iterdir():
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(stat[1])
        except (OSError, ValueError):
            continue
    found = []
    for pid in parents:
        above = parents.get(pid, 0)
        while above > 1 and above != driver:
            above = parents.get(above, 0)
        try:
            name = (Path("/proc") / str(pid) / "cmdline").read_bytes()
        except OSError:
            continue
        if above == driver and name.startswith(b"ray::") and b"Trainable" in name:
            found.append(pid)
    return found


def limit(pids: list[int], size: int) -> None:
    """No file of these processes may grow beyond `size` bytes: EFBIG, half-way through a write."""
    for pid in pids:
        if Path(f"/proc/{pid}").exists():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def lift(pids: list[int]) -> None:
    limit(pids, resource.RLIM_INFINITY)


def wait_for(log: Path, word: str, times: int, process, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while log.read_text().count(word) < times:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def check_whole(run: Path) -> None:
    """Whatever can be read is whole: tables, states, the journal but for its last record."""
    rows(run)
    if (run / "stages.json").exists():
        json.loads((run / "stages.json").read_text())
    lines = (run / "study.journal").read_bytes().split(b"\n")
    assert all(isinstance(json.loads(line), dict) for line in lines[:-1])


@pytest.mark.slow
def test_it_waits_for_space_goes_on_and_stops_cleanly_when_none_comes(
    start, nas, tmp_path, monkeypatch
):
    """A checkpoint in the worker, the journal in the driver; then neither, for too long."""
    monkeypatch.setenv("NAS_DISK_WAIT", "60")
    run = tmp_path / "run"
    process = start(*WORDS, "--budget", "200trials", "--json")
    wait(run, 1, process)
    pids = workers(process.pid)
    assert pids
    for number, (who, size) in enumerate([(pids, 4096), ([process.pid], None)], start=1):
        limit(who, size or (run / "study.journal").stat().st_size + 10)
        if size:
            wait_for(run / "log.txt", "is full", number, process)
        else:
            time.sleep(3)  # its log is full as well
        check_whole(run)
        assert not [row for row in rows(run).values() if row["cause"] == "failed"]
        lift(who)
        wait_for(run / "log.txt", "goes on", number, process)
    ended = wait(run, 1, process)
    wait(run, len(ended) + 2, process)
    limit([process.pid], (run / "study.journal").stat().st_size + 10)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 1, err
    assert "the disk is full" in err and "nas search --resume" in err and "Traceback" not in err
    check_whole(run)
    left = {n: row for n, row in rows(run).items() if row["cause"]}
    done = nas("search", "--resume", "run", "--budget", f"{len(left) + 3}trials", "--json")
    assert done.code == 0, done.err
    assert done.json["trials"]["failed"] == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(30))
def test_full_at_a_random_point_nothing_is_half_written(start, nas, tmp_path, monkeypatch, seed):
    monkeypatch.setenv("NAS_DISK_WAIT", "120")
    run, source = tmp_path / "run", random.Random(seed)
    process = start(*WORDS, "--budget", "20trials", "--json")
    wait(run, source.randrange(0, 12), process)
    while not (journal := run / "study.journal").exists():
        assert process.poll() is None
        time.sleep(0.1)
    driver = seed % 2 == 0
    who = [process.pid] if driver else workers(process.pid)
    size = journal.stat().st_size + source.randrange(3000)
    limit(who, size if driver else source.randrange(100, 40_000))
    time.sleep(source.uniform(2, 8))
    check_whole(run)
    lift(who)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found["trials"]["failed"] == 0
    assert found["trials"]["total"] - found["trials"]["infeasible"] == 20
    check_whole(run)
    assert Path(found["best"]["weights"]).exists() and not list(run.rglob("*.tmp"))
    assert nas("doctor", "run").code == 0


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a tmpfs is mounted, which takes root")
@pytest.mark.timeout(1800)
def test_on_a_small_disk_of_its_own_the_export_waits_too(start, tmp_path, monkeypatch):
    """ENOSPC itself, for every process at once, until a ballast file is removed."""
    monkeypatch.setenv("NAS_DISK_WAIT", "300")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk]).returncode:
        pytest.skip("this root may not mount a tmpfs")
    try:
        process = start(*WORDS[:-1], "disk/run", "--budget", "12trials", "--json")
        run = disk / "run"
        wait(run, 3, process)
        ballast = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(ballast, b"\0" * 512)
        os.close(ballast)
        time.sleep(20)
        assert process.poll() is None, process.communicate()
        check_whole(run)
        (disk / "ballast").unlink()
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        assert json.loads(out)["trials"]["failed"] == 0
        assert "is full" in err
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)

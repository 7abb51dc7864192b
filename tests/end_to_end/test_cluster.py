"""A search on a cluster of two nodes: real Ray, separate object stores, no shared folder."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Done, command, environment
from .nodes import HEAD, SECOND, Nodes
from .test_plugin import CELL, SPACE

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="two addresses of the loopback network are Linux's"
)
SEARCH = ("search", "--space", "tiny", "--data", "digits", "--run-dir", "run", "--json")


@contextlib.contextmanager
def two(cpus: int = 1, head: int | None = None) -> Iterator[Nodes]:
    made = Nodes(cpus, head)
    try:
        made.start(HEAD)
        made.start(SECOND)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def nodes():
    with two() as made:
        yield made


@pytest.fixture
def mortal():
    with two() as made:
        yield made


@pytest.fixture
def wide():
    with two(cpus=2) as made:
        yield made


def begin(nodes: Nodes, folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*SEARCH, "--ray-address", nodes.address, *words), cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        env={**environment(), **nodes.environment}, start_new_session=True,
    )  # fmt: skip


def places(run: Path) -> dict[int, list[str]]:
    """The nodes that each trial ran on, in their order."""
    found: dict[int, list[str]] = {}
    told = (run / "log.txt").read_text() if (run / "log.txt").exists() else ""
    for number, host in re.findall(r"trial (\d+) runs on \S+ \((\S+)\)", told):
        found.setdefault(int(number), []).append(host)
    return found


def epochs(run: Path, number: int) -> list[dict[str, str]]:
    try:
        with (run / "trials" / str(number) / "metrics.csv").open() as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


@pytest.mark.slow
def test_trials_run_on_both_nodes_and_their_files_come_home(nodes, tmp_path):
    words = ("--budget", "4trials", "--set", "recipe.epochs=120")
    process = begin(nodes, tmp_path, *words)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert f"the cluster at {nodes.address}" in err and "2 trials at once on cpu" in err
    found, run = json.loads(out), tmp_path / "run"
    assert found["trials"]["finished"] + found["trials"]["pruned"] == 4
    assert {host for hosts in places(run).values() for host in hosts} == {HEAD, SECOND}
    for number in places(run):
        folder = run / "trials" / str(number)
        names = {file.name for file in folder.iterdir()}
        assert names >= {"architecture.yaml", "metrics.csv", "checkpoint.pt"}
    kept = json.loads((run / "environment.json").read_text())["placement"]
    assert [node["cpus"] for node in kept["nodes"]] == [1, 1]
    assert nodes.up(HEAD) and nodes.up(SECOND), "a cluster that is not the search's own stays"


@pytest.mark.slow
def test_a_node_that_dies_in_mid_search_loses_nothing(mortal, tmp_path):
    nodes = mortal
    run = tmp_path / "run"
    longer = ("--set", "recipe.epochs=60", "--set", "recipe.batch_size=4")  # than it takes to kill
    process = begin(nodes, tmp_path, "--budget", "4trials", *longer)
    limit, lost = time.monotonic() + 180, None
    while lost is None and time.monotonic() < limit:
        assert process.poll() is None, process.communicate()
        running = [number for number, hosts in places(run).items() if hosts == [SECOND]]
        lost = next((n for n in running if 2 <= len(epochs(run, n)) < 6), None)
        time.sleep(0.05)
    assert lost is not None, "no trial got going on the second node"
    before = epochs(run, lost)
    nodes.kill(SECOND)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found["trials"]["finished"] + found["trials"]["pruned"] == 4
    assert found["trials"]["failed"] == 0
    assert places(run)[lost] == [SECOND, HEAD]
    rest = "the cluster has 1 node now, with room for 1 of 2 trials at once"
    log = (run / "log.txt").read_text()
    for told in (log, " ".join(err.split())):
        assert re.search(rf"node \S+ \({SECOND}\) is gone: {rest}", told), told
    assert any(SECOND in note and rest in note for note in found["notes"])
    assert "rpc_code" not in log and "its node is gone" in log
    after = epochs(run, lost)
    assert after[: len(before)] == before, "it went on from its checkpoint"
    assert [int(row["epoch"]) for row in after] == list(range(1, len(after) + 1))
    assert nodes.up(HEAD)


def ask(nodes: Nodes, folder: Path, *words: str, token: bool = True) -> Done:
    done = subprocess.run(
        command("search", *words), cwd=folder, capture_output=True, text=True, timeout=300,
        env={**environment(), **(nodes.environment if token else {"RAY_AUTH_MODE": "disabled"})},
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


SMALL = ("--space", "tiny", "--data", "digits", "--budget", "3trials", "--set", "recipe.epochs=2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "token", "said"),
    [
        (("--device", "cuda"), True, r"--device cuda: the cluster has no GPU \(2 nodes: .*1 CPU"),
        (("--trials-at-once", "3"), True, r"--trials-at-once 3: 2 fit on the cluster \(2 nodes: "),
        (("--cpus-per-trial", "2"), True, r"--cpus-per-trial 2 does not fit: .* has 1 CPU on a"),
        ((), False, "the cluster asks for Ray's token: set RAY_AUTH_MODE=token"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_what_a_cluster_cannot_give_is_refused(nodes, tmp_path, words, token, said):
    done = ask(nodes, tmp_path, *SMALL, "--ray-address", nodes.address, *words, token=token)
    assert done.code == 2, done.err
    assert re.search(said, " ".join(done.err.split())), done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_port_where_something_else_answers_is_refused_in_time(nas):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        began = time.monotonic()
        done = nas("search", *SMALL, "--ray-address", f"127.0.0.1:{other.getsockname()[1]}")
    assert done.code == 2, done.err
    assert "no Ray answered there within 15 s" in " ".join(done.err.split())
    assert time.monotonic() - began < 90


@pytest.mark.slow
def test_plug_ins_travel_and_a_run_moves_from_a_cluster_to_this_machine(nodes, tmp_path):
    (tmp_path / "cells.py").write_text(CELL)
    (tmp_path / "own.yaml").write_text(SPACE)
    done = ask(
        nodes, tmp_path, "--space", "own.yaml", "--data", "digits", "--budget", "3trials",
        "--plugin", "cells.py", "--run-dir", "run", "--ray-address", nodes.address,
        "--set", "recipe.epochs=90",  # else one node is done before the other has a worker
    )  # fmt: skip
    assert done.code == 0, done.err
    assert {host for hosts in places(tmp_path / "run").values() for host in hosts} == {HEAD, SECOND}
    words = ("--resume", "run", "--budget", "4trials", "--ray-address", "local", "--json")
    more = ask(nodes, tmp_path, *words)
    assert more.code == 0, more.err
    assert more.json["trials"]["total"] == 4


@pytest.mark.slow
def test_auto_measures_on_a_node_of_the_cluster_that_auto_finds(wide, tmp_path, monkeypatch):
    words = ("--trials-at-once", "auto", "--run-dir", "run", "--ray-address", "auto")
    monkeypatch.setenv("RAY_ADDRESS", wide.address)
    done = ask(wide, tmp_path, *SMALL, *words)
    assert done.code == 0, done.err
    said = " ".join(done.err.split()) + " ".join(done.out.split())
    paced = r"\(\d threads?( each)?\) [\d,]+ images/s"
    assert re.search(rf"measured: 1 at once {paced}, [12] at once {paced}", said), said
    assert re.search(r"[124] trials? at once on cpu, [124] threads? each", said)


@pytest.mark.slow
def test_a_cluster_that_lost_its_slots_can_be_left(tmp_path):
    with two(head=0) as nodes:
        run = tmp_path / "run"
        process = begin(nodes, tmp_path, "--budget", "20trials", "--set", "recipe.epochs=30")
        limit = time.monotonic() + 180
        while not places(run) and time.monotonic() < limit:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        nodes.kill(SECOND)
        time.sleep(10)
        assert process.poll() is None, "it waits for a node to come back"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
        assert process.returncode == 130, err
        assert json.loads(out)["stopped"] == "interrupted"
        nodes.start(SECOND)
        words = ("--resume", "run", "--budget", "3trials", "--json")
        assert ask(nodes, tmp_path, *words).code in (0, 2)


@pytest.mark.slow
def test_another_version_of_ray_is_named(nodes):
    program = (
        "import ray; ray.__version__ = '1.0.0'\n"
        f"from nas.search.backend.survey import main; main({nodes.address!r}, '0')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False,
        env={**environment(), **nodes.environment},
    )  # fmt: skip
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert re.match(r"Version mismatch: .*1\.0\.0", told["error"])

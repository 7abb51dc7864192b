"""A search on a cluster of two nodes: real Ray, separate object stores, no shared folder."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import command, environment
from .nodes import HEAD, SECOND, Nodes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="two addresses of the loopback network are Linux's"
)
SEARCH = ("search", "--space", "tiny", "--data", "digits", "--run-dir", "run", "--json")


@pytest.fixture
def nodes():
    made = Nodes()
    try:
        made.start(HEAD)
        made.start(SECOND)
        yield made
    finally:
        made.close()


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


def test_trials_run_on_both_nodes_and_their_files_come_home(nodes, tmp_path):
    words = ("--budget", "4trials", "--set", "recipe.epochs=3")
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
def test_a_node_that_dies_in_mid_search_loses_nothing(nodes, tmp_path):
    run = tmp_path / "run"
    process = begin(nodes, tmp_path, "--budget", "4trials", "--set", "recipe.epochs=90")
    limit, lost = time.monotonic() + 180, None
    while lost is None and time.monotonic() < limit:
        assert process.poll() is None, process.communicate()
        running = [number for number, hosts in places(run).items() if hosts == [SECOND]]
        lost = next((n for n in running if 2 <= len(epochs(run, n)) < 20), None)
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
    after = epochs(run, lost)
    assert after[: len(before)] == before, "it went on from its checkpoint"
    assert [int(row["epoch"]) for row in after] == list(range(1, len(after) + 1))
    assert nodes.up(HEAD)

"""What a plug-in does where it is measured: it ends neither the search nor its patience."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nas import plugins
from nas.errors import ShapeError
from nas.models import cost
from nas.plugins import load_plugins
from nas.search import measuring
from nas.space import parse

UNRULY = """
import ctypes, os, sys, threading, time
from typing import Literal

from torch import nn

from nas.models import operator


class Odd(Exception):
    def __str__(self):
        sys.exit(0)


def misbehave(fault):
    if fault == "segfault":
        ctypes.string_at(0)
    if fault == "os_exit":
        os._exit(3)
    if fault == "sys_exit":
        sys.exit(0)
    if fault == "hang":
        print(os.getpid(), file=open(os.environ.get("OWN_PID", os.devnull), "w"), flush=True)
        while True:
            pass
    if fault == "interrupt":
        raise KeyboardInterrupt
    if fault == "odd":
        raise Odd
    if fault == "long":
        raise ValueError("x" * 20_000_000 + "\\nthe cause")
    if fault == "loud":
        print("x" * 5_000_000)
        threading.Thread(target=time.sleep, args=(100_000,)).start()


@operator("{name}")
class Unruly(nn.Module):
    def __init__(self, fault: str, where: str = "forward"):
        super().__init__()
        self.fault = fault
        if where == "init":
            misbehave(fault)

    def forward(self, x):
        misbehave(self.fault)
        return x


@operator("{name}_stated")
class Stated(nn.Module):
    def __init__(self, fault: str):
        super().__init__()

    def forward(self, x):
        return x

    @staticmethod
    def cost(tally, fault):
        misbehave(fault)
        if fault == "wrong":
            tally.params += 5
"""
FAULTS = ("none", "segfault", "os_exit", "sys_exit", "hang", "interrupt", "odd", "long", "loud")


def write(path: Path, name: str) -> Path:
    faults = ", ".join(f'"{fault}"' for fault in (*FAULTS, "wrong"))
    text = UNRULY.replace("{name}", name).replace("fault: str", f"fault: Literal[{faults}]")
    path.write_text(text.replace("where: str", 'where: Literal["init", "forward"]'))
    return path


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Price a network with such a cell, as a search does: its parameters, or what is wrong."""
    load_plugins([write(tmp_path_factory.mktemp("cells") / "unruly.py", "own_unruly")])

    def price(op: str = "own_unruly", size: int = 8, **settings: str) -> Any:
        row = {"name": "own", "op": op, **settings}
        rows = [{"op": "conv", "channels": 6}, row, {"op": "global_pool"}, {"op": "linear"}]
        network = parse(json.dumps({"network": rows}), path="own.yaml")
        try:
            return cost(network, classes=5, channels=3, size=size).params
        except ShapeError as error:
            return str(error)

    with measuring.apart():
        yield price


@pytest.mark.parametrize("op", ["own_unruly", "own_unruly_stated"])
def test_what_is_measured_apart_is_what_is_measured_here(priced, op):
    apart = priced(op, fault="none")
    assert isinstance(apart, int)
    row = {"name": "own", "op": "conv", "channels": 6}
    rows = [row, {"op": "global_pool"}, {"op": "linear"}]
    network = parse(json.dumps({"network": rows}), path="own.yaml")
    assert apart == cost(network, classes=5, channels=3, size=8).params


@pytest.mark.parametrize(
    ("fault", "where", "words"),
    [
        ("segfault", "forward", "it crashes on an input of 6x8x8: Segmentation fault at unruly.py"),
        ("os_exit", "init", "it ends its process on an input of 6x8x8, which ended with exit"),
        ("sys_exit", "init", "it fails on an input of 6x8x8: SystemExit: 0"),
        ("interrupt", "forward", "it fails on an input of 6x8x8: KeyboardInterrupt"),
        ("odd", "forward", "it fails on an input of 6x8x8: Odd: (its message cannot be had"),
    ],
)
def test_a_cell_that_would_end_the_search_is_a_misfit(priced, fault, where, words):
    said = priced(fault=fault, where=where)
    assert said.startswith("own.yaml:1: row 'own' (own_unruly): ") and words in said
    began = time.monotonic()
    assert priced(fault=fault, where=where) == said, "what is known is not tried again"
    assert time.monotonic() - began < 0.5
    assert isinstance(priced(fault="none", size=9), int), "the next one is measured"


@pytest.mark.parametrize(
    ("op", "who"),
    [
        ("own_unruly", "it"),
        pytest.param("own_unruly_stated", "its cost", marks=pytest.mark.slow),
    ],
)
def test_a_cell_that_never_comes_back_is_broken_off_and_its_place_told(
    priced, monkeypatch, op, who
):
    monkeypatch.setattr(measuring, "ANSWER_SECONDS", 1.0)
    measuring._measurer.close()  # it has been told another time
    said = priced(op, fault="hang")
    assert f"{who} does not come to an end on an input of 6x8x8: broken off after 1 s" in said
    assert "unruly.py, line" in said and "in misbehave" in said
    assert isinstance(priced(op, fault="none", size=10), int)


def test_a_cost_that_fails_is_a_misfit_and_one_that_errs_is_told(priced):
    said = priced("own_unruly_stated", fault="sys_exit")
    assert "(own_unruly_stated): its cost fails on an input of 6x8x8: SystemExit: 0" in said
    assert "its cost states 5 parameters" in priced("own_unruly_stated", fault="wrong")


def test_what_it_says_is_cut_and_what_it_prints_goes_nowhere(priced, capfd):
    said = priced(fault="long")
    assert "ValueError: xxx" in said and said.endswith("the cause") and len(said) < 2000
    assert isinstance(priced(fault="loud"), int)
    assert capfd.readouterr() == ("", "")


def test_without_a_process_of_its_own_it_is_a_misfit_too_and_ctrl_c_is_not(tmp_path, monkeypatch):
    """As `nas describe` measures."""
    monkeypatch.setattr(plugins, "elsewhere", None)
    load_plugins([write(tmp_path / "here.py", "own_here")])
    code = parse('{"network": [{"op": "own_here", "fault": "interrupt"}]}', path="own.yaml")
    told: list[object] = []

    def price() -> None:
        try:
            cost(code, classes=5, channels=3, size=8)
        except BaseException as error:
            told.append(error)

    price()  # the main thread's: the user's
    thread = threading.Thread(target=price)
    thread.start()
    thread.join()
    assert [type(error) for error in told] == [KeyboardInterrupt, ShapeError]


def test_nothing_is_started_where_there_is_nothing_to_ask(monkeypatch):
    monkeypatch.setattr(measuring, "_Child", None)  # would raise
    network = parse('{"network": [{"op": "global_pool"}, {"op": "linear"}]}', path="own.yaml")
    with measuring.apart():
        assert cost(network, classes=5, channels=3, size=8).params


def test_a_plugin_that_comes_later_is_measured_apart_too(priced, tmp_path):
    load_plugins([write(tmp_path / "later.py", "own_later")])
    assert "KeyboardInterrupt" in priced("own_later", fault="interrupt")  # here: the user's


HANGING = """
import json, sys
from nas.models import cost
from nas.plugins import load_plugins
from nas.search import measuring
from nas.space import parse

measuring.ANSWER_SECONDS = 3.0
load_plugins(sys.argv[1:2])
with measuring.apart():
    row = {"op": "own_orphan", "fault": "hang"}
    cost(parse(json.dumps({"network": [row]}), path="own.yaml"), classes=5, channels=3, size=8)
"""


@pytest.mark.slow
def test_the_process_ends_with_a_search_that_is_killed_even_while_it_hangs(tmp_path):
    path, told = write(tmp_path / "orphan.py", "own_orphan"), tmp_path / "pid"
    search = subprocess.Popen(
        [sys.executable, "-c", HANGING, str(path)], env={**os.environ, "OWN_PID": str(told)}
    )
    try:
        _wait(lambda: told.exists() and told.read_text().strip())
    finally:
        search.send_signal(signal.SIGKILL)
        search.wait()
    pid = int(told.read_text())
    _wait(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _wait(until: Callable[[], object]) -> None:
    limit = time.monotonic() + 90
    while not until():
        assert time.monotonic() < limit
        time.sleep(0.1)

"""Cells that crash, end or hang the process that prices them: the search goes on, and says so."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CELL = """
import ctypes, os, sys
from typing import Literal

from torch import nn

from nas.models import operator


@operator("unruly")
class Unruly(nn.Module):
    def __init__(
        self, fault: Literal["none", "segfault", "exit", "leave", "hang", "long"] = "none"
    ):
        super().__init__()
        self.fault = fault
        if fault == "exit":
            sys.exit(0)
        if fault == "leave":
            os._exit(0)

    def forward(self, x):
        if self.fault == "segfault":
            ctypes.string_at(0)
        if self.fault == "long":
            raise ValueError("x" * 20_000_000)
        while self.fault == "hang":
            pass
        return x
"""
SPACE = """
network:
  - {{op: conv, name: first, channels: !choice [8, 12, 16, 20]}}
  - {{op: unruly, name: own, fault: !choice {faults}}}
  - {{op: global_pool}}
  - {{op: linear}}
recipe: {{lr: !log [0.03, 0.3], epochs: 2, batch_size: 64}}
"""
WORDS = ("search", "--space", "own.yaml", "--data", "digits", "--plugin", "cells.py",
         "--run-dir", "run", "--trials-at-once", "1")  # fmt: skip


def write(folder: Path, *faults: str) -> None:
    (folder / "cells.py").write_text(CELL)
    (folder / "own.yaml").write_text(SPACE.format(faults=f"[none, {', '.join(faults)}]"))


def test_a_search_outlives_cells_that_end_the_process_that_prices_them(nas, tmp_path):
    write(tmp_path, "segfault", "exit", "leave", "long")
    done = nas(*WORDS, "--budget", "6trials", "--json")
    assert done.code == 0, done.err
    told = done.json
    assert told["trials"]["finished"] + told["trials"]["pruned"] == 6
    assert told["trials"]["infeasible"] > 0 and told["trials"]["failed"] == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "refused: " in log and "row 'own' (unruly): it " in log and len(log) < 50_000
    again = nas("search", "--resume", "run", "--budget", "8trials", "--json")
    assert again.code == 0, again.err
    assert nas("show", "run").code == 0 and nas("doctor", "run").code == 0


def test_a_default_that_crashes_is_refused_before_the_search(nas, tmp_path):
    write(tmp_path, "segfault")
    space = tmp_path / "own.yaml"
    space.write_text(space.read_text().replace("[none, segfault]", "[segfault, none]"))
    done = nas(*WORDS, "--budget", "6trials")
    assert done.code == 2
    assert "it crashes on an input of 8x8x8: Segmentation fault at cells.py, line" in done.err
    assert nas("spaces", "own.yaml", "--plugin", "cells.py", "--check").code == 2


def test_a_signal_is_heard_while_a_candidate_hangs(start, nas, tmp_path):
    write(tmp_path, "hang")
    process = start(*WORDS, "--budget", "200trials", "--json")
    log, limit = tmp_path / "run" / "log.txt", time.monotonic() + 120
    while not (log.exists() and "does not come to an end" in log.read_text()):
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert json.loads(out)["stopped"] == "interrupted" and "nas search --resume" in err

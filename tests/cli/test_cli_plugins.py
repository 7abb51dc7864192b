"""What a plug-in prints is no part of a command's JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LOUD = """
import os

from torch import nn

from nas.models import operator

print("loaded")
os.write({number}, b"loaded past Python\\n")


@operator("{name}")
class Loud(nn.Module):
    def __init__(self, in_channels: int):
        super().__init__()
        print("made")

    def forward(self, x):
        print("applied")
        return x
"""
NETWORK = """
input: {size: 8, channels: 3, classes: 5}
network:
  - {op: conv, channels: 4}
  - {op: NAME}
  - {op: global_pool}
  - {op: linear}
"""


@pytest.fixture
def loud(tmp_path: Path):
    def write(name: str, number: int) -> list[str]:
        plugin, file = tmp_path / f"{name}.py", tmp_path / f"{name}.yaml"
        plugin.write_text(LOUD.format(name=name, number=number))
        file.write_text(NETWORK.replace("NAME", name))
        return ["--plugin", str(plugin), str(file), "--json"]

    return write


@pytest.mark.parametrize("command", [["describe"], ["spaces", "--check"]])
def test_a_plugin_that_prints_leaves_the_json_alone(command: list[str], loud, nas) -> None:
    name = f"own_loud_{command[0]}"
    told = nas(*command, *loud(name, 2))
    assert isinstance(told.json, dict)
    assert "loaded\n" in told.err


def test_so_does_one_that_writes_past_python(loud) -> None:
    words = [sys.executable, "-m", "nas", "describe", *loud("own_loud_process", 1)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert json.loads(done.stdout)["rows"][1]["op"] == "own_loud_process"
    assert all(f"{word}\n" in done.stderr for word in ("loaded past Python", "made", "applied"))

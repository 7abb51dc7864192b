"""The final test of networks with operators of the user's own: what they do costs only the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas import export
from nas.api import exam
from nas.data import ImageData, load
from nas.models import build
from nas.plugins import load_plugins, read_plugin
from nas.space import parse, require_architecture

CELLS = Path(__file__).parent / "faulty_cells.py"
TEXT = """
network:
  - {op: conv, channels: 8, kernel: 3}
  - {op: own_faulty, fault: FAULT}
  - {op: global_pool}
  - {op: linear}
"""


@pytest.fixture(scope="module")
def data() -> ImageData:
    load_plugins([CELLS])
    return load("digits", seed=0)


def paper(data: ImageData, fault: str) -> exam.Paper:
    architecture = require_architecture(parse(TEXT.replace("FAULT", fault), path="own.yaml"))
    network = build(architecture, classes=10, channels=1, size=(8, 8))
    weights = network.state_dict()
    return exam.Paper(
        architecture.text, "own.yaml", weights, data, "cpu", [read_plugin(CELLS)]
    )  # fmt: skip


def test_the_accuracy_is_that_of_this_process(data):
    whole = paper(data, "none")
    architecture = require_architecture(parse(whole.text, path=whole.path))
    here = export.test_accuracy(architecture, whole.weights, data, "cpu")
    assert exam.examine(whole) == here


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("segfault", "it crashed: Segmentation fault at faulty_cells.py"),
        pytest.param("exit", "its process ended with exit code", marks=pytest.mark.slow),
        pytest.param("wordless", "Wordless: ", marks=pytest.mark.slow),
        pytest.param("leave", "SystemExit: 3", marks=pytest.mark.slow),
    ],
)
def test_what_the_network_does_is_told_in_a_clause(data, fault, words):
    with pytest.raises(exam.Failed, match=words):
        exam.examine(paper(data, fault))


@pytest.mark.slow
def test_a_network_that_does_not_come_back_is_left(data, monkeypatch):
    monkeypatch.setattr(exam, "SILENT_SECONDS", 40.0)
    with pytest.raises(exam.Failed, match=r"no sign of life for 40 s at faulty_cells"):
        exam.examine(paper(data, "hang"))

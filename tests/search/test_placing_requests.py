"""What is said of the placement on the command line, through a request and its resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nas.api import searching
from nas.errors import RunError, UserError
from nas.rundir import Request, RunDir
from nas.search import request as requests
from nas.search.machine import Node, available_cpus
from nas.search.placement import Level

DATA = {"space": "tiny", "data": "digits", "budget": "2trials", "device": "cpu"}


def test_auto_trains_on_this_machine_for_a_moment_and_says_what_it_saw():
    found = requests.prepare(**DATA, trials_at_once="auto")
    request, place = found.request, found.placement
    assert request.auto == ["trials_at_once"]
    assert request.trials_at_once * request.cpus_per_trial <= available_cpus()
    assert place.threads == request.cpus_per_trial
    if available_cpus() > 1:
        assert "measured: 1 at once " in place.words() and "process takes up to " in place.words()


@pytest.fixture
def measured(monkeypatch) -> None:
    """Eight CPUs on which two trials of four threads were found best."""
    monkeypatch.setattr(requests, "this_machine", lambda: Node("here", cpus=8))
    level = Level(2, 4, 1000.0)
    monkeypatch.setattr(requests, "settled_by", lambda *_, **__: lambda *_: (level, [level]))


def begun(tmp_path: Path, **options: object) -> RunDir:
    return searching.begin(searching.prepare(**DATA, **options), tmp_path / "run").run


def test_a_resume_keeps_what_was_measured(measured, tmp_path):
    run = begun(tmp_path, trials_at_once="auto")
    assert run.environment["placement"]["trials_at_once"] == 2
    session = searching.reopen(run.path, None, {"trials_at_once": "auto"})
    place = session.prepared.placement
    assert (place.trials_at_once, place.threads) == (2, 4)
    assert searching.reopen(run.path, None, {"trials_at_once": "2"}).prepared is not None
    for other in ({"trials_at_once": "3"}, {"gpus_per_trial": "auto"}, {"cpus_per_trial": 1}):
        with pytest.raises(RunError, match="contradicts the run"):
            searching.reopen(run.path, None, other)


def test_a_resume_on_a_smaller_machine_takes_fewer_slots(measured, tmp_path, monkeypatch):
    run = begun(tmp_path, cpus_per_trial="4")
    assert run.request.trials_at_once == 2
    monkeypatch.setattr(requests, "this_machine", lambda: Node("here", cpus=4))
    monkeypatch.setattr(requests.placing, "OVERSUBSCRIBED", 1)
    place = searching.reopen(run.path, None, {}).prepared.placement
    assert (place.trials_at_once, place.threads) == (1, 4)
    assert run.request.trials_at_once == 2, "what was asked stays"


def test_requests_of_before_have_none_of_it(tmp_path):
    old = Request("a.yaml", "a", "", "", False, "digits", "1min")
    assert (old.auto, old.cpus_per_trial, old.ray_address) == ([], 0, "")
    assert replace(old, ray_address="auto").ray_address == "auto"


@pytest.mark.slow
def test_a_default_network_that_cannot_be_trained_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "this_machine", lambda: Node("here", cpus=2))
    plugin = tmp_path / "broken.py"
    plugin.write_text(
        "import sys\nif sys.argv[0] == '-c':\n    raise RuntimeError('no such library')\n"
    )
    with pytest.raises(UserError, match=r"auto: the default network cannot be trained: .*no such"):
        requests.prepare(**DATA, trials_at_once="auto", plugins=[plugin])

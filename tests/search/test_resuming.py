"""A resume with a larger budget that came to nothing: the next one goes on with it all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.api.searching import carry_out, reopen
from nas.errors import NasError
from nas.rundir import RunDir

from .test_storage import begun

ENDED = {
    "stages": [{"name": "coarse"}], "ended": True, "stopped": "budget", "finalists": [],
    "budget": {"asked": "5trials"}, "trials": {"total": 5},
}  # fmt: skip


@pytest.fixture
def run(tmp_path) -> RunDir:
    """It has ended, under its five trials."""
    run = begun(tmp_path / "run", f"sqlite:///{tmp_path / 'trials.db'}")
    run.write_stages(ENDED)
    return run


def test_what_was_done_counts_and_not_what_was_asked_last(run):
    assert reopen(run.path, None, {}).prepared is None
    assert reopen(run.path, "5trials", {}).prepared is None
    run.write_request(replace(run.request, budget="20trials"))  # and was killed
    for budget in (None, "20trials"):
        going_on = reopen(run.path, budget, {}).prepared
        assert going_on is not None and going_on.request.budget == "20trials"
    with pytest.raises(NasError, match="4trials is not larger than what run has spent"):
        reopen(run.path, "4trials", {})
    assert reopen(run.path, "5trials", {}).prepared is None, "these were done"


def test_a_resume_that_finds_its_database_gone_leaves_the_request_as_it_was(run, tmp_path):
    session = reopen(run.path, "20trials", {})
    for file in tmp_path.glob("trials.db*"):
        file.rename(file.with_name("gone-" + file.name))
    with pytest.raises(NasError):
        carry_out(session)
    assert RunDir.open(run.path).request.budget == "5trials"
    for file in tmp_path.glob("gone-*"):
        file.rename(file.with_name(file.name.removeprefix("gone-")))
    assert reopen(run.path, "20trials", {}).prepared is not None

"""A search in a database: what is remembered is what stands there, in few transactions."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from nas.search.storage import close, open_storage
from nas.search.study import PLAN, Studies

from .simulator import Simulation


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("database")
    return f"sqlite:///{tmp_path / 'trials.db'}"


@pytest.fixture
def storage(url):
    opened = open_storage(url, Path())
    yield opened
    close(opened)


def statements(storage):
    """A list that grows with every statement."""
    told = []
    engine = storage._backend.engine
    sqlalchemy.event.listen(
        engine, "before_cursor_execute", lambda *words: told.append(str(words[2]))
    )
    return told


@pytest.fixture
def theirs(storage):
    """The same tables, by Optuna's own storage."""
    address = storage._backend.engine.url.render_as_string(hide_password=False)
    own = RDBStorage(address)
    yield own
    own.engine.dispose()


def plain(trials):
    return [
        (t.number, t.state, t.values, t.params, t.distributions, t.user_attrs, t.system_attrs,
         t.intermediate_values, t._trial_id, bool(t.datetime_start), bool(t.datetime_complete))
        for t in trials
    ]  # fmt: skip


def test_what_is_remembered_is_what_stands_there(storage, theirs):
    study = optuna.create_study(storage=storage, study_name="one", direction="maximize")
    study.enqueue_trial({"x": 0.25})
    for n in range(6):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("kind", ["a", "b", None])
        trial.suggest_int("size", 1, 64, log=True)
        trial.report(x, 1)
        trial.report(float("inf"), 2)
        trial.set_user_attr("plan", {"epochs": (1, 2), "n": n})
        trial.set_user_attr("plan", {"epochs": (1, 2), "n": n + 1})
        if n == 1:
            trial.set_constraint("memory", 0.5)
            study.tell(trial, state=TrialState.FAIL)
        elif n < 5:
            study.tell(trial, x)
    with pytest.raises(UpdateFinishedTrialError):
        study._storage.set_trial_user_attr(study.trials[0]._trial_id, "late", 1)
    with pytest.raises(ValueError):
        study.ask().suggest_categorical("kind", ["c"])
    there = optuna.load_study(storage=theirs, study_name="one")
    assert plain(study.trials) == plain(there.trials)
    assert there.trials[0].params["x"] == 0.25
    assert there.trials[4].user_attrs["plan"] == {"epochs": [1, 2], "n": 5}
    again = optuna.load_study(storage=open_storage_of(storage), study_name="one")
    assert plain(again.trials) == plain(study.trials)
    assert abs(there.trials[2].datetime_start - study.trials[2].datetime_start).total_seconds() < 1


def open_storage_of(storage):
    return type(storage)(storage._backend)


def test_trials_that_are_carried_over_are_one_transaction_and_whole(storage, theirs):
    study = optuna.create_study(storage=storage, study_name="one", direction="maximize")
    over = {"x": FloatDistribution(0, 1)}

    def ended(n):
        state, value = (TrialState.COMPLETE, n / 9) if n % 2 else (TrialState.PRUNED, None)
        return create_trial(
            state=state, value=value, params={"x": n / 9}, distributions=over,
            intermediate_values={1: n / 9, 3: 0.5}, user_attrs={"carried_from": n},
        )  # fmt: skip

    copies = [ended(n) for n in range(7)]
    study.ask()
    told = statements(storage)
    storage.create_new_trials(study._study_id, copies)
    assert len(told) <= 16
    there = optuna.load_study(storage=theirs, study_name="one")
    assert [t.number for t in there.trials] == list(range(8))
    assert [t.user_attrs.get("carried_from") for t in there.trials[1:]] == list(range(7))
    assert plain(study.trials) == plain(there.trials)
    assert study.best_trial.number == 6


def test_what_is_told_together_is_one_transaction_or_nothing(storage, theirs):
    studies = Studies(storage, "run", lambda n: optuna.samplers.RandomSampler(seed=n))
    studies.create("coarse", {})
    looking = optuna.load_study(storage=theirs, study_name="run.coarse")
    with studies.together():
        trial = studies.ask("coarse")
        studies.begin(trial, 0, dict.fromkeys(PLAN, 3))
        studies.report(trial, 1, 3, 0.5)
        assert looking.trials[0].user_attrs == {}
    assert looking.trials[0].user_attrs["trial"] == 0
    with studies.together():
        studies.progress(trial, 1, 2.0, 2.0, 3.0)
        studies.sync()
        assert looking.trials[0].user_attrs["progress"]["epoch"] == 1
        studies.end("coarse", trial, "finished", 0.5)
        assert looking.trials[0].state == TrialState.RUNNING
    assert looking.trials[0].state == TrialState.COMPLETE


def test_a_search_asks_the_database_little(storage):
    studies = Studies(storage, "run", lambda n: optuna.samplers.RandomSampler(seed=n))
    studies.create("coarse", {})
    trials = [studies.ask("coarse") for _ in range(8)]
    told = statements(storage)
    for number, trial in enumerate(trials):
        with studies.together():
            studies.begin(trial, number, dict.fromkeys(PLAN, 1))
        with studies.together():
            studies.report(trial, 1, 1, 0.5)
            studies.end("coarse", trial, "finished", 0.5)
        studies.ask("coarse")
    assert not [words for words in told if "JOIN" in words]
    assert len(told) <= 8 * 12


def test_a_search_in_a_database_is_taken_up_where_it_stood(storage, tmp_path):
    def studies():
        return Studies(open_storage_of(storage), "run", lambda n: optuna.samplers.RandomSampler(n))

    first = Simulation(tmp_path / "run", "30trials", slots=4, studies=studies())
    assert first.go(lambda s: len(s.asked) >= 17) is None
    ended = {n: row for n, row in first.table.rows.items() if row["cause"]}
    second = Simulation(tmp_path / "run", "30trials", slots=4, studies=studies())
    state = second.go()
    for number, row in ended.items():
        assert second.table.rows[number]["validation"] == row["validation"]
    numbers = sorted(second.table.rows)
    assert numbers == list(range(len(numbers)))
    assert state["trials"]["total"] == 30 + state["trials"]["infeasible"]

"""A database of trials that one process writes: read once, written in whole transactions.

Optuna asks the database before each thing that it writes, one row at a time, and reads all running
trials again at every draw: some two hundred statements a trial on a cluster. A run has one driver
(its folder's lock, its id in the names of its studies), so what the driver has read or written is
what stands there: nothing is asked twice, and what belongs together is one transaction
(`Database.together`). The tables are Optuna's own, so that its dashboard and its storage read them.

Trials that other processes add to a study are numbered beside ours, and not seen.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.dialects import postgresql, sqlite

Row = dict[str, Any]
_TRIALS = models.TrialModel.__table__
_STUDIES = models.StudyModel.__table__
_PARAMS = models.TrialParamModel.__table__
_VALUES = models.TrialValueModel.__table__
_REPORTS = models.TrialIntermediateValueModel.__table__
_OURS = models.TrialUserAttributeModel.__table__  # user attributes
_THEIRS = models.TrialSystemAttributeModel.__table__
_KEYS = {_PARAMS: "param_name", _VALUES: "objective", _REPORTS: "step", _OURS: "key",
         _THEIRS: "key"}  # fmt: skip


@dataclass
class Changes:
    """Rows to write by table and by what makes them one; trials that change their state."""

    rows: dict[sqlalchemy.Table, dict[tuple[int, Any], Row]] = field(default_factory=dict)
    states: dict[int, Row] = field(default_factory=dict)

    def put(self, table: sqlalchemy.Table, trial_id: int, key: object, **columns: object) -> None:
        row = {"trial_id": trial_id, _KEYS[table]: key, **columns}
        self.rows.setdefault(table, {})[trial_id, key] = row

    def param(self, trial_id: int, name: str, value: float, over: BaseDistribution) -> None:
        text = distribution_to_json(over)
        self.put(_PARAMS, trial_id, name, param_value=value, distribution_json=text)

    def attribute(self, trial_id: int, key: str, text: str, *, system: bool = False) -> None:
        self.put(_THEIRS if system else _OURS, trial_id, key, value_json=text)

    def report(self, trial_id: int, step: int, value: float) -> None:
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        columns = {"intermediate_value": stored, "intermediate_value_type": kind}
        self.put(_REPORTS, trial_id, step, **columns)

    def values(self, trial_id: int, values: Sequence[float]) -> None:
        for objective, value in enumerate(values):
            stored, kind = models.TrialValueModel.value_to_stored_repr(value)
            self.put(_VALUES, trial_id, objective, value=stored, value_type=kind)

    def whole(self, trial_id: int, trial: FrozenTrial) -> None:
        """All that a trial holds."""
        for name, value in trial.params.items():
            over = trial.distributions[name]
            self.param(trial_id, name, over.to_internal_repr(value), over)
        for key, attribute in trial.user_attrs.items():
            self.attribute(trial_id, key, json.dumps(attribute))
        for key, attribute in trial.system_attrs.items():
            self.attribute(trial_id, key, json.dumps(attribute), system=True)
        for step, value in trial.intermediate_values.items():
            self.report(trial_id, step, value)
        self.values(trial_id, trial.values or [])

    def __bool__(self) -> bool:
        return bool(self.rows or self.states)


class Tables(RDBStorage):
    """Optuna's storage, with what it does one row at a time done at once. Doing it again changes
    nothing: an answer that was lost costs no trial its record."""

    def write(self, changes: Changes) -> None:
        """All of it, in one transaction."""
        with self.engine.begin() as connection:
            self._write(connection, changes)

    def create(self, study_id: int, templates: Sequence[FrozenTrial]) -> list[tuple[int, int]]:
        """New trials: their ids and numbers. KeyError where there is no such study."""
        with self.engine.begin() as connection:
            study = sqlalchemy.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id)
            if connection.execute(study.with_for_update()).first() is None:  # one at a time
                raise KeyError(f"no study {study_id}")
            rows = [_first_row(study_id, template) for template in templates]
            ids = self._insert(connection, rows)
            before = (_TRIALS.c.study_id == study_id) & (_TRIALS.c.trial_id < ids[0])
            count = sqlalchemy.select(sqlalchemy.func.count()).select_from(_TRIALS).where(before)
            first = int(connection.execute(count).scalar_one())
            made = [(trial_id, first + place) for place, trial_id in enumerate(ids)]
            changes = Changes()
            for (trial_id, number), template in zip(made, templates, strict=True):
                changes.states[trial_id] = {"number": number}
                changes.whole(trial_id, template)
            self._write(connection, changes)
        return made

    def _insert(self, connection: sqlalchemy.Connection, rows: list[Row]) -> list[int]:
        statement = sqlalchemy.insert(_TRIALS).returning(
            _TRIALS.c.trial_id, sort_by_parameter_order=True
        )
        return [int(found) for found in connection.execute(statement, rows).scalars()]

    def _write(self, connection: sqlalchemy.Connection, changes: Changes) -> None:
        for table, rows in changes.rows.items():
            _execute(connection, self._upsert(table, next(iter(rows.values()))), [*rows.values()])
        own = _TRIALS.c.trial_id == sqlalchemy.bindparam("of")
        for columns, states in _alike(changes.states).items():
            new: dict[str, Any] = {name: sqlalchemy.bindparam(f"new_{name}") for name in columns}
            _execute(connection, sqlalchemy.update(_TRIALS).where(own).values(new), states)

    def _upsert(self, table: sqlalchemy.Table, row: Row) -> sqlalchemy.Executable:
        dialects = {"postgresql": postgresql, "sqlite": sqlite}
        statement = dialects[self.engine.dialect.name].insert(table)
        keys = ["trial_id", _KEYS[table]]
        new = {name: statement.excluded[name] for name in row if name not in keys}
        told: sqlalchemy.Executable = statement.on_conflict_do_update(index_elements=keys, set_=new)
        return told


def _execute(
    connection: sqlalchemy.Connection, statement: sqlalchemy.Executable, rows: list[Row]
) -> None:
    connection.execute(statement, rows if len(rows) > 1 else rows[0])


def _alike(states: Mapping[int, Row]) -> dict[tuple[str, ...], list[Row]]:
    """The rows by the columns that change."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for trial_id, row in states.items():
        changed = {f"new_{name}": value for name, value in row.items()}
        found.setdefault(tuple(row), []).append({"of": trial_id, **changed})
    return found


def _first_row(study_id: int, template: FrozenTrial) -> Row:
    return {
        "study_id": study_id, "state": template.state,
        "datetime_start": _stored(template.datetime_start),
        "datetime_complete": _stored(template.datetime_complete),
    }  # fmt: skip


def _stored(moment: datetime | None) -> datetime | None:
    """As Optuna's tables have it: UTC, and not saying so."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


class Database(_CachedStorage):
    """Optuna's storage over Tables, for the one process that writes its studies."""

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._read: set[int] = set()  # studies
        self._changes = Changes()
        self._depth = 0

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is told inside is one transaction at the end; new trials are there at once."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.sync()

    def sync(self) -> None:
        """What was told so far stands in the database, when this returns."""
        if self._changes:
            self._backend.write(self._changes)  # type: ignore[attr-defined]
            self._changes = Changes()

    # --- studies ------------------------------------------------------------------------

    def delete_study(self, study_id: int) -> None:
        self.sync()
        super().delete_study(study_id)
        self._read.discard(study_id)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        """Once: what comes later comes from here."""
        if study_id in self._read:
            return
        self.sync()
        super()._read_trials_from_remote_storage(study_id)
        trials = self._studies[study_id].trials
        self._studies[study_id].trials = dict(sorted(trials.items()))
        self._read.add(study_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        self._read_trials_from_remote_storage(study_id)
        known = self._studies[study_id].trials.values()
        found = [trial for trial in known if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_n_trials(
        self, study_id: int, state: tuple[TrialState, ...] | TrialState | None = None
    ) -> int:
        states = (state,) if isinstance(state, TrialState) else state
        return len(self.get_all_trials(study_id, deepcopy=False, states=states))

    # --- trials -------------------------------------------------------------------------

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return self.create_new_trials(study_id, [template_trial or _running()])[0]

    def create_new_trials(self, study_id: int, templates: Sequence[FrozenTrial]) -> list[int]:
        """Several at once; their ids."""
        if not templates:
            return []
        self._read_trials_from_remote_storage(study_id)
        made = self._backend.create(study_id, templates)  # type: ignore[attr-defined]
        trials = []
        for (trial_id, number), template in zip(made, templates, strict=True):
            trial = copy.deepcopy(template)
            trial.number, trial._trial_id = number, trial_id
            trials.append(trial)
        self._add_trials_to_cache(study_id, trials)
        return [trial_id for trial_id, _ in made]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        if trial_id not in self._trial_id_to_study_id_and_number:
            return super().get_trial(trial_id)
        study_id, number = self._trial_id_to_study_id_and_number[trial_id]
        return self._studies[study_id].trials[number]

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        trial = self._changed(trial_id)
        study_id, _ = self._trial_id_to_study_id_and_number[trial_id]
        known = self._studies[study_id].param_distribution
        if param_name not in known:
            known[param_name] = self._earlier(study_id, param_name) or distribution
        check_distribution_compatibility(known[param_name], distribution)
        value = distribution.to_external_repr(param_value_internal)
        trial.params = {**trial.params, param_name: value}
        trial.distributions = {**trial.distributions, param_name: distribution}
        self._changes.param(trial_id, param_name, param_value_internal, distribution)
        self._keep(trial)

    def _earlier(self, study_id: int, name: str) -> BaseDistribution | None:
        trials: Collection[FrozenTrial] = self._studies[study_id].trials.values()
        return next((t.distributions[name] for t in trials if name in t.distributions), None)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        trial = self._changed(trial_id)
        trial.intermediate_values = {**trial.intermediate_values, step: intermediate_value}
        self._changes.report(trial_id, step, intermediate_value)
        self._keep(trial)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial, text = self._changed(trial_id), json.dumps(value)
        trial.user_attrs = {**trial.user_attrs, key: json.loads(text)}
        self._changes.attribute(trial_id, key, text)
        self._keep(trial)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial, text = self._changed(trial_id), json.dumps(value)
        trial.system_attrs = {**trial.system_attrs, key: json.loads(text)}
        self._changes.attribute(trial_id, key, text, system=True)
        self._keep(trial)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        trial, now = self._changed(trial_id), datetime.now()
        if state == TrialState.RUNNING:  # of a waiting one, which another process may have taken
            self.sync()
            if not self._backend.set_trial_state_values(trial_id, state=state, values=values):
                return False
            trial.datetime_start = now
        else:
            trial.datetime_complete = now
            self._changes.states[trial_id] = {"state": state, "datetime_complete": _stored(now)}
        trial.state = state
        if values is not None:
            trial.values = list(values)
            self._changes.values(trial_id, values)
        self._keep(trial)
        return True

    def _changed(self, trial_id: int) -> FrozenTrial:
        """The trial, to be changed: who holds it keeps what it was. Raises UpdateFinishedTrialError
        where it has ended, KeyError where its study was not read."""
        trial = self.get_trial(trial_id)
        if trial.state.is_finished():
            raise UpdateFinishedTrialError(f"trial {trial.number} has ended already")
        if trial_id not in self._trial_id_to_study_id_and_number:
            raise KeyError(f"no trial of a study that was read: {trial_id}")
        return copy.copy(trial)

    def _keep(self, trial: FrozenTrial) -> None:
        study_id, number = self._trial_id_to_study_id_and_number[trial._trial_id]
        self._studies[study_id].trials[number] = trial
        if not self._depth:
            self.sync()


def _running() -> FrozenTrial:
    return FrozenTrial(
        number=-1, trial_id=-1, state=TrialState.RUNNING, value=None, values=None,
        datetime_start=datetime.now(), datetime_complete=None, params={}, distributions={},
        user_attrs={}, system_attrs={}, intermediate_values={},
    )  # fmt: skip

"""What the search asks and tells of Optuna; storages and strategies know it besides.

One study per stage, all in one storage; the storage is the single truth of a run. What a trial
is to us stands in its user attributes: `trial` (the run-wide number), `plan` (epochs, seed,
digest, params, macs), `device_seconds`, `epoch`, `cause`.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.trial import Trial as Trial  # the core and the proposals hold it, and look not inside

from ..errors import RunError
from ..space import Decisions, Hole, Value
from .database import Database
from .journal import Journal
from .rungs import Rungs

PLAN = {"epochs", "full_epochs", "digest", "params", "macs", "seed"}  # what every plan says
MOST_VALUES = 50  # intermediate values of one trial: the dashboard's first load grows with them
TOLD = {
    "finished": TrialState.COMPLETE,
    "stalled": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
}  # every other cause is told PRUNED


@dataclass(frozen=True)
class Record:
    """A trial as the study holds it. `value` is the validation accuracy last told or reported."""

    optuna_number: int
    running: bool
    number: int | None
    stage: str
    cause: str | None
    decisions: Decisions
    plan: Mapping[str, Any]
    value: float | None
    values: Mapping[int, float]
    epoch: int
    device_seconds: float
    epoch_seconds: float | None  # what an epoch takes without the start of its worker
    wall_seconds: float  # of the run, at the last report before the trial's end
    error: str | None
    peak_memory: float | None  # bytes on its device, where they are measured
    duplicate_of: int | None
    carried_from: int | None
    fixed: Decisions = field(default_factory=dict)


class Studies:
    """The studies of one run, `<run>.<stage>` in a storage that may hold other runs' too.

    sampler(n)  makes the strategy's sampler, n trials being there
    owner       what each study says of the run that made it
    """

    def __init__(
        self,
        storage: BaseStorage,
        run: str,
        sampler: Callable[[int], BaseSampler],
        owner: Mapping[str, object] | None = None,
    ) -> None:
        self.storage = storage
        self._run = run
        self._sampler = sampler
        self._owner = dict(owner or {})
        self._studies: dict[str, optuna.Study] = {}

    def together(self, lasting: bool = True) -> contextlib.AbstractContextManager[None]:
        """What is told inside reaches the storage at once, with one wait for the disk; or none,
        where nothing is to follow from it yet (`lasting` false; the outermost counts)."""
        if isinstance(self.storage, Journal):
            return self.storage.together(lasting)
        if isinstance(self.storage, Database):
            return self.storage.together()
        return contextlib.nullcontext()

    def sync(self) -> None:
        """All that was told is on the disk, when this returns: something may follow from it."""
        if isinstance(self.storage, Journal | Database):
            self.storage.sync()

    def names(self) -> list[str]:
        """The stages that have a study, in the order of their making."""
        studies = sorted(self._own(), key=lambda study: study._study_id)
        return [study.study_name.removeprefix(f"{self._run}.") for study in studies]

    def create(self, stage: str, record: Mapping[str, object]) -> None:
        """Begin a stage's study; `finish_creating` marks it whole."""
        with _quietly():
            study = optuna.create_study(
                storage=self.storage,
                study_name=f"{self._run}.{stage}",
                direction="maximize",
                sampler=self._sampler(self._count()),
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(["validation accuracy"])  # the dashboard's axis
        study.set_user_attr("run", self._owner)
        study.set_user_attr("stage", dict(record))
        self._studies[stage] = study

    def finish_creating(self, stage: str) -> None:
        self.study(stage).set_user_attr("ready", True)

    def drop_unfinished(self, stage: str) -> bool:
        """Delete a study whose making a crash broke off; whether there was one."""
        if stage not in self.names() or self.study(stage).user_attrs.get("ready"):
            return False
        optuna.delete_study(study_name=f"{self._run}.{stage}", storage=self.storage)
        del self._studies[stage]
        return True

    def study(self, stage: str) -> optuna.Study:
        """The stage's Optuna study. KeyError where it has none."""
        if stage not in self._studies:
            self._studies[stage] = optuna.load_study(
                study_name=f"{self._run}.{stage}",
                storage=self.storage,
                sampler=self._sampler(self._count()),
            )
        return self._studies[stage]

    def record_finals(self, stage: str, plan: Mapping[str, object]) -> None:
        """What the stage of the final training has to do; makes its study where there is none."""
        record = {"name": stage, **plan}
        with self.together():
            if stage in self.names():
                self.study(stage).set_user_attr("stage", record)
            else:
                self.create(stage, record)
                self.finish_creating(stage)

    def stage_record(self, stage: str) -> dict[str, Any]:
        """What `create` was given."""
        return dict(self.study(stage).user_attrs["stage"])

    def records(self, stage: str) -> Iterator[Record]:
        """Every trial of the stage, in the order of their asking. Raises RunError."""
        for frozen in self.study(stage).get_trials(deepcopy=False):
            if frozen.state != TrialState.WAITING:
                try:
                    record = _record(frozen, stage)
                except (LookupError, TypeError, ValueError, AttributeError):
                    raise RunError(
                        f"trial {frozen.number} of the study {self._run}.{stage} cannot be read: "
                        "its records were changed after they were written; put a copy of the "
                        "journal, or of the database, back"
                    ) from None
                yield record

    def waiting(self, stage: str) -> list[Decisions]:
        """Decisions that are enqueued and not yet asked."""
        trials = self.study(stage).get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return [dict(trial.system_attrs.get("fixed_params", {})) for trial in trials]

    def enqueue(self, stage: str, decisions: Decisions) -> None:
        """Have these decisions asked next."""
        self.study(stage).enqueue_trial(dict(decisions))

    def carry(self, stage: str, records: Sequence[Record], domain: Mapping[str, Hole]) -> None:
        """Copy an earlier stage's ended trials, whose decisions lie inside `domain`."""
        copies, study = [_carried(record, domain) for record in records], self.study(stage)
        if isinstance(self.storage, Database):
            self.storage.create_new_trials(study._study_id, copies)
        else:
            study.add_trials(copies)

    def ask(self, stage: str) -> Trial:
        """A new RUNNING trial of the stage."""
        return self.study(stage).ask()

    def reopen(self, record: Record) -> Trial:
        """The RUNNING trial of an earlier session, to go on with under its own number."""
        study = self.study(record.stage)
        frozen = study.get_trials(deepcopy=False)[record.optuna_number]
        return Trial(study, frozen._trial_id)

    def begin(self, trial: Trial, number: int, plan: Mapping[str, Any]) -> None:
        """Mark a trial as ours: from here on a crash does not lose it."""
        with self.together():
            trial.set_user_attr("plan", dict(plan))
            trial.set_user_attr("trial", number)

    def report(self, trial: Trial, epoch: int, epochs: int, value: float) -> None:
        """An intermediate value, at most MOST_VALUES of a trial; the last one always."""
        rungs = Rungs.at(epochs)
        every = math.ceil(epochs / (MOST_VALUES - len(rungs) - 1))
        wanted = epoch % every == 0 or epoch == epochs or epoch in rungs
        if math.isfinite(value) and wanted:
            trial.report(value, epoch)

    def progress(
        self,
        trial: Trial,
        epoch: int,
        device_seconds: float,
        epoch_seconds: float | None,
        wall_seconds: float,
    ) -> None:
        """What the trial has cost so far, at which of the run's wall seconds."""
        cost = {
            "epoch": epoch, "device_seconds": device_seconds, "epoch_seconds": epoch_seconds,
            "wall_seconds": wall_seconds,
        }  # fmt: skip
        trial.set_user_attr("progress", cost)

    def end(
        self,
        stage: str,
        trial: Trial,
        cause: str,
        value: float | None = None,
        *,
        violation: tuple[str, float] | None = None,
        as_cause: str | None = None,
        **attributes: object,
    ) -> None:
        """Tell a trial, once: its cause, its violated constraint, other attributes, its value.

        `as_cause`: told in the state of that cause (a duplicate like its original).
        """
        state = TOLD.get(as_cause or cause, TrialState.PRUNED)
        if state == TrialState.COMPLETE and (value is None or not math.isfinite(value)):
            state = TrialState.FAIL
        told = value if state == TrialState.COMPLETE else None
        with self.together(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PRUNED without a value is what we mean
            trial.set_user_attr("cause", cause)
            for key, attribute in attributes.items():
                if attribute is not None:
                    trial.set_user_attr(key, attribute)
            if violation is not None:
                trial.set_constraint(*violation)
            self.study(stage).tell(trial, told, state=state)

    def _count(self) -> int:
        return sum(self.storage.get_n_trials(study._study_id) for study in self._own())

    def _own(self) -> list[FrozenStudy]:
        studies = self.storage.get_all_studies()
        return [study for study in studies if study.study_name.startswith(f"{self._run}.")]


def chooser(trial: Trial) -> Callable[[Hole], Value]:
    """`fill`'s choose: Optuna's suggestions."""

    def choose(hole: Hole) -> Value:
        if hole.kind == "choice":
            return trial.suggest_categorical(hole.name, hole.options)
        if hole.kind == "int":
            step = int(hole.step or 1)
            return trial.suggest_int(
                hole.name, int(hole.low), int(hole.high), step=step, log=hole.log
            )
        return trial.suggest_float(
            hole.name, float(hole.low), float(hole.high), step=hole.step, log=hole.kind == "log"
        )

    return choose


def distribution(hole: Hole) -> BaseDistribution:
    """Optuna's distribution over a hole's range."""
    if hole.kind == "choice":
        return CategoricalDistribution(hole.options)
    if hole.kind == "int":
        return IntDistribution(
            int(hole.low), int(hole.high), log=hole.log, step=int(hole.step or 1)
        )
    return FloatDistribution(
        float(hole.low), float(hole.high), log=hole.kind == "log", step=hole.step
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without Optuna's own lines; its verbosity is the user's again afterwards."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def best_first(records: Sequence[Record]) -> list[Record]:
    """Trained ones, best first: those that ended their stage, then pruned ones by how far.

    Pruned ones count: early on, few trials end their stage, and those say little alone.
    """

    def rank(record: Record) -> tuple[bool, int, float, int]:
        pruned = record.cause == "pruned"
        return pruned, -record.epoch if pruned else 0, -(record.value or 0.0), record.optuna_number

    causes = ("finished", "stalled", "pruned")
    return sorted((r for r in records if r.cause in causes and r.value is not None), key=rank)


def _carried(record: Record, domain: Mapping[str, Hole]) -> FrozenTrial:
    ended = TOLD.get(record.cause or "", TrialState.PRUNED)
    values = {step: value for step, value in record.values.items() if math.isfinite(value)}
    return create_trial(
        state=ended,
        value=record.value if ended == TrialState.COMPLETE else None,
        params=dict(record.decisions),
        distributions={name: distribution(domain[name]) for name in record.decisions},
        intermediate_values=values,
        user_attrs={"carried_from": record.number, "cause": record.cause},
    )


def _record(frozen: FrozenTrial, stage: str) -> Record:
    attributes = frozen.user_attrs
    values = {int(step): float(value) for step, value in frozen.intermediate_values.items()}
    last = values[max(values)] if values else None
    progress, plan = attributes.get("progress", {}), dict(attributes.get("plan", {}))
    number = attributes.get("trial")
    if number is not None and not (isinstance(number, int) and plan.keys() >= PLAN):
        raise ValueError
    return Record(
        optuna_number=frozen.number,
        running=frozen.state == TrialState.RUNNING,
        number=number,
        stage=stage,
        cause=attributes.get("cause"),
        decisions=dict(frozen.params),
        plan=plan,
        value=frozen.value if frozen.state == TrialState.COMPLETE else last,
        values=values,
        epoch=max(int(attributes.get("epoch", progress.get("epoch", 0))), *values, 0),
        device_seconds=float(attributes.get("device_seconds", progress.get("device_seconds", 0.0))),
        epoch_seconds=attributes.get("epoch_seconds", progress.get("epoch_seconds")),
        wall_seconds=float(progress.get("wall_seconds", 0.0)),
        error=attributes.get("error"),
        peak_memory=attributes.get("peak_memory"),
        duplicate_of=attributes.get("duplicate_of"),
        carried_from=attributes.get("carried_from"),
        fixed=dict(frozen.system_attrs.get("fixed_params", {})),
    )

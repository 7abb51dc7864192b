"""Ray Tune's own interfaces, each a thin face of the core or of a worker."""

from __future__ import annotations

import functools
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from ...data import ImageData
from ...plugins import Plugin, read_plugin
from ...rundir import RunDir, is_full
from ..core import Core
from ..placement import Placement
from ..trainable import PAUSE_SECONDS, Worker
from ..work import Ask, Signal
from .health import RayDied, Workers, dead_part, ours
from .idle import Idle
from .mirror import Mirror, start_keeper
from .nodes import Nodes
from .pulse import Node
from .sharing import share_gpu
from .signals import hear
from .strand import Strand
from .waiting import Waiting


def tuner(
    strand: Strand,
    run: RunDir,
    data: ImageData,
    placement: Placement,
    refresh: Callable[[], None],
    say: Callable[[str], None],
    folder: str,
    workers: Workers,
    idle: Idle,
) -> tune.Tuner:
    nodes = Nodes(placement) if placement.address else None
    needs = {"cpu": float(placement.cpus_per_trial)}
    if placement.gpus_per_trial:
        needs["gpu"] = placement.gpus_per_trial
    trainable = tune.with_parameters(  # the data lie in the object store, once on each node
        _Trainable,
        data=data,
        placement=placement,
        plugins=[read_plugin(path) for path in run.plugins],
        deterministic=run.request.deterministic,
        home=ray.get_runtime_context().get_node_id(),
        keeper=start_keeper() if placement.address else None,
        last_words=run.path,
    )
    return tune.Tuner(
        tune.with_resources(trainable, needs),
        tune_config=tune.TuneConfig(
            search_alg=_Searcher(strand),
            scheduler=_Scheduler(strand, nodes, workers),
            num_samples=-1,
            max_concurrent_trials=placement.trials_at_once,
            reuse_actors=True,
            trial_name_creator=lambda trial: f"trial-{trial.trial_id}",
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=os.path.join(folder, "tune"),
            verbose=0,
            callbacks=[_Callback(strand, refresh, say, nodes, workers, idle)],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


class _Trainable(tune.Trainable):  # type: ignore[misc]
    """Ray's face of a Worker; one actor serves many trials."""

    def setup(
        self,
        config: dict[str, Any],
        data: ImageData,
        placement: Placement,
        plugins: Sequence[Plugin],
        deterministic: bool,
        home: str,
        keeper: Any,
        last_words: Path,
    ) -> None:
        hear()
        share_gpu(placement)
        self.node = ray.get_runtime_context().get_node_id()
        away = self.node != home
        self.mirror = Mirror(keeper) if away else None
        self.held: dict[str, Any] | None = None
        self.worker = Worker(
            data, placement.device, placement.threads, plugins, deterministic,
            None if away else last_words, placement.split,
        )  # fmt: skip
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        ask, self.held = Ask(**new_config["ask"]), None
        if self.mirror is not None:
            ask = replace(ask, folder=self.mirror.fetch(ask.folder))
        self.worker.begin(ask)
        return True

    def step(self) -> dict[str, Any]:
        report = self.held or self._step()
        self.held = None
        if self.mirror is not None and report["kind"] == "epoch":
            try:
                self.mirror.push()
            except OSError as error:  # of the driver's disk
                if not is_full(error):
                    return _failed(traceback.format_exc())
                self.held = report
                time.sleep(PAUSE_SECONDS)
                report = {"kind": "pause", "share": 1.0, "full": self.mirror.source}
        return report | {"node": self.node}

    def _step(self) -> dict[str, Any]:
        try:
            return self.worker.step()
        except BaseException as error:
            if hasattr(error, "ray_terminate_msg"):  # Ray ends this worker
                raise
            # the candidate's, KeyboardInterrupt too: nobody else raises them in a worker
            return _failed(traceback.format_exc())


def _failed(error: str) -> dict[str, Any]:
    return {"kind": "failed", "cause": "failed", "error": error}


class Over(BaseException):
    """Leaves `fit` once the core is done; Tune's own way out talks up to 5 s with idle actors."""


class Raised(BaseException):
    """Carries an exception of the core's out of `fit`: Tune would take it for a trial's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


WORKER_SECONDS = 60.0  # that the start of a worker may take; a lost node's never comes up
F = TypeVar("F", bound=Callable[..., Any])


def _guarded(method: F) -> F:
    @functools.wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            raise Raised(error) from error

    return cast(F, guarded)


class _Pickled:
    """The Tuner pickles what it is given; the fit uses the originals, so nothing is needed."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Searcher(_Pickled, Searcher):  # type: ignore[misc]
    def __init__(self, strand: Strand) -> None:
        super().__init__()
        self._strand = strand

    def set_search_properties(self, *_: object, **__: object) -> bool:
        return True

    @_guarded
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        with self._strand.core() as core:
            work = core.next()
        if work is Signal.WAIT:
            return None
        if work is Signal.DONE:
            return str(Searcher.FINISHED)
        assert isinstance(work, Ask)
        return {"ask": asdict(work)}

    def on_trial_complete(self, *_: object, **__: object) -> None:
        """Ends come to the core with the last report, deaths by the callback."""

    def save(self, *_: object) -> None:
        """Nothing to save: the study is the truth."""

    def restore(self, *_: object) -> None:
        """Nothing to restore."""


class _Scheduler(_Pickled, FIFOScheduler):  # type: ignore[misc]
    def __init__(self, strand: Strand, nodes: Nodes | None, workers: Workers) -> None:
        super().__init__()
        self._strand, self._nodes, self._workers = strand, nodes, workers
        self._where: dict[int, str] = {}
        self._added: deque[tuple[Any, float]] = deque()  # and when

    def on_trial_add(self, _: object, trial: Any) -> None:
        self._added.append((trial, time.monotonic()))

    def choose_trial_to_run(self, __: object) -> Any:
        """The newest that waits: a free worker is for it, unless another has waited too long.

        Tune would give it to the oldest, and end the worker that starts for that one: short
        trials would never see a second worker. (It would also look through all trials each time.)
        """
        for end, drop in ((0, self._added.popleft), (-1, self._added.pop)):
            while self._added and self._added[end][0].status != Trial.PENDING:
                drop()
        if not self._added:
            return None
        (oldest, since), (newest, _) = self._added[0], self._added[-1]
        return oldest if time.monotonic() - since > WORKER_SECONDS else newest

    @_guarded
    def on_trial_result(self, _: object, trial: Any, result: dict[str, Any]) -> str:
        self._workers.reported(_number(trial), int(result["pid"]), str(result["hostname"]))
        with self._strand.core() as core:
            if self._nodes is not None:
                where = self._nodes.name(str(result["node"]))
                self._tell_where(core, _number(trial), where)
            stop = core.on_report(_number(trial), result)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def _tell_where(self, core: Core, number: int, node: str) -> None:
        if self._where.get(number) != node:
            self._where[number] = node
            core.run.log(f"trial {number} runs on {node}")


class _Callback(_Pickled, tune.Callback):  # type: ignore[misc]
    def __init__(
        self,
        strand: Strand,
        refresh: Callable[[], None],
        say: Callable[[str], None],
        nodes: Nodes | None,
        workers: Workers,
        idle: Idle,
    ) -> None:
        self._strand, self._refresh, self._say = strand, refresh, say
        self._nodes, self._workers, self._idle = nodes, workers, idle
        self._waiting = None if nodes is None else Waiting()
        self._node = Node() if nodes is None else None

    @_guarded
    def on_trial_start(self, iteration: int, trials: object, trial: Any, **_: object) -> None:
        self._workers.started(_number(trial), trial.temporary_state.ray_actor)
        self._strand.know_processes()
        with self._strand.core() as core:
            core.on_start(_number(trial))

    @_guarded
    def on_trial_error(self, iteration: int, trials: object, trial: Any, **_: object) -> None:
        _look_at_ray()
        self._idle.distrust()  # before the next trial is placed
        cause, error = self._workers.died(_number(trial), _told(trial))
        with self._strand.core() as core:
            core.on_death(_number(trial), error, cause)

    def on_step_begin(self, iteration: int, trials: object, **_: object) -> None:
        self._strand.pulse.beat()
        _look_at_ray()  # before Tune asks it for anything: such calls wait for a dead one
        if self._node is not None and self._node.given_up():
            raise RayDied("its raylet does not answer")

    @_guarded
    def on_step_end(self, iteration: int, trials: Sequence[Any], **_: object) -> None:
        _look_at_ray()
        with self._strand.core() as core:
            overdue, why, slow = core.overdue(), core.faults.silence(), core.slow_start()
            if slow and ours():
                core.run.log(slow)
                self._say(slow)
        for number in overdue:
            if not self._workers.kill(number, why) and ours():
                raise RayDied(core.faults.no_worker(number))
        change = None if self._nodes is None else self._nodes.look()
        with self._strand.core() as core:
            if change is not None:
                change.tell(core, self._say)
                self._idle.distrust()
            self._refresh()
            if core.over or (self._waiting is not None and self._waiting.look(core, trials)):
                raise Over


def _look_at_ray() -> None:
    dead = dead_part()
    if dead is not None:
        raise RayDied(dead)


def _told(trial: Any) -> str:
    """What Ray says of the trial's error; Tune has it in a file."""
    try:
        return Path(trial.error_file).read_text(errors="replace")
    except (OSError, TypeError):
        return "the worker died"


def _number(trial: Any) -> int:
    return int(trial.config["ask"]["number"])

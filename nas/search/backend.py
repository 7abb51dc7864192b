"""The only file that knows Ray: thin adapters of Ray Tune over the core.

Ray executes; it decides nothing and remembers nothing. Workers are warm actors: a trial does
not pay for the start of a process. Measured traps that shape this file: the searcher is not told
of results that the scheduler stops; `Stopper.stop_all` leaves trials running; a suggestion of
None while nothing runs makes Tune sleep.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ..data import ImageData
from .core import Core
from .trainable import Worker
from .work import Ask, Signal

# read by Ray when it is imported
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # the loopback address alone, on Linux too: Ray runs what it is sent, from whoever sends it
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
os.environ.update(QUIET)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

MIN_OBJECT_STORE = 100 * 2**20  # Ray refuses less than 75 MiB


@dataclass(frozen=True)
class Slots:
    """Where trials run: how many at once, on what, with how many threads of the CPU each."""

    count: int
    device: str
    gpus_per_trial: float
    threads: int


def execute(core: Core, data: ImageData, slots: Slots, refresh: Callable[[], None]) -> None:
    """Run the core's trials on a local Ray until it says DONE. `refresh` is called now and then.

    The first SIGINT or SIGTERM interrupts the core, which lets running trials stop at their next
    report; the second ends the process at once.
    """
    parent = _short_temporary_folder()
    _sweep(parent)
    folder = tempfile.mkdtemp(prefix=f"nas-{os.getpid()}-", dir=parent)
    try:
        with (
            _signals(core),
            _ray(folder, data, slots),
            _signals(core),  # again: Ray's start puts its own in place of SIGTERM's
            contextlib.suppress(_Over),
        ):
            _tuner(core, data, slots, refresh, folder).fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tuner(
    core: Core, data: ImageData, slots: Slots, refresh: Callable[[], None], folder: str
) -> tune.Tuner:
    needs = {"cpu": 1.0}
    if slots.gpus_per_trial:
        needs["gpu"] = slots.gpus_per_trial
    trainable = tune.with_parameters(
        _Trainable,
        data=data,
        device=slots.device,
        threads=slots.threads,
        plugins=core.run.plugins,
    )
    return tune.Tuner(
        tune.with_resources(trainable, needs),
        tune_config=tune.TuneConfig(
            search_alg=_Searcher(core),
            scheduler=_Scheduler(core),
            num_samples=-1,
            max_concurrent_trials=slots.count,
            reuse_actors=True,
            trial_name_creator=lambda trial: f"trial-{trial.trial_id}",
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=os.path.join(folder, "tune"),
            verbose=0,
            callbacks=[_Callback(core, refresh)],
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
        device: str,
        threads: int,
        plugins: Sequence[Path],
    ) -> None:
        with contextlib.suppress(ValueError):  # a terminal's Ctrl-C is the driver's to handle
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.worker = Worker(data, device, threads, plugins)
        self.worker.begin(Ask(**config["ask"]))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.worker.begin(Ask(**new_config["ask"]))
        return True

    def step(self) -> dict[str, Any]:
        return self.worker.step()


class _Pickled:
    """The Tuner pickles what it is given; the fit uses the originals, so nothing is needed."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Searcher(_Pickled, Searcher):  # type: ignore[misc]
    def __init__(self, core: Core) -> None:
        super().__init__()
        self._core = core

    def set_search_properties(self, *_: object, **__: object) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        work = self._core.next()
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
    def __init__(self, core: Core) -> None:
        super().__init__()
        self._core = core

    def on_trial_result(self, _: object, trial: Any, result: dict[str, Any]) -> str:
        stop = self._core.on_report(_number(trial), result)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)


class _Over(BaseException):
    """Leaves `fit` once the core is done; Tune's own way out talks up to 5 s with idle actors."""


class _Callback(_Pickled, tune.Callback):  # type: ignore[misc]
    def __init__(self, core: Core, refresh: Callable[[], None]) -> None:
        self._core, self._refresh = core, refresh

    def on_trial_start(self, iteration: int, trials: object, trial: Any, **_: object) -> None:
        self._core.on_start(_number(trial))

    def on_trial_error(self, iteration: int, trials: object, trial: Any, **_: object) -> None:
        error = trial.get_pickled_error() or trial.get_error() or "the worker died"
        self._core.on_death(_number(trial), str(error))

    def on_step_end(self, iteration: int, trials: object, **_: object) -> None:
        self._refresh()
        if self._core.over:
            raise _Over


def _number(trial: Any) -> int:
    return int(trial.config["ask"]["number"])


@contextlib.contextmanager
def _ray(folder: str, data: ImageData, slots: Slots) -> Iterator[None]:
    """A local Ray of our own, quiet, without its dashboard; gone at the end."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    logging.getLogger("ray").setLevel(logging.ERROR)
    images = sum(part.x.nbytes + part.y.nbytes for part in (data.train, data.validation))
    gpus = {"num_gpus": None} if slots.gpus_per_trial else {"num_gpus": 0}
    try:
        ray.init(
            address="local",
            num_cpus=slots.count,
            **gpus,
            include_dashboard=False,
            object_store_memory=int(1.5 * images) + MIN_OBJECT_STORE,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _temp_dir=folder,
        )
    except SystemExit:  # Ray's own answer to SIGTERM while it starts
        raise KeyboardInterrupt from None
    try:
        yield
    finally:
        with _deaf():  # a second Ctrl-C in the middle of it is a traceback
            ray.shutdown()


@contextlib.contextmanager
def _signals(core: Core) -> Iterator[None]:
    """First SIGINT or SIGTERM: interrupt the core. Second: leave at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # a notebook's worker thread: Python delivers signals to the main one
        return

    def handle(number: int, _: FrameType | None) -> None:
        if core.ending is not None:
            os._exit(130)  # Ray's processes follow when they miss their driver
        core.interrupt()

    before = {name: signal.signal(name, handle) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _sweep(parent: str) -> None:
    """Remove what searches that were killed have left in the temporary folder."""
    for entry in os.scandir(parent):
        name = entry.name.split("-")
        if name[0] != "nas" or len(name) < 3 or not name[1].isdigit():
            continue
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == os.getuid() and not _alive(int(name[1])):
                shutil.rmtree(entry.path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _short_temporary_folder() -> str:
    """Ray's sockets lie below it, and a socket's path holds at most 107 bytes."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 30 else "/tmp"

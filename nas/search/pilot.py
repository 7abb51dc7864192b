"""A few seconds of training before a search, to know what an epoch takes on one of its slots.

`measure` starts a process for every slot that trains beside it, as the search would: slots fight
for the memory's bandwidth and the caches. Each trains the same networks by the worker's own code,
checkpoints included, and stops as soon as it knows enough.
"""

from __future__ import annotations

import itertools
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..data import ImageData
from ..errors import RunError
from ..space import Architecture

ENOUGH_SECONDS = 1.5  # of training a network; more where it has not come to a measure yet
MOST_SECONDS = 20.0  # of training a network, where a step of it takes no longer
EPOCHS = 2  # of a pilot trial: the second one tells the epoch, the rest the trial's own time
PROGRAM = "from nas.search import pilot; pilot.main()"
MOST_SLOTS = 16  # beyond which the others are taken to be alike
VALIDATION = 1 / 3  # of a training step's time, for the same images forward alone


@dataclass(frozen=True)
class Pace:
    """What a network takes on one slot, in seconds.

    epoch   one epoch: training, validation, checkpoint, report
    trial   a trial beside its epochs
    whole   whether an epoch was trained to its end; else the epoch is reckoned from its steps
    memory  the most bytes of the GPU that it held; None without a GPU
    """

    epoch: float
    trial: float
    whole: bool
    memory: int | None = None


@dataclass(frozen=True)
class Pilot:
    """`paces` of the networks in their order; `ready`: seconds that a worker takes to its first
    step."""

    paces: tuple[Pace, ...]
    ready: float


@dataclass(frozen=True)
class Work:
    """What a pilot process is told."""

    architectures: tuple[str, ...]
    data: ImageData
    device: str
    threads: int
    plugins: tuple[Path, ...]
    folder: str
    most_seconds: float
    gpus: int  # of each slot


def measure(
    networks: Sequence[Architecture],
    data: ImageData,
    *,
    device: str,
    slots: int,
    threads: int,
    plugins: Sequence[Path] = (),
    most_seconds: float = MOST_SECONDS,
    gpus: int = 1,
) -> Pilot:
    """Train each network for a moment on `slots` slots of one device at once.

    Raises RunError where a network cannot be trained here.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nas-pilot-")))
        work = Work(
            tuple(network.text for network in networks), data, device, threads, tuple(plugins),
            str(folder), most_seconds, gpus,
        )  # fmt: skip
        (folder / "work").write_bytes(pickle.dumps(work))
        began = time.monotonic()
        processes = [stack.enter_context(_start(folder)) for _ in range(min(slots, MOST_SLOTS))]
        stack.callback(_end, processes)
        for process in processes:
            _read(process)
        ready = time.monotonic() - began
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [[Pace(**_read(process)) for process in processes] for _ in networks]
    return Pilot(tuple(_together(paces) for paces in told), ready)


def _together(paces: Sequence[Pace]) -> Pace:
    memory = [pace.memory for pace in paces if pace.memory is not None]
    return Pace(
        statistics.fmean(pace.epoch for pace in paces),
        statistics.fmean(pace.trial for pace in paces),
        all(pace.whole for pace in paces),
        max(memory, default=None),
    )


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder / "work")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()


def _read(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of a process, a JSON object. Raises RunError with its last words."""
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    if not line:
        words = process.stderr.read().strip().splitlines() or ["it was killed"]
        raise RunError(
            f"the pilot measurement failed ({words[-1]}): nas spaces --check tells of a space that "
            "cannot be trained, nas train of one network"
        )
    told: dict[str, Any] = json.loads(line)
    return told


# --- in the process ---------------------------------------------------------------------------


def main() -> None:
    """A pilot process, its work in a file: a line when ready, then one for each network."""
    import torch

    from ..plugins import load_plugins

    work = pickle.loads(Path(sys.argv[1]).read_bytes())
    assert isinstance(work, Work)
    torch.set_num_threads(work.threads)
    load_plugins(work.plugins)
    # a worker's imports, and what torch itself loads with its first step, before the clock runs
    next((done for _, done in _moments(work.architectures[0], work, 0, 0.0) if done > 0), None)
    _tell({})
    sys.stdin.readline()
    for text in work.architectures:
        _tell(asdict(_pace(text, work)))


def _tell(values: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _pace(text: str, work: Work) -> Pace:
    """Trials of EPOCHS epochs until enough is known; the median of what they took."""
    import torch

    cuda = work.device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began, epochs, trials = time.monotonic(), list[float](), list[float]()
    for turn in itertools.count():
        moments = list(_moments(text, work, turn, began + work.most_seconds))
        if moments[-1][1] < EPOCHS:  # out of time
            return Pace(*_reckoned(moments, text, work), _memory(cuda))
        first, last = (next(t for t, share in moments if share == n) for n in (1, EPOCHS))
        epochs.append((last - first) / (EPOCHS - 1))
        trials.append(max(0.0, first - moments[0][0] - epochs[-1]))
        if time.monotonic() - began >= ENOUGH_SECONDS:
            break
    return Pace(statistics.median(epochs), statistics.median(trials), True, _memory(cuda))


def _memory(cuda: bool) -> int | None:
    import torch

    return int(torch.cuda.max_memory_allocated()) if cuda else None


def _moments(text: str, work: Work, turn: int, end: float) -> Iterator[tuple[float, float]]:
    """(moment, epochs done) of a trial at its begin and at each of its reports."""
    from .trainable import train
    from .work import Ask

    with tempfile.TemporaryDirectory(dir=work.folder) as folder:
        yield time.monotonic(), 0.0
        ask = Ask(turn, "coarse", text, EPOCHS, turn, folder, 0, False)
        done, counted = 0, 0
        for report in train(ask, work.data, work.device, work.gpus):
            if report["kind"] == "epoch":
                done += 1
                yield time.monotonic(), float(done)
                if report["stop"] is not None:
                    return
            else:
                counted += 1
                yield time.monotonic(), done + float(report["share"])
            if time.monotonic() > end and done + counted >= 2:
                return


def _reckoned(
    moments: Sequence[tuple[float, float]], text: str, work: Work
) -> tuple[float, float, bool]:
    """Epoch, trial and whether an epoch came to its end, of a trial that did not."""
    began = moments[0][0]
    ends = [moment for moment, done in moments if done == 1]
    if ends:  # the second one was broken off: the trial's own time is in the first
        return ends[0] - began, 0.0, True
    (before, some), (after, more) = moments[1], moments[-1]
    if more <= some:  # one report alone
        before, some = began, 0.0
    steps = (after - before) / max(more - some, 1e-9)
    share = len(work.data.validation) / max(len(work.data.train), 1)
    return steps * (1 + VALIDATION * share), max(0.0, before - began - some * steps), False

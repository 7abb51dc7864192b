"""Where trials run: how many at once, with how much of a GPU and how many threads each.

What is said counts. `auto` measures: the number of trials that share a device is raised only while
more of them together get more done in an hour, and only as far as their memory fits. The policy
is pure, and knows no clock and no device; `loadtest` measures for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UserError
from ..units import counted, show_bytes
from .machine import Node, inventory

AUTO = "auto"
GAIN = 1.05  # by less, more trials at once are chance, and each of them takes longer
HEADROOM = 1.15  # of memory: allocators keep some, and candidates differ
MOST_SHARING = 16  # trials on one GPU that are tried
LEAST_GPU = 0.01  # of a GPU for a trial
RAY_UNIT = 10_000  # Ray counts in ten-thousandths of a GPU
OVERSUBSCRIBED = 8  # trials a CPU at the very most
Count = int | str | None  # a number, auto, or nothing said
Share = float | str | None


@dataclass(frozen=True)
class Level:
    """What so many trials at once, on one device, were measured to do."""

    trials: int
    threads: int
    pace: float  # images a second, of all of them together
    memory: int = 0  # bytes that one of them is expected to take at the most

    def words(self) -> str:
        """ "2 at once (1 thread each) 5,100 images/s"."""
        each = " each" if self.trials > 1 else ""
        threads = f"{counted(self.threads, 'thread')}{each}"
        return f"{self.trials} at once ({threads}) {self.pace:,.0f} images/s"


Measure = Callable[[int, int], Level]  # trials at once, threads of each
Threads = Callable[[int], Sequence[int]]  # each of so many trials may have, most first
# the most that share a device, their threads, bytes for all -> the choice, and all levels
Settled = Callable[[int, Threads, int], tuple[Level, list[Level]]]


@dataclass(frozen=True)
class Wish:
    """What was said of the placement; None: nothing."""

    trials_at_once: Count = None
    gpus_per_trial: Share = None
    cpus_per_trial: Count = None

    @property
    def auto(self) -> list[str]:
        """The names of what is left to the measurement."""
        return [name for name, value in asdict(self).items() if value == AUTO]


@dataclass(frozen=True)
class Placement:
    """Where trials run."""

    nodes: tuple[Node, ...]
    address: str | None  # of the cluster; None: a Ray of our own on this machine
    device: str
    trials_at_once: int
    gpus_per_trial: float
    cpus_per_trial: int  # that Ray keeps for a trial
    threads: int
    memory: int  # bytes that a trial can have
    why: str = ""  # what was measured

    @property
    def split(self) -> int:
        """GPUs that a training is split over."""
        return max(1, int(self.gpus_per_trial))

    def words(self) -> str:
        """One line for people and the log."""
        share = f", {self.gpus_per_trial:g} GPU each" if self.gpus_per_trial else ""
        if self.gpus_per_trial > 1:
            share += " (which share each batch)"
        where = f"; {_owner(self.address)} has {inventory(self.nodes)}" if self.address else ""
        measured = f" ({self.why})" if self.why else ""
        return (
            f"{counted(self.trials_at_once, 'trial')} at once on {self.device}{share}, "
            f"{counted(self.threads, 'thread')} each{measured}{where}"
        )

    def record(self) -> dict[str, Any]:
        """Plain values for environment.json."""
        return {**asdict(self), "nodes": [node.record() for node in self.nodes]}


# --- what was said --------------------------------------------------------------------------


def parse_count(option: str, value: object, *, otherwise: str = ", or auto") -> Count:
    """`4`, `"4"`, `"auto"` or None. Raises UserError."""
    if value is None or value == AUTO:
        return None if value is None else AUTO
    try:
        number = int(str(value))
    except ValueError:
        raise UserError(
            f"{option} {value} must be a whole number of at least 1{otherwise}"
        ) from None
    if number < 1:
        raise UserError(f"{option} {number} must be at least 1{otherwise}")
    return number


def parse_share(option: str, value: object) -> Share:
    """`0.25`, `2`, their texts, `"auto"` or None. Raises UserError."""
    if value is None or value == AUTO:
        return None if value is None else AUTO
    rule = "a fraction of a GPU from 0.01, a whole number of GPUs, or auto"
    try:
        number = float(str(value))
    except ValueError:
        raise UserError(f"{option} {value} must be a number: {rule}") from None
    if not (math.isfinite(number) and number >= LEAST_GPU):
        raise UserError(f"{option} {value} cannot be placed: it must be {rule}")
    if number > 1 and number != int(number):
        raise UserError(
            f"{option} {number:g} cannot be placed: above 1 it must be a whole number, such as "
            f"{math.floor(number)} or {math.ceil(number)}"
        )
    return number


# --- the policy -----------------------------------------------------------------------------


def next_trials(measured: Sequence[Level], most: int) -> int | None:
    """How many trials at once to measure next; None: enough is known.

    Up the ladder while each step does more than the best before it. What else runs on a machine
    only ever makes a step look worse, so one that does no more is measured a second time.
    """
    if not measured:
        return 1
    last = measured[-1]
    before = [level.pace for level in measured if level.trials < last.trials]
    if before and max(_paces(measured, last.trials)) < GAIN * max(before):
        return last.trials if len(_paces(measured, last.trials)) == 1 else None
    following = next(step for step in _ladder() if step > last.trials)
    if last.trials < most < following:
        return most
    return following if following <= most else None


def choose(measured: Sequence[Level]) -> Level:
    """The fewest trials at once, then the fewest threads, that do (nearly) as much as the best."""
    best = max(level.pace for level in measured)
    return min(
        (level for level in measured if level.pace * GAIN >= best),
        key=lambda level: (level.trials, level.threads),
    )


def settle(measure: Measure, most: int, threads: Threads, memory: int) -> tuple[Level, list[Level]]:
    """Measure until it is known how many trials share a device; that, and all that was measured.

    A small network's threads wait for each other longer than they compute: where a trial alone is
    as fast with the fewest, more are not tried again.

    memory  bytes that all of them have together
    """
    measured: list[Level] = []
    few = False
    while (trials := next_trials(measured, most)) is not None:
        options = threads(trials)
        tried = options if not measured else options[-1:] if few else options[:1]
        for each in dict.fromkeys(tried):
            level = measure(trials, each)
            measured.append(level)
            most = min(most, max(1, int(memory / (HEADROOM * max(level.memory, 1)))))
        few = few or (trials == 1 and choose(measured).threads == options[-1])
    return choose(measured), measured


def _ladder() -> Sequence[int]:
    """1, 2, 3, 4, 6, 8, 12, 16, …: no step doubles, but the first."""
    return [1, *(step for power in range(1, 12) for step in (2**power, 3 * 2 ** (power - 1)))]


def _paces(measured: Sequence[Level], trials: int) -> list[float]:
    return [level.pace for level in measured if level.trials == trials]


# --- what fits ------------------------------------------------------------------------------


def share_of(trials: int) -> float:
    """Of a GPU, for each of so many trials: never so much that the last does not fit."""
    return math.floor(RAY_UNIT / trials) / RAY_UNIT


def sharing(gpus_per_trial: float) -> int:
    """Trials that share a GPU."""
    return int(1 / gpus_per_trial + 1e-9)


def slots_of(node: Node, gpus: float, cpus: int | None) -> int:
    """Trials that a node holds at once. `cpus` None: they bound nothing where there are GPUs."""
    if not gpus:
        return node.cpus // (cpus or 1)
    by_gpu = node.gpus * sharing(gpus) if gpus <= 1 else int(node.gpus // gpus)
    return by_gpu if cpus is None else min(by_gpu, node.cpus // cpus)


def place(
    wish: Wish,
    device: str,
    nodes: Sequence[Node],
    *,
    address: str | None = None,
    memory: int,
    settled: Settled | None = None,
) -> Placement:
    """Put what was said, and for `auto` what is measured, onto the nodes. Raises UserError.

    memory   bytes of the device, or of the machine
    settled  measures how many trials share a device
    """
    if device != "cuda" and wish.gpus_per_trial is not None:
        raise UserError(f"--gpus-per-trial {wish.gpus_per_trial} needs --device cuda, not {device}")
    said_cpus = wish.cpus_per_trial if isinstance(wish.cpus_per_trial, int) else None
    most_cpus = max(node.cpus for node in nodes)
    if said_cpus is not None and said_cpus > most_cpus:
        raise UserError(
            f"--cpus-per-trial {said_cpus} does not fit: {_owner(address)} has "
            f"{counted(most_cpus, 'CPU')}{' on a node' if address else ''}; ask for no more"
        )
    if device == "cuda":
        if isinstance(wish.gpus_per_trial, float):
            _check_gpus(wish.gpus_per_trial, nodes, address)
        gpus, cpus, clause = _gpu_shares(wish, nodes, said_cpus, memory, settled)
        measured = None
    else:
        measuring, gpus = settled if device == "cpu" else None, 0.0
        cpus, measured, clause = _cpu_shares(wish, nodes, said_cpus, memory, measuring)
    room = _room(device, nodes, gpus, cpus, address)
    trials = _trials(wish.trials_at_once, room, device, gpus, address, nodes)
    threads = measured or cpus or _threads(nodes, gpus, trials)
    share = min(1.0, gpus) if device == "cuda" else 1.0
    return Placement(
        tuple(nodes),
        address,
        device,
        trials,
        gpus,
        measured or cpus or 1,
        threads,
        int(share * memory),
        clause,
    )


def _gpu_shares(
    wish: Wish, nodes: Sequence[Node], cpus: int | None, memory: int, settled: Settled | None
) -> tuple[float, int | None, str]:
    """GPUs and CPUs for a trial, and what was measured for them."""
    free = wish.gpus_per_trial == AUTO
    free = free or (wish.gpus_per_trial is None and wish.trials_at_once == AUTO)
    if not free or settled is None:
        return float(wish.gpus_per_trial or 1.0) if not free else 1.0, cpus, ""
    node = max(nodes, key=lambda node: node.gpus)
    each = max(1, node.cpus // node.gpus)  # CPUs that go with a GPU
    most = min(MOST_SHARING, max(1, each // (cpus or 1)))
    if isinstance(wish.trials_at_once, int):
        most = min(most, math.ceil(wish.trials_at_once / sum(node.gpus for node in nodes)))
    level, measured = settled(most, lambda trials: [cpus or max(1, each // trials)], memory)
    return share_of(level.trials), cpus, why(level, measured)


def _cpu_shares(
    wish: Wish, nodes: Sequence[Node], cpus: int | None, memory: int, settled: Settled | None
) -> tuple[int | None, int | None, str]:
    """The same without GPUs: the CPUs that go with a trial, and its threads where measured.

    A small network may have fewer threads than CPUs.
    """
    free = AUTO in (wish.trials_at_once, wish.cpus_per_trial)
    node = max(nodes, key=lambda node: node.cpus)
    most = node.cpus // (cpus or 1)
    if not free or isinstance(wish.trials_at_once, int) or most == 1 or settled is None:
        return cpus, None, ""

    def threads(trials: int) -> list[int]:
        return [cpus] if cpus else [max(1, node.cpus // trials), 1]

    level, measured = settled(most, threads, memory)
    return cpus or max(1, node.cpus // level.trials), level.threads, why(level, measured)


def why(level: Level, measured: Sequence[Level]) -> str:
    """What was measured, in a clause."""
    best = {(e.trials, -e.threads): e for e in sorted(measured, key=lambda each: each.pace)}
    paces = ", ".join(best[key].words() for key in sorted(best))
    taken = f"; a trial's process takes up to {show_bytes(level.memory)}" if level.memory else ""
    return f"measured: {paces}{taken}"


def _room(
    device: str, nodes: Sequence[Node], gpus: float, cpus: int | None, address: str | None
) -> int:
    """Trials that fit at once."""
    if device == "mps":
        return 1
    kept = cpus if cpus is not None or address is None else 1  # a cluster's Ray counts CPUs
    room = sum(slots_of(node, gpus, kept) for node in nodes)
    if room == 0:
        need = f"{gpus:g} GPU and " if gpus else ""
        raise UserError(
            f"no node has {need}{counted(kept or 1, 'CPU')} for a trial: "
            f"{_owner(address)} has {inventory(nodes)}; ask for less"
        )
    return room


def _trials(
    asked: Count, room: int, device: str, gpus: float, address: str | None, nodes: Sequence[Node]
) -> int:
    if not isinstance(asked, int):
        return room
    most = room if device == "cuda" or address else OVERSUBSCRIBED * room
    if asked <= most:
        return asked
    if device == "cuda":
        raise UserError(
            f"--trials-at-once {asked}: at {gpus:g} GPUs a trial, {room} fit; "
            "lower it, or lower --gpus-per-trial"
        )
    if address:
        raise UserError(
            f"--trials-at-once {asked}: {room} fit on the cluster ({inventory(nodes)}); lower it"
        )
    raise UserError(f"--trials-at-once {asked} is too many for {room} {device} slots: at most "
                    f"{most}")  # fmt: skip


def _threads(nodes: Sequence[Node], gpus: float, trials: int) -> int:
    """Threads for a trial such that a full node's do not fight."""
    spread = [slots_of(node, gpus, 1 if len(nodes) > 1 else None) for node in nodes]
    room = sum(spread)
    each = [
        max(1, node.cpus // max(1, math.ceil(trials * slots / max(room, 1))))
        for node, slots in zip(nodes, spread, strict=True)
        if slots
    ]
    return min(each, default=1)


def _check_gpus(gpus: float, nodes: Sequence[Node], address: str | None) -> None:
    most = max(node.gpus for node in nodes)
    if gpus > most:
        raise UserError(
            f"--gpus-per-trial {gpus:g} cannot be placed: {_owner(address)} has "
            f"{counted(most, 'GPU')}{' on a node' if address else ''}; ask for a fraction, or a "
            f"whole number up to {most}"
        )


def _owner(address: str | None) -> str:
    if address == "auto":
        return "the cluster that auto found"
    return f"the cluster at {address}" if address else "this machine"

"""Whether Ray and its workers are alive, and what a dead one died of.

Ray takes its driver along: 14 s after its raylet died, and some time after its GCS (see
`environment`), the driver's process ends without a word of ours (Ray 2.60). So both are looked at
ten times a second. Whether they answer is looked at in `pulse`.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private import worker as private

from ..crashes import ended, read_crash
from ..trainable import last_words_of

SHORT_OF_MEMORY = "a worker was killed because the machine ran short of memory"
UNREACHABLE = ("is unavailable", "rpc_code", "node has died", "node (where this task was running)")
VITAL = ("raylet", "gcs_server")  # the raylet is the object store's host too


def hush() -> None:
    """Keep what Ray says of dead processes, pages of it, off the user's screen: we say it."""
    private._worker_logs_enabled = False  # past all public settings


class RayDied(BaseException):
    """Leaves `fit`: there is no Ray to go on with. Not an Exception, which Tune would keep.

    hungry: trials whose workers Ray killed for memory; Tune does not outlive that (Ray 2.60)
    begun: it had come up
    """

    def __init__(self, told: str, hungry: Sequence[int] = (), *, begun: bool = True) -> None:
        super().__init__(told)
        self.hungry, self.begun = tuple(hungry), begun


def dead_part() -> str | None:
    """The vital process of our own local Ray that is dead; None: all live, or it is not ours."""
    node = getattr(private, "_global_node", None)  # no public word says it
    if node is None:
        return None
    dead = {str(kind): process.returncode for kind, process in node.dead_processes()}
    for kind in VITAL:
        if kind in dead:
            return f"its {kind} {ended(dead[kind])}"
    return None


def vital() -> dict[str, int]:
    """The pids of the vital processes of our own local Ray, by kind; none of a cluster."""
    node = getattr(private, "_global_node", None)
    processes = {} if node is None else dict(node.all_processes)
    return {kind: processes[kind][0].process.pid for kind in VITAL if processes.get(kind)}


def wake(kind: str) -> None:
    """Have a vital process that was stopped go on: nothing is lost by that."""
    pid = vital().get(kind)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGCONT)


def ours() -> bool:
    """Whether the Ray in use was started by this process."""
    return bool(vital())


@dataclass
class Worker:
    """The process under a trial: its actor, and where it runs, once that is known."""

    actor: Any
    pid: int | None = None
    host: str | None = None
    why: str | None = None  # it was killed by us

    @property
    def here(self) -> bool:
        return self.pid is not None and self.host == platform.node()


class Workers:
    """The workers of the running trials, by trial number. `words`: where last words lie."""

    def __init__(self, words: Path) -> None:
        self._words = words
        self._of: dict[int, Worker] = {}
        self._killed_for_memory = _out_of_memory_kills()

    def started(self, number: int, actor: object) -> None:
        """The trial's worker is up."""
        self._of[number] = Worker(actor)

    def reported(self, number: int, pid: int, host: str) -> None:
        worker = self._of.get(number)
        if worker is not None:
            worker.pid, worker.host = pid, host

    def kill(self, number: int, why: str) -> bool:
        """Kill a trial's worker; whether there was one that has not been killed already."""
        worker = self._of.get(number)
        if worker is None or worker.why is not None:
            return worker is not None
        worker.why = why
        if worker.here:
            _kill(worker)  # a stopped process obeys nothing else
        ray.kill(worker.actor)
        return True

    def died(self, number: int, told: str) -> tuple[str, str]:
        """Cause and words for a trial whose worker died; `told` by Ray."""
        worker = self._of.pop(number, None)
        kills, before = _out_of_memory_kills(), self._killed_for_memory
        self._killed_for_memory = kills
        if worker is not None and worker.why:
            return "failed", worker.why
        words = self._last_words(worker)
        if words:
            return "failed", words
        if kills > before:
            return "out_of_memory", "the kernel killed the worker: out of memory"
        if "running low on memory" in told:
            return "out_of_memory", SHORT_OF_MEMORY
        return "failed", _ray_words(told)

    def killed_for_memory(self, told: str) -> list[int]:
        """The trials whose workers Ray says that it killed, because memory was short."""
        if "running low on memory" not in told:
            return []
        killed = {int(pid) for pid in re.findall(r"Selected to kill: .*?\bpid=(\d+)", told)}
        return [number for number, worker in self._of.items() if worker.pid in killed]

    def kill_all(self) -> None:
        """Kill those of this machine, now that their Ray is dead."""
        for worker in self._of.values():
            if worker.here:
                _kill(worker)
        self._of.clear()

    def forget(self) -> None:
        """Remove the files for their last words."""
        for file in self._words.glob(".worker-*"):
            file.unlink(missing_ok=True)

    def _last_words(self, worker: Worker | None) -> str:
        """The stack that a fatal signal left, as a traceback, the signal at its end."""
        if worker is None or worker.pid is None:
            return ""
        file = last_words_of(self._words, worker.pid)
        try:
            text = file.read_text(errors="replace")
            file.unlink()
        except OSError:
            return ""
        crash = read_crash(text)
        if not crash.said:
            return ""
        place = crash.place or "at an unknown place"
        return "\n".join([*crash.stack, f"the worker crashed: {crash.said}, {place}"])


def _kill(worker: Worker) -> None:
    assert worker.pid is not None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(worker.pid, signal.SIGKILL)


def _out_of_memory_kills() -> int:
    """Processes that this machine's kernel has killed for memory; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _ray_words(told: str) -> str:
    """The gist of what Ray says of a dead worker: its own text is a page of possible reasons."""
    code = re.search(r"exit code (-?\d+)", told)
    if code:
        return f"the worker ended itself with exit code {code[1]}"
    unreachable = any(words in told for words in UNREACHABLE)
    if unreachable and not ours():
        return "the worker cannot be reached: its node is gone, or the network to it"
    if unreachable or "End of file" in told or "actor is dead" in told:
        return "the worker was killed, or ended itself, and left no word"
    return re.sub(r"\x1b\[[0-9;]*m", "", told).strip()

"""Trials that get no slot: a cluster lost its nodes, or works for others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ..core import Core

LOOK_SECONDS = 1.0
TOLD_SECONDS = 30.0  # without any slot, until the log says so
LOST_SECONDS = 600.0  # until the search stops; a resume goes on with it


class Waiting:
    """Looks, now and then, whether any trial runs. Tune itself would wait for ever."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = float("-inf")
        self._since: float | None = None
        self._told = False

    def look(self, core: Core, trials: Sequence[Any]) -> bool:
        """Whether the search is to be left: it ends, and nothing that runs is waited for."""
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        waiting = [trial for trial in trials if trial.status == "PENDING"]
        if not waiting or any(trial.status == "RUNNING" for trial in trials):
            self._since, self._told = None, False
            return False
        if self._since is None:
            self._since = now
        self._judge(core, now - self._since)
        if core.ending is None:
            return False
        core.suspend()  # they never began: a resume takes them up
        return True

    def _judge(self, core: Core, seconds: float) -> None:
        if seconds >= TOLD_SECONDS and not self._told:
            self._told = True
            core.run.log(f"no slot of the cluster has been free for {seconds:.0f} s: waiting")
        if core.ending is None and (seconds >= LOST_SECONDS or core.ledger.spent()):
            note = (
                f"no slot of the cluster was free for {seconds:.0f} s: its nodes are gone, or work "
                "for others; the search stops here, and --resume goes on with it"
            )
            core.notes.append(note)
            core.run.log(note)
            core.interrupt()

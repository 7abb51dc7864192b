"""The only package that knows Ray: thin adapters of Ray Tune over the core.

Ray executes; it decides nothing and remembers nothing. Workers are warm actors: a trial does
not pay for the start of a process. Measured traps that shape it: the searcher is not told
of results that the scheduler stops; `Stopper.stop_all` leaves trials running; a suggestion of
None while nothing runs makes Tune sleep.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from ...data import ImageData
from ...errors import UserError, words_of
from ..core import Core
from ..faults import last_line, outlive
from ..placement import Placement
from . import environment as environment  # before the others: Ray reads it on import
from .adapters import Over, Raised, tuner
from .address import check_address as check_address
from .address import survey as survey
from .cluster import running, short_temporary_folder, sweep
from .health import SHORT_OF_MEMORY, RayDied, Workers, dead_part, hush
from .idle import Idle
from .measuring import settled_there as settled_there
from .signals import signals
from .strand import Left, Strand


def execute(
    core: Core,
    data: ImageData,
    placement: Placement,
    refresh: Callable[[], None],
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Run the core's trials on Ray until it says DONE. `refresh` is called now and then.

    Where Ray dies, another one takes its place, and running trials go on from their checkpoints.
    The first SIGINT or SIGTERM interrupts the core, which lets running trials stop at their next
    report; the second ends the process at once. Whatever Ray does, this returns some 20 s after
    the core was told to stop. `say` is called with what a person should know at once.
    """
    parent = short_temporary_folder()
    sweep(parent)
    hush()
    strand = Strand(core)

    def session() -> None:
        _session(strand, data, placement, refresh, say, parent)

    with signals(core, strand):
        strand.run(lambda: _sessions(strand, session, say))


def _sessions(
    strand: Strand, session: Callable[[], None], say: Callable[[str], None] = lambda _: None
) -> None:
    """One Ray after the other, until one comes to its end or it is not worth another.

    What keeps the first one from starting is the user's to know at once; of a later one, the
    search ends with it, and keeps what it has found.
    """
    first = True
    with contextlib.suppress(Left):
        while True:
            try:
                session()
                return
            except RayDied as death:
                died = death
            except (UserError, OSError) as error:
                if first:
                    raise
                died = RayDied(words_of(error), begun=False)
            first = False
            with strand.core() as core:
                if not outlive(core, str(died), died.hungry, begun=died.begun):
                    return
                say(f"{core.faults.ray}: it is started again")


def _fit(tuner: Any, workers: Workers) -> None:
    """Raises RayDied where Ray is no more, and what the core raised as itself."""
    try:
        tuner.fit()
    except Raised as raised:
        raise raised.error from None
    except RayDied:
        workers.kill_all()  # their trials go on elsewhere
        raise
    except Exception as error:  # Ray's own: the core's come as Raised
        hungry = workers.killed_for_memory(str(error))
        workers.kill_all()
        told = SHORT_OF_MEMORY if hungry else f"{type(error).__name__}: {last_line(str(error))}"
        raise RayDied(dead_part() or told, hungry) from error


def _session(
    strand: Strand,
    data: ImageData,
    placement: Placement,
    refresh: Callable[[], None],
    say: Callable[[str], None],
    parent: str,
) -> None:
    """The life of one Ray. Raises RayDied at an end before its time."""
    folder = strand.folder = tempfile.mkdtemp(prefix=f"nas-{os.getpid()}-", dir=parent)
    with strand.core() as core:
        run, again = core.run, core.faults.ray is not None
    strand.begins()
    if again and placement.address:
        survey(placement.address)  # Ray would wait for two minutes, then end this process
    workers, idle = Workers(run.path), Idle(placement.trials_at_once)
    try:
        with running(strand, folder, data, placement), contextlib.suppress(Over), idle.kept():
            fit = tuner(strand, run, data, placement, refresh, say, folder, workers, idle)
            _fit(fit, workers)
    finally:
        workers.forget()
        shutil.rmtree(folder, ignore_errors=True)

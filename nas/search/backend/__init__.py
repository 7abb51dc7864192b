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

from ...data import ImageData
from ..core import Core
from ..placement import Placement
from . import environment as environment  # before the others: Ray reads it on import
from .adapters import Over, tuner
from .address import check_address as check_address
from .address import survey as survey
from .cluster import running, short_temporary_folder, sweep
from .measuring import settled_there as settled_there
from .signals import signals


def execute(core: Core, data: ImageData, placement: Placement, refresh: Callable[[], None]) -> None:
    """Run the core's trials on Ray until it says DONE. `refresh` is called now and then.

    The first SIGINT or SIGTERM interrupts the core, which lets running trials stop at their next
    report; the second ends the process at once.
    """
    parent = short_temporary_folder()
    sweep(parent)
    folder = tempfile.mkdtemp(prefix=f"nas-{os.getpid()}-", dir=parent)
    try:
        with (
            signals(core),
            running(folder, data, placement),
            signals(core),  # again: Ray's start puts its own in place of SIGTERM's
            contextlib.suppress(Over),
        ):
            tuner(core, data, placement, refresh, folder).fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""The Ray that trials run on: a local one of our own, and what it leaves behind."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import ray

from ...data import ImageData
from .signals import deaf

MIN_OBJECT_STORE = 100 * 2**20  # Ray refuses less than 75 MiB


@dataclass(frozen=True)
class Slots:
    """Where trials run: how many at once, on what, with how many threads of the CPU each."""

    count: int
    device: str
    gpus_per_trial: float
    threads: int


@contextlib.contextmanager
def running(folder: str, data: ImageData, slots: Slots) -> Iterator[None]:
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
        with deaf():  # a second Ctrl-C in the middle of it is a traceback
            ray.shutdown()


def sweep(parent: str) -> None:
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


def short_temporary_folder() -> str:
    """Ray's sockets lie below it, and a socket's path holds at most 107 bytes."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 30 else "/tmp"

"""The Ray that trials run on: a local one of our own and what it leaves behind, or a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import ray
from ray._private import worker as private

from ...data import ImageData
from ...errors import UserError
from ..placement import Placement
from .address import on_loopback
from .environment import keep_to_loopback
from .health import RayDied
from .signals import deaf
from .strand import Strand

PACKAGE = Path(__file__).parents[2]  # nas/ itself

MIN_OBJECT_STORE = 100 * 2**20  # Ray refuses less than 75 MiB


@contextlib.contextmanager
def running(strand: Strand, folder: str, data: ImageData, placement: Placement) -> Iterator[None]:
    """A Ray to run trials on: a local one of our own, gone at the end, or a cluster, left running.

    Raises UserError where the cluster cannot be joined any more, RayDied where our own Ray does
    not start.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    logging.getLogger("ray").setLevel(logging.ERROR)
    if placement.address is not None:
        with joined(placement.address):
            yield
        return
    try:
        _start(folder, data, placement)
        yield
    finally:
        _stop(strand)


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """A guest of a cluster; leaves it at the end, its own workers with it."""
    with _left(lambda: _join(address)):
        yield


@contextlib.contextmanager
def _left(begin: Callable[[], None]) -> Iterator[None]:
    try:
        begin()
    except SystemExit:  # Ray's own answer to SIGTERM while it starts
        raise KeyboardInterrupt from None
    try:
        yield
    finally:
        with deaf():  # a second Ctrl-C in the middle of it is a traceback
            ray.shutdown()


def _start(folder: str, data: ImageData, placement: Placement) -> None:
    """Quiet, on the loopback address, without the dashboard; whatever RAY_ADDRESS says."""
    keep_to_loopback(True)
    images = sum(part.x.nbytes + part.y.nbytes for part in (data.train, data.validation))
    try:
        ray.init(
            address="local",
            num_cpus=placement.trials_at_once * placement.cpus_per_trial,
            num_gpus=None if placement.gpus_per_trial else 0,
            include_dashboard=False,
            object_store_memory=int(1.5 * images) + MIN_OBJECT_STORE,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _temp_dir=folder,
        )
    except Exception as error:  # Ray has no type of its own for it
        said = " ".join(str(error).split())
        first = said.partition(". ")[0].rstrip(".")
        raise RayDied(first or type(error).__name__, begun=False) from error


def _stop(strand: Strand) -> None:
    """End our own Ray at once: its processes block SIGTERM (see `strand`), with which Ray would
    wait a second for each of them."""
    node = getattr(private, "_global_node", None)  # no public word reaches them
    for infos in node.all_processes.values() if node is not None else ():
        for info in infos:
            info.process.terminate = info.process.kill
    strand.know_processes()
    ray.shutdown()
    strand.end_processes()


def _join(address: str) -> None:
    """As a guest. The nodes need torch and Ray; this package travels to them."""
    keep_to_loopback(on_loopback(address))
    try:
        ray.init(
            address=address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"py_modules": [str(PACKAGE)], "excludes": ["**/__pycache__"]},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"--ray-address {address}: {said}") from None


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

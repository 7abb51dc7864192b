"""How a trial's files come into the run folder from a node that does not have it.

The run folder lies on the driver's machine; nothing has to be shared. A worker on another node
gets the trial's files (its checkpoint, where it has one) when it begins, and after every epoch
hands over those that are new, before it reports: what the study knows, the run folder holds. They
travel through Ray to a Keeper, an actor on the driver's machine that writes each of them whole.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ...rundir import CHECKPOINT, PREVIOUS, write_bytes, write_checkpoint
from .cluster import short_temporary_folder, sweep

AT_ONCE = 8  # files of different trials that are written at the same time


class Keeper:
    """Reads and writes the folders of trials, on the machine that has them."""

    def read(self, folder: str) -> dict[str, bytes]:
        """Every file of the trial, by name."""
        path = Path(folder)
        files = [file for file in path.iterdir() if file.is_file()] if path.is_dir() else []
        return {file.name: file.read_bytes() for file in files if not file.name.startswith(".")}

    def write(self, folder: str, files: dict[str, bytes]) -> None:
        """Each of them whole or not at all, in their order."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            if name == CHECKPOINT:
                write_checkpoint(path, content)  # keeps the one before, as the worker did
            elif name != PREVIOUS:
                write_bytes(path / Path(name).name, content)


def start_keeper() -> Any:
    """A Keeper on this machine, for the time of this search; it is started again if it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {
        "num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "max_concurrency": AT_ONCE,
        "scheduling_strategy": here,
    }  # fmt: skip
    return ray.remote(Keeper).options(**options).remote()


class Mirror:
    """A trial's folder on this node, kept equal to the one in the run folder."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper
        parent = short_temporary_folder()
        sweep(parent)  # workers do not live to tidy up after themselves
        self._home = Path(tempfile.mkdtemp(prefix=f"nas-{os.getpid()}-", dir=parent))
        self.source = ""
        self._local: Path | None = None
        self._known: dict[str, tuple[int, int]] = {}

    def fetch(self, folder: str) -> str:
        """Take over the trial's files; the folder to train in."""
        if self._local is not None:
            shutil.rmtree(self._local, ignore_errors=True)
        self.source = folder
        number = f"{Path(folder).name}-{os.urandom(4).hex()}"
        local = self._local = self._home / number
        local.mkdir()
        for name, content in ray.get(self._keeper.read.remote(folder)).items():
            (local / name).write_bytes(content)
        self._known = _stamps(local)
        return str(local)

    def push(self) -> None:
        """Hand over what is new, oldest first, and wait until it is written. Raises OSError."""
        assert self._local is not None
        now = _stamps(self._local)
        new = sorted(
            (stamp, name) for name, stamp in now.items()
            if self._known.get(name) != stamp and name != PREVIOUS
        )  # fmt: skip
        if new:
            files = {name: (self._local / name).read_bytes() for _, name in new}
            try:
                ray.get(self._keeper.write.remote(self.source, files))
            except ray.exceptions.RayTaskError as error:
                raise (error.cause if isinstance(error.cause, OSError) else error) from None
            self._known = now


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file was written, and which file it is: one is replaced, never changed."""
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    stats = {file.name: file.stat() for file in files if file.is_file()}
    return {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in stats.items()}

"""Whose studies those in a storage are: a shared database holds the studies of many runs.

Each study carries who made it (user attribute `run`), and in a shared storage the run's id in
its name: `<run>.<id>.<stage>`. So two runs of one name never mix, even begun at once.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from ..errors import RunError, StorageError
from ..rundir import Request, RunDir
from .storage import JOURNAL, BaseStorage, close, open_storage, shown

SCHEMA = 1  # of what we write into studies and trials; a study without a number is of schema 0
READABLE = (0, 1)


class Named(Protocol):
    """What is looked at of a study."""

    study_name: str
    user_attrs: dict[str, Any]


def owner(run: RunDir, request: Request) -> dict[str, Any]:
    """What each of the run's studies says of it."""
    return {
        "schema": SCHEMA, "id": request.id, "name": run.name, "folder": str(run.path),
        "host": socket.gethostname(), "space": request.space_name,
        "space_digest": request.space_digest, "data": request.data,
        "nas": version("nas-toolkit"),
    }  # fmt: skip


def prefix(storage: BaseStorage, run: RunDir, request: Request) -> str:
    """What the names of the run's studies begin with; the folder may have been renamed since."""
    names = [study.study_name for study in _in_order(storage)]
    if request.storage == JOURNAL:
        return names[0].rpartition(".")[0] if names else run.name
    own = [name for name in names if name.rpartition(".")[0].endswith(f".{request.id}")]
    return own[0].rpartition(".")[0] if own else f"{run.name}.{request.id}"


def check_own(storage: BaseStorage, run: RunDir, request: Request) -> None:
    """Raises RunError unless the studies are of this run's space, in a form that we read."""
    start = f"{prefix(storage, run, request)}."
    own = [study for study in _in_order(storage) if study.study_name.startswith(start)]
    if not own and request.storage != JOURNAL and run.stages().get("stages"):
        raise RunError(
            f"{shown(request.storage)} holds no study of {run.path}, which has begun: it is "
            "another database, or was emptied; put it back, or start a new search"
        )
    for study in own:
        said = study.user_attrs.get("run", {})
        where = f"the study {study.study_name} in {_where(run, request)}"
        if said.get("schema", 0) not in READABLE:
            raise RunError(
                f"{where} was made by nas {said.get('nas', '?')} (form {said['schema']}), this nas "
                f"reads forms {READABLE[0]} to {READABLE[-1]}: go on with that version, or start "
                "a new search"
            )
        if said and said["space_digest"] != request.space_digest:
            raise RunError(
                f"{where} is of another space ({said['space']}, of {said['folder']}), not of "
                f"{request.space_name} as {run.path} holds it: put the right one back, or start a "
                "new search"
            )
        if not said and "stage" not in study.user_attrs and "ready" in study.user_attrs:
            raise RunError(f"{where} was not made by nas: start a new search")
        _check_original(said, run, request)


def _check_original(said: Mapping[str, Any], run: RunDir, request: Request) -> None:
    """Two copies of one folder must not both go on with its studies in a shared storage."""
    folder = Path(said.get("folder") or run.path)
    if request.storage == JOURNAL or said.get("host") != socket.gethostname():
        return
    if folder.resolve() == run.path.resolve() or not (folder / "request.yaml").is_file():
        return
    if RunDir(folder).request.id == request.id:
        raise RunError(
            f"{run.path} is a copy of {folder}, and both have the same trials in "
            f"{shown(request.storage)}: go on with that one, or remove it first"
        )


def place(request: Request, path: Path | None) -> Path | None:
    """The new run's folder, its name free in a shared storage too; None: RunDir finds one.

    Raises StorageError where `path` has the name of a run that the storage holds.
    """
    if request.storage == JOURNAL:
        return path
    storage = open_storage(request.storage, Path())
    taken = {said["name"]: said for said in _owners(storage)}
    close(storage)
    if path is None:
        number = 1
        while True:
            path = Path("runs") / f"{date.today():%Y-%m-%d}-{request.space_name[:80]}-{number}"
            if path.name not in taken and not path.exists():
                return path
            number += 1
    name = path.absolute().name
    if name in taken:
        said = taken[name]
        raise StorageError(
            f"--storage {shown(request.storage)} holds a run {name!r} already, {said['folder']} on "
            f"{said['host']} (space {said['space']}); this one, {path.absolute()} (space "
            f"{request.space_name}), would join it: name it otherwise with --run-dir, or go on "
            f"with that one: nas search --resume {said['folder']}"
        )
    return path


def _owners(storage: BaseStorage) -> list[dict[str, Any]]:
    found = [study.user_attrs.get("run") for study in storage.get_all_studies()]
    return [said for said in found if isinstance(said, dict) and "name" in said]


def _in_order(storage: BaseStorage) -> Sequence[Named]:
    return sorted(storage.get_all_studies(), key=lambda study: study._study_id)


def _where(run: RunDir, request: Request) -> str:
    return str(run.journal) if request.storage == JOURNAL else shown(request.storage)

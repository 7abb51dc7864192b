"""Where the trials of a search are kept: its journal file, SQLite, or PostgreSQL.

    journal                                      study.journal in the run folder (default)
    sqlite:///trials.db                          a file, which several runs may share
    postgresql+psycopg://user@host:5432/trials   a server, likewise

A password is never written down: request.yaml, log.txt and environment.json hold the URL without
it. It comes from PGPASSWORD or ~/.pgpass (libpq reads both), or from the variable that stands in
its place (`user:${TRIALS_PASSWORD}@host`); one that was typed is forgotten with its process.
"""

from __future__ import annotations

import itertools
import os
import re
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import sqlalchemy
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage as BaseStorage
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from ..errors import StorageError, StorageLost
from .database import Database, Tables
from .journal import Journal, open_journal
from .journal_lock import HURRY, PATIENCE, KernelLock

JOURNAL = "journal"
FORMS = "journal, sqlite:///FILE, or postgresql:// or postgresql+psycopg://USER@HOST/DATABASE"
CONNECT_SECONDS = 5  # for one address of the server
CHECK_SECONDS = 10.0  # for all of it, the look-up of its name included
BUSY_SECONDS = 30.0  # that a writer waits for another one of the same SQLite file
LONGEST_PAUSE = 10.0  # between two tries
POSTGRESQL = ("postgres", "postgresql", "postgresql+psycopg")
LIBPQ = {  # a dead server is noticed within 15 s, also in the middle of an answer
    "connect_timeout": CONNECT_SECONDS, "application_name": "nas", "keepalives_idle": 10,
    "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 15_000,
}  # fmt: skip
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_PASSWORD = re.compile(r"(://[^/@\s:]*):(?!\$\{\w+\}@)[^@\s]*@")
LEAST_MASKED = 4  # letters of a password that is masked wherever it stands, not in URLs alone
_QUERY = re.compile(r"([?&](?:ssl)?password=)[^&\s]*", re.IGNORECASE)
_typed: dict[str, str] = {}  # URL without its password -> the password, for this process alone


# --- what is written down --------------------------------------------------------------


def written(text: str) -> str:
    """The storage as request.yaml holds it: a whole path, no password. Raises StorageError."""
    if text == JOURNAL:
        return text
    url = _parse(text)
    if url.drivername == "sqlite":
        return f"sqlite:///{Path(cast(str, url.database)).absolute()}"
    plain = _without_password(text)
    if not url.password:
        return plain
    if _REFERENCE.fullmatch(url.password):
        return plain.replace("@", f":{url.password}@", 1)
    _typed[plain] = url.password
    return plain


def same(text: str, other: str) -> bool:
    """Whether both name one storage; passwords do not count."""
    return _without_password(written(text)) == _without_password(written(other))


def shown(text: str) -> str:
    """Any text, the passwords of URLs in it masked."""
    for password in _typed.values():
        if len(password) >= LEAST_MASKED:
            text = text.replace(password, "***")
    return _QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


def name_of(text: str) -> str:
    """What findings call it: a file of the run folder, or a database."""
    return "study.journal" if text == JOURNAL else shown(text)


def _without_password(text: str) -> str:
    if text == JOURNAL:
        return text
    return _parse(text)._replace(password=None).render_as_string()  # `set` ignores None


def _parse(text: str) -> sqlalchemy.URL:
    """A URL of a known kind, complete, with its driver at hand. Raises StorageError."""
    try:
        url = sqlalchemy.make_url(text)
    except (ArgumentError, ValueError):
        raise _refused(text, f"it must be {FORMS}") from None
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if not url.database or url.database == ":memory:" or url.query:
            raise _refused(text, "it must name a file, such as sqlite:///trials.db")
        return url.set(drivername="sqlite")
    if url.drivername not in POSTGRESQL:
        raise _refused(text, f"it must be {FORMS}")
    if not url.database:
        raise _refused(text, "it names no database, such as postgresql://nas@host/trials")
    if {key.lower() for key in url.query} & {"password", "sslpassword"}:
        raise _refused(text, "give a password by PGPASSWORD or ~/.pgpass, not behind the ?")
    if find_spec("psycopg") is None:
        raise _refused(text, "psycopg is not installed: pip install 'nas-toolkit[postgresql]'")
    return url.set(drivername="postgresql+psycopg")


def _url(text: str) -> sqlalchemy.URL:
    """What to connect to: the password put in. Raises StorageError."""
    url = _parse(text)
    reference = _REFERENCE.fullmatch(url.password or "")
    if reference:
        name = reference[1]
        if name not in os.environ:
            raise _refused(text, f"the environment has no {name}: export {name}=…")
        return url.set(password=os.environ[name])
    return url.set(password=url.password or _typed.get(text))


def _refused(text: str, why: str) -> StorageError:
    return StorageError(f"--storage {shown(text)}: {why}")


# --- opening ---------------------------------------------------------------------------


def check(text: str) -> None:
    """Look whether the storage answers, in CHECK_SECONDS; nothing is written. Raises StorageError.

    The look-up of a host's name heeds no time limit of ours, hence the thread.
    """
    if text == JOURNAL:
        return
    url = _url(text)
    if url.drivername == "sqlite":
        _check_file(text, Path(cast(str, url.database)))
    failed: list[SQLAlchemyError] = []
    looking = threading.Thread(target=_look, args=(url, failed), daemon=True)
    looking.start()
    looking.join(CHECK_SECONDS)
    if looking.is_alive():
        raise _refused(text, f"no answer within {CHECK_SECONDS:.0f} s: {_advice(url, '')}")
    if failed:
        raise _unusable(text, url, failed[0])


def _look(url: sqlalchemy.URL, failed: list[SQLAlchemyError]) -> None:
    if url.drivername == "sqlite" and not Path(cast(str, url.database)).exists():
        return  # connecting would make it
    engine = sqlalchemy.create_engine(url, **_engine_options(url))
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
    except SQLAlchemyError as error:
        failed.append(error)
    finally:
        engine.dispose()


def _check_file(text: str, file: Path) -> None:
    if file.is_dir():
        raise _refused(text, f"{file} is a folder; name a file, such as {file / 'trials.db'}")
    if not file.parent.is_dir():
        raise _refused(text, f"there is no folder {file.parent}: make it, or name another one")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise _refused(text, "it cannot be written: give yourself the right to, or name another")


def open_storage(
    text: str, journal: Path, *, mend: bool = True, tell: Callable[[str], None] | None = None
) -> BaseStorage:
    """The run's storage, for the one process that writes it. `mend` false: for looking only.
    `tell` hears of trouble on the way.

    Raises StorageError where it cannot be reached, or was made by another Optuna; RunError for a
    damaged journal.
    """
    if text == JOURNAL:
        return open_journal(journal, mend=mend, tell=tell or (lambda _: None))
    check(text)
    url = _url(text)
    if not mend and url.drivername == "sqlite" and not Path(cast(str, url.database)).exists():
        raise _refused(text, "there is no such file: put it back")
    try:
        storage = _open(url)
    except RuntimeError as error:  # Optuna's word on the schema of its tables
        reason = " ".join(str(error).split())
        raise _refused(text, f"{reason} Or name another database with --storage.") from None
    except (SQLAlchemyError, StorageInternalError) as error:
        raise _unusable(text, url, error) from None
    kept = cast(RDBStorage, Patient(storage, shown(text), tell))
    return Database(kept) if mend else _CachedStorage(kept)


def _open(url: sqlalchemy.URL) -> RDBStorage:
    """Another process may make the same tables in this moment: then they are there."""
    storage = None
    for pause in (0.2, 1.0, 3.0, None):
        try:
            storage = _tables(url)
            break
        except DBAPIError:
            if pause is None:
                raise
            time.sleep(pause)
    assert storage is not None
    try:
        storage._version_manager.check_table_schema_compatibility()
    except RuntimeError:
        storage.engine.dispose()
        raise
    return storage


def _tables(url: sqlalchemy.URL) -> RDBStorage:
    address = url.render_as_string(hide_password=False)
    options = _engine_options(url)
    return Tables(address, engine_kwargs=options, skip_compatibility_check=True)


def _engine_options(url: sqlalchemy.URL) -> dict[str, Any]:
    if url.drivername == "sqlite":
        return {"creator": lambda: _connect(cast(str, url.database))}
    options = {key: value for key, value in LIBPQ.items() if key not in url.query}
    return {"pool_pre_ping": True, "connect_args": options}


def _connect(file: str) -> sqlite3.Connection:
    """With a write-ahead log, so that who looks (the dashboard) and who writes do not wait."""
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except BaseException:  # it is no database
        connection.close()
        raise
    return connection


def _unusable(text: str, url: sqlalchemy.URL, error: Exception) -> StorageError:
    reason = _reason(error)
    return _refused(text, f"it cannot be used ({shown(reason)}): {_advice(url, reason)}")


def _reason(error: BaseException) -> str:
    """One clause of what a driver says in several lines."""
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if "failed" in line or "FATAL" in line] or lines or ["no reason"]
    return told[-1].removeprefix("- ").removeprefix("connection failed: ")


def _advice(url: sqlalchemy.URL, reason: str) -> str:
    if url.drivername == "sqlite":
        return "name a file of SQLite, or one that does not exist yet, on a disk of this machine"
    if "password" in reason:
        return "export PGPASSWORD, or put the password into ~/.pgpass or ${NAME} in its place"
    if "database" in reason and "does not exist" in reason:
        return f"make it (createdb {url.database}), or name another"
    if "role" in reason and "does not exist" in reason:
        return "name a user that the server knows"
    return "start the server, or mend its address"


# --- staying with it -------------------------------------------------------------------


class Patient:
    """An RDBStorage that outlasts a restart of its server, or a full disk.

    Every call that fails for the connection's sake is made again, with growing pauses, for
    `patience` seconds; then StorageLost is raised, and `lost` holds it. `hurry` is asked whether
    to give up soon, because the search was told to stop; `waited` hears how many seconds a call
    has waited.
    """

    def __init__(
        self, storage: RDBStorage, name: str, tell: Callable[[str], None] | None = None
    ) -> None:
        self._storage, self._name = storage, name
        weakref.finalize(self, storage.engine.dispose)  # else its connections end with a warning
        self._tell: Callable[[str], None] = tell or (lambda _: None)
        self.patience = PATIENCE
        self.hurry: Callable[[], bool] = lambda: False
        self.waited: Callable[[float], None] = lambda _: None
        self.lost: StorageLost | None = None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._storage, name)
        if not callable(value):
            return value
        return lambda *words, **named: self._call(name, value, words, named)

    def _call(
        self, name: str, method: Callable[..., Any], words: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        if self.lost is not None:  # waited for already
            raise self.lost
        began = time.monotonic()
        for failures in itertools.count():
            try:
                found = method(*words, **named)
            except (StorageInternalError, SQLAlchemyError) as error:
                if not _of_connection(error):
                    raise
                self._wait(began, failures, error)
                continue
            except DuplicatedStudyError:
                if not failures:
                    raise
                found = self._storage.get_study_id_from_name(named["study_name"])
            except UpdateFinishedTrialError:
                if not failures:
                    raise
                found = True
            if failures:
                self.waited(time.monotonic() - began)
                self._tell(f"the storage {self._name} is back")
                if name == "set_trial_state_values":
                    found = True
            # what fails in a second try was done by the first, whose answer was lost: a run has
            # one driver
            return found
        raise AssertionError("unreachable")

    def _wait(self, began: float, failures: int, error: BaseException) -> None:
        if not failures:
            self._tell(
                f"the storage {self._name} is lost ({shown(_reason(error))}); trying again for "
                f"{self.patience:.0f} s"
            )
        pause = min(0.5 * 2**failures, LONGEST_PAUSE)
        until = time.monotonic() + pause
        while True:
            waited = time.monotonic() - began
            if waited >= (min(HURRY, self.patience) if self.hurry() else self.patience):
                self.waited(waited)
                self.lost = StorageLost(
                    f"the storage {self._name} was lost ({shown(_reason(error))}) and not back "
                    f"after {waited:.0f} s: nothing is lost in the run; once it is back, go on "
                    "with nas search --resume"
                )
                raise self.lost from None
            if time.monotonic() >= until:
                return
            time.sleep(0.2)


def close(storage: BaseStorage) -> None:
    """End the connections of a storage that is not needed any more."""
    backend = patient(storage)
    if backend is not None:
        backend.engine.dispose()


def patient(storage: BaseStorage) -> Patient | None:
    """The Patient within what `open_storage` gave; None: a journal file."""
    backend: object = getattr(storage, "_backend", None)
    return backend if isinstance(backend, Patient) else None


def waiting(storage: BaseStorage) -> Patient | KernelLock | None:
    """What of it waits where it is lost, or held by another process; None: it only looks."""
    return storage.lock if isinstance(storage, Journal) else patient(storage)


def _of_connection(error: BaseException) -> bool:
    """Whether the same call may succeed later."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    later = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
    lost = isinstance(cause, DBAPIError) and cause.connection_invalidated
    return lost or isinstance(cause, later)

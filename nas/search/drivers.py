"""Which process drives a run whose trials lie in a database.

A run folder has its own lock (`rundir/lock.py`). A copy of it, on another host say, has another
lock file, and the same studies. So the database says who drives each run, and a thread of that
process counts a beat on. A process of this machine is looked up; one of another machine is judged
by whether its beat changes within STALE_SECONDS, since clocks differ and jump.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import sqlalchemy
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from ..errors import RunError, StorageError
from ..rundir import Request, RunDir
from ..rundir.lock import ourselves, started
from .storage import JOURNAL, close, open_storage, patient, shown

BEAT_SECONDS = 3.0
STALE_SECONDS = 20.0  # as the lock of a folder
LOOK_SECONDS = 1.0
FAREWELL_SECONDS = 1.0  # for the heart to stop; it may hang in a lost connection
TRIES = (0.2, 1.0, 3.0, None)  # others may make the same table in this moment
TABLE = sqlalchemy.Table(
    "nas_drivers",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("run", sqlalchemy.String(255), primary_key=True),
    sqlalchemy.Column("pid", sqlalchemy.Integer, nullable=False),
    sqlalchemy.Column("host", sqlalchemy.String(255), nullable=False),
    sqlalchemy.Column("machine", sqlalchemy.String(255), nullable=False),
    sqlalchemy.Column("started", sqlalchemy.BigInteger, nullable=False),
    sqlalchemy.Column("folder", sqlalchemy.Text, nullable=False),
    sqlalchemy.Column("token", sqlalchemy.String(64), nullable=False),
    sqlalchemy.Column("beat", sqlalchemy.BigInteger, nullable=False),
)
_at_work: set[str] = set()  # tokens of the runs that this process drives now


@dataclass(frozen=True)
class Driver:
    """A row: the process that drives a run. `machine`: where its pid means something."""

    run: str
    pid: int
    host: str
    machine: str
    started: int
    folder: str
    token: str
    beat: int = 0

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"


class Driven(RunError):
    """Another process drives the run."""


@contextlib.contextmanager
def driving(
    run: RunDir, request: Request, tell: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Be the one process that drives the run. Raises Driven with the pid and host of another.

    One that is taken over by another host, because it stood still, is asked to stop. `tell` hears
    what is waited for, and that it was taken over.
    """
    if request.storage == JOURNAL:  # it lies in the folder, whose lock is enough
        yield
        return
    storage = open_storage(request.storage, run.journal, tell=run.log)
    found = patient(storage)
    assert found is not None
    try:
        own = _ourselves(run, request)
        _at_work.add(own.token)
        try:
            taken_over = _take(found.engine, own, request, tell)
        except SQLAlchemyError as error:
            raise _unnoted(request, error) from None
        if taken_over:
            run.log(taken_over)
            tell(taken_over)
        heart = Heart(found.engine, own, run)
        heart.start()
        try:
            yield
        finally:
            heart.stop()
    finally:
        _at_work.discard(own.token)
        close(storage)


class Heart:
    """Counts the beat of a driver on until it is stopped, then takes its row away."""

    def __init__(self, engine: sqlalchemy.Engine, own: Driver, run: RunDir) -> None:
        self._engine, self._own, self._run = engine, own, run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="nas driver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(FAREWELL_SECONDS)
        gone = TABLE.delete().where(TABLE.c.run == self._own.run, TABLE.c.token == self._own.token)
        with contextlib.suppress(SQLAlchemyError), self._engine.begin() as connection:
            connection.execute(gone)

    def _beat(self) -> None:
        next_beat = (
            TABLE.update()
            .where(TABLE.c.run == self._own.run, TABLE.c.token == self._own.token)
            .values(beat=TABLE.c.beat + 1)
        )
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(SQLAlchemyError):  # a lost server: the studies say so
                with self._engine.begin() as connection:
                    held = connection.execute(next_beat).rowcount
                if not held and not self._over.is_set():
                    self._give_way()
                    return

    def _give_way(self) -> None:
        with contextlib.suppress(SQLAlchemyError):
            other = _read(self._engine, self._own.run)
            self._run.log(
                f"the run was taken over by {other or 'another process'} while this one stood "
                "still: it stops"
            )
        with contextlib.suppress(OSError):
            self._run.ask_to_stop()


def _ourselves(run: RunDir, request: Request) -> Driver:
    own = ourselves()
    return Driver(
        request.id or run.name, own.pid, own.host, f"{own.boot}/{_pid_namespace()}", own.started,
        str(run.path), own.token,
    )  # fmt: skip


def _take(
    engine: sqlalchemy.Engine,
    own: Driver,
    request: Request,
    tell: Callable[[str], None] = lambda _: None,
) -> str | None:
    """Write our row; what to say where it was a dead host's. Raises Driven."""
    _make_table(engine)
    while True:
        other = _read(engine, own.run)
        if other is None:
            with contextlib.suppress(IntegrityError), engine.begin() as connection:
                connection.execute(TABLE.insert().values(asdict(own)))
                return None
            continue  # another process was quicker: who is it?
        told = _pulse(engine, own, other, tell)
        if told == "beats":
            raise Driven(
                f"{own.folder} is not free: its trials in {shown(request.storage)} are "
                f"in the hands of {other}, which searches in {other.folder}; wait for it, or stop "
                f"it there: nas stop {other.folder}"
            )
        same = (TABLE.c.run == own.run, TABLE.c.token == other.token, TABLE.c.beat == other.beat)
        with engine.begin() as connection:
            taken = connection.execute(TABLE.update().where(*same).values(asdict(own))).rowcount
        if taken:
            return told


def _pulse(
    engine: sqlalchemy.Engine, own: Driver, other: Driver, tell: Callable[[str], None]
) -> str | None:
    """Whether the other one "beats"; None: it is dead; else what to say of taking over from it."""
    if (other.machine, other.pid, other.started) == (own.machine, own.pid, own.started):
        return "beats" if other.token in _at_work else None  # its server was gone at its end
    if other.machine == own.machine and own.started:
        return "beats" if started(other.pid) == other.started else None
    tell(
        f"the database says that {other} drives this run: waiting up to {STALE_SECONDS:.0f} s for "
        "a sign of life from there"
    )
    end = time.monotonic() + STALE_SECONDS
    while time.monotonic() < end:
        now = _read(engine, own.run)
        if now is None:
            return None
        if now != other:
            return "beats"
        time.sleep(LOOK_SECONDS)
    return (
        f"the run is taken over from {other}: no sign of life from there in {STALE_SECONDS:.0f} s"
    )


def _read(engine: sqlalchemy.Engine, run: str) -> Driver | None:
    with engine.connect() as connection:
        row = connection.execute(TABLE.select().where(TABLE.c.run == run)).mappings().first()
    return None if row is None else Driver(**row)


def _make_table(engine: sqlalchemy.Engine) -> None:
    for pause in TRIES:
        try:
            TABLE.create(engine, checkfirst=True)
            return
        except DBAPIError:
            if pause is None:
                raise
            time.sleep(pause)


def _unnoted(request: Request, error: SQLAlchemyError) -> StorageError:
    reason = " ".join(str(getattr(error, "orig", None) or error).split())
    return StorageError(
        f"--storage {shown(request.storage)}: it cannot note who drives the run ({shown(reason)}): "
        f"give its user the right to make and to write the table {TABLE.name}"
    )


def _pid_namespace() -> int:
    """Containers of one host have the host's boot, and pids of their own."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0

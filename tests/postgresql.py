"""A PostgreSQL server of the tests' own: Debian's binaries, a free port of 127.0.0.1, a password.

As root it runs under the user `postgres`, because the server refuses to run as root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "corr/ect horse"
START_SECONDS = 60.0


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`; None where there is no server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    path = shutil.which("postgres")
    return Path(path).parent if path else None


def missing() -> str | None:
    """Why the tests with a server are skipped; None: they run."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    if binaries() is None:
        return "no PostgreSQL server is installed (apt-get install postgresql)"
    if os.getuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@dataclass
class Server:
    """A cluster in `folder`, to `start` and `stop`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    made: int = 0

    def url(self, database: str, password: str = "") -> str:
        user = f"tester:{password}" if password else "tester"
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """An empty one; its URL without a password."""
        self.made += 1
        self.execute(f"CREATE DATABASE trials_{self.made}")
        return self.url(f"trials_{self.made}")

    def execute(self, statement: str, database: str = "postgres") -> None:
        import psycopg

        where = {"host": "127.0.0.1", "port": self.port, "dbname": database}
        with psycopg.connect(
            **where, user="tester", password=PASSWORD, autocommit=True
        ) as connection:
            connection.execute(statement)

    def start(self) -> None:
        tools = binaries()
        assert tools is not None and self.process is None
        options = ("-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1")
        quick = ("-c", "fsync=off", "-c", f"unix_socket_directories={self.folder}")
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [tools / "postgres", *options, *quick],
                stdout=log,
                stderr=log,
                cwd="/",
                **_as_user(),
            )
        limit = time.monotonic() + START_SECONDS
        while True:
            try:
                self.execute("SELECT 1")
                return
            except Exception:
                said = (self.folder / "server.log").read_text()
                assert self.process.poll() is None and time.monotonic() < limit, said
                time.sleep(0.1)

    def stop(self) -> None:
        """At once, as in a crash: its clients lose their connections."""
        if self.process is not None:
            self.process.send_signal(3)
            self.process.wait(60)
            self.process = None


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A running server, gone at the end."""
    tools = binaries()
    assert tools is not None
    folder = Path(tempfile.mkdtemp(prefix="nas-postgresql-", dir="/tmp"))
    own = Server(folder, _free_port())
    try:
        (folder / "password").write_text(f"{PASSWORD}\n")
        user = _user() if os.getuid() == 0 else None
        if user is not None:
            for path in (folder, folder / "password"):
                os.chown(path, user.pw_uid, user.pw_gid)
        subprocess.run(
            [
                tools / "initdb", "-D", folder / "data", "-U", "tester", "-E", "UTF8",
                "--locale=C", "--auth=scram-sha-256", "--pwfile", folder / "password", "-N",
            ],
            check=True, capture_output=True, cwd="/", **_as_user(),
        )  # fmt: skip
        own.start()
        yield own
    finally:
        own.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> pwd.struct_passwd | None:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return None


def _as_user() -> dict[str, object]:
    user = _user() if os.getuid() == 0 else None
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

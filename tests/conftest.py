"""Fixtures of more than one package of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import postgresql


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server of its own; skipped, with the reason, where there is none."""
    why = postgresql.missing()
    if why:
        pytest.skip(why)
    with postgresql.server() as running:
        yield running


@pytest.fixture
def database(server: postgresql.Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database; its password is in the environment."""
    monkeypatch.setenv("PGPASSWORD", postgresql.PASSWORD)
    if server.process is None:
        server.start()
    return server.new_database()

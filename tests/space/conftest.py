"""Operators of rows within rows for tests: the shipped ones come with the cells."""

import pytest

from nas.registry import SIGNATURES, Setting, Signature

COMPOSITE = {
    "branches": {
        "branches": Setting(("list",)),
        "join": Setting(("str",), "concat", allowed=("concat", "add")),
    },
    "rows": {"rows": Setting(("list",))},
}


@pytest.fixture(scope="session", autouse=True)
def composite_operators():
    """`branches` and `rows`, where the models register none yet."""
    added = [name for name in COMPOSITE if name not in SIGNATURES]
    for name in added:
        SIGNATURES.add(name, Signature(name, COMPOSITE[name]))
    yield
    for name in added:
        del SIGNATURES._items[name]

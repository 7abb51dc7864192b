"""Where output goes: results to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console


WIDE = 120  # columns where nothing says how many there are: tables in files are not to be cut


def console(*, stderr: bool = False) -> Console:
    """For people. Plain text, without colours, where it is no terminal."""
    from rich.console import Console

    screen = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not screen.is_terminal and "COLUMNS" not in os.environ:
        screen.width = WIDE
    return screen


def print_json(value: Any, file: TextIO | None = None) -> None:
    """One JSON object."""
    print(json.dumps(value, indent=2, ensure_ascii=False), file=file or sys.stdout, flush=True)


@contextlib.contextmanager
def result_alone(wanted: bool) -> Iterator[TextIO]:
    """Standard output for the result alone.

    Whatever else is written there meanwhile, by libraries and by processes that they start too,
    goes to standard error. Not `wanted`: standard output as it is.
    """
    sys.stdout.flush()
    if not wanted:
        yield sys.stdout
        return
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w") as result:
            yield result
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)

"""The command line. One file a command; what is heavy is imported inside the command."""

from __future__ import annotations

import sys
import time

STARTED = time.monotonic()  # a budget's wall clock runs from here


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave the process with its exit code.

    0 done, 1 something failed, 2 what the user wrote, 130 interrupted.
    """
    try:
        from .commands import app

        app(arguments, prog_name="nas")
    except KeyboardInterrupt:
        sys.exit(130)

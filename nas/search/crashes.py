"""What a process that ended before its time has left: Python's faulthandler, and its exit code."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sysconfig
from dataclasses import dataclass

LIBRARIES = (f"{os.sep}site-packages{os.sep}", sysconfig.get_paths()["stdlib"])


@dataclass(frozen=True)
class Crash:
    """How a process ended.

    said   the fatal signal in words, "Segmentation fault"; "" where there is none
    place  where it happened, "cells.py, line 3, in forward": the user's own code first
    stack  the lines of its stack, the innermost last
    end    how it is told otherwise: "ended with exit code 3", "was killed by SIGKILL"
    late   whether it did not come back in time
    from_outside  whether somebody killed it, such as the kernel for its memory
    """

    said: str
    place: str
    stack: tuple[str, ...]
    end: str
    late: bool = False
    from_outside: bool = False


def read_crash(text: str, code: int | None = None, *, late: bool = False) -> Crash:
    """`text`: what faulthandler wrote; `code`: as subprocess gives it."""
    lines = text.splitlines()
    fatal = next((line for line in lines if line.startswith("Fatal Python error")), "")
    late = late or any(line.startswith("Timeout (") for line in lines)
    stack = [line for line in lines if line.startswith("  File ")]  # the innermost first
    own = [line for line in stack if not any(part in line for part in LIBRARIES)]
    place = next(iter([*own, *stack]), "").strip()
    place = re.sub(r'File ".*?([^"/]+)"', r"\1", place)  # its folder may be gone by now
    said = fatal.removeprefix("Fatal Python error: ")
    killed = code == -signal.SIGKILL and not (said or late)
    return Crash(said, place, tuple(reversed(stack)), ended(code), late, killed)


def ended(code: int | None) -> str:
    """What an exit code says, as subprocess gives it."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"

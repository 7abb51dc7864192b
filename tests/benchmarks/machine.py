"""Where and on what a benchmark ran, for its printed result."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

PACKAGES = ("torch", "ray", "optuna")


def machine() -> dict[str, object]:
    """CPUs, and the versions of Python and of what the figures depend on."""
    packages = {name: version(name) for name in PACKAGES}
    return {"cpus": os.cpu_count(), "python": platform.python_version(), **packages}

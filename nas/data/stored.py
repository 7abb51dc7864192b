"""Public data sets that the user has put into one folder, to call them by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .parts import Parts


def data_folder() -> Path:
    """$NAS_DATA, else the folder `nas` in the user's cache folder."""
    stated = os.environ.get("NAS_DATA")
    if stated:
        return Path(stated).expanduser()
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "nas"


@dataclass(frozen=True)
class Stored:
    """A set in the data folder. Calling it reads it; DataError where it is absent or damaged.

    places  where it may lie in there; the first is where the error tells people to put it
    files   what has to be put there (for the error), as words
    """

    name: str
    places: tuple[str, ...]
    files: str
    reader: Callable[[Path], Parts]

    def __call__(self) -> Parts:
        root = data_folder()
        for place in self.places:
            if (root / place).exists():
                return self.reader(root / place)
        here = Path(self.name)
        nearby = f"; ./{here} is there: type ./{here} to take that" if here.exists() else ""
        raise DataError(
            f"{self.name} is not in {root}: put {self.files} into {root / self.places[0]}, or set"
            f" NAS_DATA to the folder that holds {self.places[0]}{nearby}"
        )

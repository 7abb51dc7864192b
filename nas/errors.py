"""The tree of errors, with the exit code on the class.

    NasError                 1   something failed
    ├── UserError            2   what the user wrote; one clear sentence, no traceback
    │   ├── UnknownName      2   a name that is not registered; says the nearest one
    │   ├── SpaceError       2   a fault in a space or architecture file: file:line, path
    │   ├── ShapeError       2   rows whose shapes do not fit each other or the image
    │   ├── DataError        2   data that is missing, truncated or contradicts itself
    │   ├── RunError         2   a folder that is no run, is in use, or was edited since
    │   └── StorageError     2   a storage that cannot be reached, or holds another run's studies
    ├── StorageLost          1   a storage that went away in mid-search and did not come back
    ├── SearchFailed         1   nothing survived; causes counted
    └── Interrupted        130   stopped by the user, after the export

Every message says what was wrong with its value, what is allowed, what to type instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NasError(Exception):
    """Anything this package raises on purpose."""

    exit_code = 1


class UserError(NasError):
    """What the user wrote: a word, a file, a folder, a value."""

    exit_code = 2


class UnknownName(UserError):
    """A name nobody registered; the message carries the nearest known one."""

    def __init__(self, kind: str, name: object, known: Iterable[str], where: str = "") -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        prefix = f"{where}: " if where else ""
        super().__init__(f"{prefix}unknown {kind} {name!r}{hint(name, self.known)}")


class SpaceError(UserError):
    """A fault in a space or architecture file; `where` is `file:line`."""

    def __init__(self, message: str, where: str = "") -> None:
        self.where = where
        super().__init__(f"{where}: {message}" if where else message)


class ShapeError(SpaceError):
    """Rows whose shapes do not fit each other, or the image."""


class DataError(UserError):
    """Data that is missing, truncated, or contradicts itself."""


class RunError(UserError):
    """A folder that is no run, that another process uses, or that was edited since."""


class StorageError(UserError):
    """A storage that cannot be reached, or whose studies are not this run's."""


class StorageLost(NasError):
    """A storage that went away in the middle of a search and did not come back."""


class SearchFailed(NasError):
    """The search ended and no candidate survived."""

    exit_code = 1


class Interrupted(NasError):
    """Stopped by the user; what was found is exported."""

    exit_code = 130


MOST_SHOWN = 50  # names: all operators


def hint(name: object, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"`, else `"; known: a, b, c"`, to close a sentence with."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    if not names:
        return "; none is known"
    shown = ", ".join(names[:MOST_SHOWN]) + (", …" if len(names) > MOST_SHOWN else "")
    return f"; known: {shown}"


MOST_CHARACTERS = 8000  # of what other people's code says: more than most tracebacks have
MOST_IN_A_LINE = 540  # of them in the last one, which stands in tables and summaries too


def cut(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text of any length, held to about so many characters; says how many were cut.

    Its last line stays, at least the beginning of it: of a traceback that is where the cause is.
    """
    if len(text) <= most:
        return text
    said = 40  # characters that tell how many are gone
    before, _, last = text.rstrip().rpartition("\n")
    if len(last) > (room := min(most // 2, MOST_IN_A_LINE) - said):
        last = f"{last[:room]} … ({len(last) - room:,} characters cut)"
    if len(before) > 2 * (room := most // 4 - said):
        gone = len(before) - 2 * room
        before = f"{before[:room]}\n… ({gone:,} characters cut) …\n{before[-room:]}"
    return f"{before}\n{last}" if before else last


def words_of(error: BaseException, most: int = MOST_CHARACTERS) -> str:
    """`Type: message` of an error that other people's code raised, whatever its `__str__` does."""
    kind = type(error).__name__
    try:
        said = str(error)
    except BaseException as odd:
        said = f"(its message cannot be had: {type(odd).__name__})"
    return cut(f"{kind}: {said}" if said else kind, most)

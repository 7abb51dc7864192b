"""Where output goes: results to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from ..errors import NasError

if TYPE_CHECKING:
    from rich.console import Console


GONE = (errno.EIO, errno.EPIPE, errno.ENXIO)  # a closed terminal, a pipe without a reader
BY_SIGPIPE = 141  # 128 + 13: how shells tell the end of other programs before `| head -1`
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
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print(text, file=file or _result or sys.stdout, flush=True)


def open_all() -> None:
    """Where a stream is closed (`>&-`), the next file that is opened would be in its place, and
    would get what is printed."""
    for handle, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                os.fstat(handle)
                continue  # a caller's own doing
            os.open(os.devnull, os.O_RDWR)  # takes the least number that is free
            setattr(sys, name, os.fdopen(handle, "r" if name == "stdin" else "w", closefd=False))


class OutputLost(NasError):
    """What was asked for was done, and its words could not be written."""

    def __init__(self, error: OSError) -> None:
        self.quiet = error.errno in GONE  # nobody reads: `| head -1`
        if self.quiet:
            self.exit_code = BY_SIGPIPE
        super().__init__(f"standard output cannot be written ({error.strerror})")


def output_lost(error: OSError) -> OutputLost | None:
    """The error as one of standard output; None where that is not at fault."""
    if error.filename is not None:
        return None
    try:
        print(flush=True)  # fails again
    except OSError:
        _drop(sys.stdout)
        return OutputLost(error)
    return None


def _drop(stream: TextIO) -> None:
    """What is buffered goes nowhere when the stream is closed, nor does all that comes."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Lasting:
    """A stream that outlives its terminal: what it can no longer write is dropped.

    A closed terminal answers every write with an error, and so does the reading end of a pipe
    that is gone; a search goes on, its log is in its folder.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.gone = False  # the reader; not: a full disk
        self.lacking = False  # something that was written

    def write(self, text: str) -> int:
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lacking = True
            if error.errno in GONE and not self.gone:
                self.gone = True
                _drop(self._stream)


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Inside, a closed terminal ends nothing: neither its signal nor what is written to it."""
    before, hangup = (sys.stdout, sys.stderr), None
    if threading.current_thread() is threading.main_thread():
        hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.stdout, sys.stderr = (cast(TextIO, Lasting(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        if hangup is not None:
            signal.signal(signal.SIGHUP, hangup)


def lacking(stream: IO[str]) -> bool:
    """Whether some of what was written to it may have been lost."""
    return bool(getattr(stream, "lacking", False))


_result: TextIO | None = None  # where the result goes while standard output is kept for it


@contextlib.contextmanager
def result_alone(wanted: bool) -> Iterator[TextIO]:
    """Standard output for the result alone.

    Whatever else is written there meanwhile, by plug-ins, libraries and processes that they start
    too, goes to standard error. Not `wanted`: standard output as it is. Within another one: its.
    """
    global _result
    sys.stdout.flush()
    if _result is not None or not wanted:
        result = _result or sys.stdout
        is_lasting = _result is not None and isinstance(sys.stdout, Lasting)
        yield cast(TextIO, Lasting(result)) if is_lasting else result
        return
    with _kept() as _result:
        try:
            yield _result
        finally:
            _result = None


@contextlib.contextmanager
def _kept() -> Iterator[TextIO]:
    """Standard output; what is written to it otherwise goes to standard error."""
    output = sys.stdout
    if not _is_the_process_s(output):  # a caller of this process reads it
        with contextlib.redirect_stdout(sys.stderr):
            yield output
        return
    kept = os.dup(1)
    os.dup2(2, 1)
    result = os.fdopen(os.dup(kept), "w", encoding=output.encoding, errors=output.errors)
    try:
        yield cast(TextIO, Lasting(result)) if isinstance(output, Lasting) else result
    finally:
        lost = _closed(result)
        output.flush()
        os.dup2(kept, 1)
        os.close(kept)
        if lost is not None:
            raise OutputLost(lost) from None


def _closed(stream: TextIO) -> OSError | None:
    """Close it; what kept its last words from being written."""
    try:
        stream.close()
    except OSError as error:
        return error
    return None


def _is_the_process_s(output: TextIO) -> bool:
    try:
        return output.fileno() == 1
    except (OSError, ValueError):
        return False

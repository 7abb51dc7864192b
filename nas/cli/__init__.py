"""The command line. One file a command; what is heavy is imported inside the command."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time

STARTED = time.monotonic()  # a budget's wall clock runs from here
INTERRUPTED = False  # by SIGINT or SIGTERM
ECHO_SECONDS = 0.15  # in which a second signal is the first one again: `timeout` sends it twice
_heard = -math.inf


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave the process with its exit code.

    0 done, 1 something failed, 2 what the user wrote, 130 interrupted, 141 nobody reads what is
    printed (`| head -1`), which is no error and said to nobody.
    """
    from ..errors import NasError

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)  # a cluster's pre-emption, like Ctrl-C
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else: it is ignored
            signal.signal(signal.SIGINT, _interrupt)
    try:
        code = _run(arguments)
    except NasError as error:  # one sentence and an exit code, no traceback
        if getattr(error, "quiet", False):
            sys.exit(error.exit_code)
        with contextlib.suppress(OSError):  # the terminal may have been closed
            print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    # An interrupt within an `exec` of text (imports are full of them: every dataclass) makes
    # Python end itself by SIGINT whatever its exit code, until the next such `exec` ends well.
    exec("")
    sys.exit(code)


def _interrupt(*_: object) -> None:
    """Code that is being loaded may swallow the exception: whoever begins to work asks again."""
    global INTERRUPTED, _heard
    if time.monotonic() - _heard < ECHO_SECONDS:
        return
    INTERRUPTED, _heard = True, time.monotonic()
    raise KeyboardInterrupt


def check_interrupt() -> None:
    """Raise the KeyboardInterrupt that was swallowed before."""
    if INTERRUPTED:
        raise KeyboardInterrupt


def _run(arguments: list[str] | None) -> int:
    from .commands import app
    from .streams import OutputLost, open_all, output_lost, result_alone
    from .usage import UsageError, refusal

    open_all()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        # a plug-in may print wherever its code runs
        with result_alone("--json" in words and "--help" not in words):
            code = app(arguments, prog_name="nas", standalone_mode=False)
        sys.stdout.flush()
    except UsageError as error:
        raise refusal(error) from None
    except SystemExit as end:  # Click's and Rich's answer to a pipe without a reader is a 1
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        raise OutputLost(end.__context__) from None
    except OSError as error:
        lost = output_lost(error)
        if lost is None:
            raise
        raise lost from None
    return code if isinstance(code, int) else 0

"""What a search shows while it runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..rundir import Status
from ..units import show_seconds
from .words import counted, percent

LINE_SECONDS = 5.0  # the least between two plain lines
SILENT_SECONDS = 60.0  # a sign of life, when nothing has changed for so long
MOST_RUNNING = 8  # trials shown with a bar of their own
HINT = "Ctrl-C once: stop, export the best so far. Nothing is lost."


@contextlib.contextmanager
def watching(
    console: Console, log: Path, *, quiet: bool = False, verbose: bool = False
) -> Iterator[Callable[[Status], None] | None]:
    """A view for `search`; None where nothing is to be shown. `verbose` follows the log too."""
    if quiet:
        yield None
        return
    tail = Tail(log) if verbose else None
    if console.is_terminal and not console.is_dumb_terminal:
        with LiveView(console, tail) as view:
            yield view
    else:
        yield PlainView(console, tail, verbose=verbose)


class LiveView:
    """A few lines at the bottom of a terminal, drawn anew four times a second."""

    def __init__(self, console: Console, tail: Tail | None = None) -> None:
        self._tail = tail
        self._status: Status | None = None
        self._seen = time.monotonic()
        self._spinner = Spinner("dots", "starting the workers …")
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, status: Status) -> None:
        self._status, self._seen = status, time.monotonic()
        for line in self._tail.lines() if self._tail else ():
            self._live.console.print(
                line, style="dim", highlight=False, markup=False, soft_wrap=True
            )

    def _render(self) -> RenderableType:
        if self._status is None:
            return self._spinner
        return picture(self._status, time.monotonic() - self._seen)


def picture(status: Status, age: float = 0.0) -> Group:
    """The live view of a status that is `age` seconds old."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", min_width=7)
    grid.add_column()
    burnt = Table.grid(padding=(0, 1))
    share = Text(f"{100 * status.spent_share:.0f} % of {status.budget}")
    burnt.add_row(bar(status.spent_share, width=24), share)
    grid.add_row(status.stage, burnt)
    grid.add_row("time", _times(status, age))
    grid.add_row("trials", _trials(status))
    grid.add_row("best", _best(status))
    for number, stage, epoch, epochs, value in status.running[:MOST_RUNNING]:
        row = Table.grid(padding=(0, 1))
        row.add_row(
            bar(epoch / max(epochs, 1), width=12),
            f"epoch {epoch}/{epochs}",
            "" if value is None else percent(value),
            "" if stage == status.stage else stage,
        )
        grid.add_row(f"#{number}", row)
    hidden = len(status.running) - MOST_RUNNING
    if hidden > 0:
        grid.add_row("", f"and {hidden} more")
    hint = Text(HINT, style="dim") if status.notice is None else Text(status.notice, style="yellow")
    return Group(grid, hint)


def bar(share: float, width: int) -> ProgressBar:
    """How much of it is done."""
    return ProgressBar(
        total=1.0, completed=share, width=width, complete_style="cyan", finished_style="green"
    )


class PlainView:
    """A line when something changed, and once a minute, for logs and pipes."""

    def __init__(
        self, console: Console, tail: Tail | None = None, *, verbose: bool = False
    ) -> None:
        self._console, self._tail, self._verbose = console, tail, verbose
        self._shown: object = None
        self._at = float("-inf")

    def __call__(self, status: Status) -> None:
        for line in self._tail.lines() if self._tail else ():
            self._print(f"  {line}")
        news = (
            status.stage, tuple(status.counts.items()), status.best, len(status.running),
            status.notice is None,
        )  # fmt: skip
        now = time.monotonic()
        if now - self._at < (SILENT_SECONDS if news == self._shown else LINE_SECONDS):
            return
        self._shown, self._at = news, now
        self._print(line_of(status))
        if self._verbose:
            for number, _, epoch, epochs, value in status.running:
                told = "" if value is None else f", {percent(value)}"
                self._print(f"  trial {number}: epoch {epoch} of {epochs}{told}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def line_of(status: Status) -> str:
    """A status in one line."""
    parts = [
        f"{status.stage}: {100 * status.spent_share:.0f} % of {status.budget}",
        f"trials {_trials(status)}",
        f"best {_best(status)}",
    ]
    if status.seconds_left is not None:
        parts.append(f"about {show_seconds(status.seconds_left)} left")
    if status.notice is not None:
        parts.append(status.notice)
    return " | ".join(parts)


class Tail:
    """What is appended to a file from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[str]:
        """Whole lines since the last call."""
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._offset += len(whole)
            return whole.decode(errors="replace").splitlines()
        return []


def _times(status: Status, age: float) -> str:
    gone = f"{show_seconds(status.wall_seconds + age)} gone"
    if status.seconds_left is None:
        return gone
    left = max(0.0, status.seconds_left - age)
    end = time.strftime("%H:%M", time.localtime(time.time() + left))
    return f"{gone}, about {show_seconds(left)} left (until {end})"


def _trials(status: Status) -> str:
    ended = counted(status.counts)
    running = f"{len(status.running)} running"
    return f"{running}, {ended}" if ended else running


def _best(status: Status) -> str:
    reference = "" if status.reference is None else f"trial 0 (default) {percent(status.reference)}"
    if status.best is None:
        return f"none yet; {reference}" if reference else "none yet"
    trial, value = status.best
    if trial == 0:
        return reference or percent(value)
    told = f"{percent(value)} by trial {trial}"
    return f"{told}; {reference}" if reference else told

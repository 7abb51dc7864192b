"""A run folder: the only place that reads and writes one. `runs/README.md` says what lies in it.

Every file is written under a temporary name and renamed, so that a crash leaves the old one or
the new one, never half of one; `log.txt` and Optuna's journal only ever grow.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from .errors import RunError

REQUIRED = ("request.yaml", "space.yaml", "environment.json")
TRIAL_COLUMNS = (
    "trial", "stage", "cause", "validation", "epochs", "epoch", "device_seconds",
    "params", "macs", "seed", "candidate", "error",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What was asked of a search; the frozen form of the command line. Paths are absolute."""

    space: str  # the file it was read from
    space_name: str
    space_digest: str  # of run/space.yaml, constants in place
    source_digest: str  # of the file itself, bytes as they were
    shipped: bool  # the file came with the package, so a later version may change it
    data: str
    budget: str
    strategy: str = "tpe"
    seed: int = 0
    device: str = "cpu"
    trials_at_once: int = 1
    gpus_per_trial: float = 0.0
    keep: str = "top:20"
    validation_share: float = 0.1
    constants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """A look at a running search: what its live view shows. Times in seconds."""

    stage: str
    budget: str
    spent_share: float  # of the bound that is nearest to its end, the final training inside
    device_seconds: float
    wall_seconds: float
    seconds_left: float | None  # estimated; None before there is anything to go by
    running: tuple[tuple[int, str, int, int, float | None], ...]  # number, stage, epoch, of, value
    counts: Mapping[str, int]
    best: tuple[int, float] | None  # trial, validation
    reference: float | None  # trial 0's validation


class RunDir:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._csv_cost = 0.0
        self._csv_written = float("-inf")

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def journal(self) -> Path:
        return self.path / "study.journal"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    def trial(self, number: int) -> Path:
        """The folder of one trial: architecture.yaml, metrics.csv, checkpoint.pt."""
        return self.path / "trials" / str(number)

    # --- making and opening -------------------------------------------------------------

    @classmethod
    def create(
        cls, path: Path | None, request: Request, space_text: str, environment: Mapping[str, Any]
    ) -> RunDir:
        """Make the folder, whole or not at all. `path` None: ./runs/<date>-<space>-<n>.

        Raises RunError where `path` holds something already, or cannot be written.
        """
        if path is not None and path.exists() and (not path.is_dir() or any(path.iterdir())):
            held = "a run already" if _is_run(path) else "other files"
            resume = f", or go on with it: nas search --resume {path}" if _is_run(path) else ""
            raise RunError(f"--run-dir {path} holds {held}; name a folder that is empty{resume}")
        parent = (path.parent if path is not None else Path("runs")).absolute()
        try:
            parent.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
        except OSError as error:
            raise RunError(f"the run folder cannot be made in {parent}: {error.strerror}") from None
        made.chmod(0o755)
        (made / "trials").mkdir()
        write_text(made / "request.yaml", to_yaml(asdict(request)))
        write_text(made / "space.yaml", space_text)
        write_text(made / "environment.json", json.dumps(environment, indent=2) + "\n")
        write_text(made / "study.journal", "")
        write_text(made / "log.txt", "")
        return cls(_rename_free(made, path, parent, request.space_name))

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """An existing run. Raises RunError where the folder is none, and says what is missing."""
        folder = Path(path)
        if not folder.is_dir() and (Path("runs") / folder).is_dir():
            folder = Path("runs") / folder
        if not folder.is_dir():
            raise RunError(f"there is no run folder {path}; `nas runs` lists those in ./runs")
        missing = [name for name in (*REQUIRED, "study.journal") if not (folder / name).is_file()]
        if missing:
            raise RunError(f"{path} is no run: it has no {', '.join(missing)}; see `nas runs`")
        return cls(folder)

    @property
    def request(self) -> Request:
        """What was asked. Raises RunError where request.yaml cannot be read."""
        file = self.path / "request.yaml"
        try:
            values = YAML(typ="safe", pure=True).load(file.read_text())
            known = {entry.name for entry in fields(Request)}
            return Request(**{key: value for key, value in values.items() if key in known})
        except (YAMLError, OSError, TypeError, AttributeError) as error:
            raise RunError(f"{file} cannot be read: {' '.join(str(error).split())}") from None

    def write_request(self, request: Request) -> None:
        write_text(self.path / "request.yaml", to_yaml(asdict(request)))

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, hardware, command line of the run's beginning; {} where it cannot be read."""
        try:
            values = json.loads((self.path / "environment.json").read_text())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    @property
    def space_text(self) -> str:
        return (self.path / "space.yaml").read_text()

    # --- who holds it -------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. Raises RunError with the pid and host of the holder.

        The kernel frees the lock when its process dies, however it dies.
        """
        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
                raise RunError(
                    f"{self.path} is in use by another process ({holder or 'unknown'}); "
                    f"wait for it, or stop it: nas stop {self.path}"
                ) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def holder(self) -> str | None:
        """`pid N on HOST` of the process that searches in this folder now, else None."""
        try:
            handle = os.open(self.path / ".lock", os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(handle, 200, 0).decode(errors="replace").strip() or "unknown"
        finally:
            os.close(handle)
        return None

    def ask_to_stop(self) -> None:
        """Leave the word for the process that holds the run; it looks at every report."""
        write_text(self.path / "stop", "stop\n")

    def asked_to_stop(self) -> bool:
        return (self.path / "stop").exists()

    def forget_stop(self) -> None:
        (self.path / "stop").unlink(missing_ok=True)

    # --- what a search leaves -----------------------------------------------------------

    def write_stages(self, state: Mapping[str, Any]) -> None:
        write_text(self.path / "stages.json", json.dumps(state, indent=2) + "\n")

    def stages(self) -> dict[str, Any]:
        """The state of the search: stages, ledger, counts, outcome; {} before the first write."""
        file = self.path / "stages.json"
        if not file.exists():
            return {}
        try:
            state = json.loads(file.read_text())
        except ValueError as error:
            raise RunError(f"{file} cannot be read: {error}") from None
        return state if isinstance(state, dict) else {}

    def write_trials(self, rows: Sequence[Mapping[str, Any]], *, force: bool = False) -> None:
        """trials.csv, whole. Left out while writing it would take over 5 % of the time."""
        now = time.monotonic()
        if not force and now - self._csv_written < 20 * self._csv_cost:
            return
        extra = sorted({key for row in rows for key in row} - set(TRIAL_COLUMNS))
        text = io.StringIO()
        writer = csv.DictWriter(text, [*TRIAL_COLUMNS, *extra], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path / "trials.csv", text.getvalue())
        self._csv_written = time.monotonic()
        self._csv_cost = self._csv_written - now

    def trials(self) -> list[dict[str, str]]:
        """The rows of trials.csv, every value as it was written; [] before the first write."""
        try:
            with (self.path / "trials.csv").open(newline="") as file:
                return list(csv.DictReader(file))
        except FileNotFoundError:
            return []

    def log(self, line: str) -> None:
        """One line into log.txt, with the time in front. A full disk does not end a search."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError), self.log_file.open("a") as file:
            file.write(f"{stamp} {line}\n")


def list_runs(parent: Path) -> list[RunDir]:
    """The runs in a folder, by name."""
    if not parent.is_dir():
        return []
    return [RunDir(path) for path in sorted(parent.iterdir()) if _is_run(path)]


def write_bytes(path: Path, content: bytes) -> None:
    """Write whole or not at all: a temporary name beside it, flushed to disk, then renamed."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def to_yaml(mapping: Mapping[str, Any]) -> str:
    """Plain values as block YAML, in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump(dict(mapping), text)
    return text.getvalue()


def _is_run(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.is_dir() and not hidden and all((path / name).is_file() for name in REQUIRED)


def _rename_free(made: Path, path: Path | None, parent: Path, space: str) -> Path:
    """Give the finished folder its name: `path`, else the first free ./runs/<date>-<space>-<n>."""
    if path is not None:
        if path.exists():
            path.rmdir()  # checked to be empty
        made.rename(path)
        return path
    number = 1
    while True:
        target = parent / f"{date.today():%Y-%m-%d}-{space}-{number}"
        try:
            if not target.exists():
                made.rename(target)
                return target
        except OSError:  # another process took the name in between
            if not target.exists():
                shutil.rmtree(made, ignore_errors=True)
                raise
        number += 1

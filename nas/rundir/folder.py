"""A run and its files. Every file is replaced whole; `log.txt` and the journal only ever grow."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..errors import RunError
from .files import CHECKPOINT, PREVIOUS, advice, is_full, settle, write_bytes, write_text
from .lock import Hold, hold, holder

NEW = ".new-"  # what a run's folder is called while it is made
MOST_IN_A_FIELD = 2**31 - 1  # characters: older runs hold errors whole, however long
NEW_SECONDS = 60.0  # the least age of a half-made one that is swept
REBUILT = ("trials.csv", "stages.json")  # from the study, by `nas doctor`
REQUIRED = ("request.yaml", "space.yaml")
LOST = {  # what to do where a run has lost one of its files, and cannot do without
    "request.yaml": "what was asked stands nowhere else (environment.json holds the command line): "
    "put it back from a copy; best.yaml and trials/ can be used without it",
    "space.yaml": "have it written again: nas doctor {run}",
    "study.journal": "its trials stand nowhere else: put it back from a copy, or begin a new "
    "search; trials.csv, best.yaml and trials/ can be used without it",
}
TRIAL_COLUMNS = (
    "trial", "stage", "cause", "validation", "epochs", "epoch", "device_seconds",
    "params", "macs", "seed", "candidate", "error",
)  # fmt: skip


# how a trial ends that has a result: the budget's end may cut off the best one of all just before
# its last epoch
CANDIDATES = ("finished", "stalled", "budget")
STATE: dict[str, type] = {  # of stages.json: the kind of what is read from it
    "stages": list, "finalists": list, "notes": list, "trials": dict, "budget": dict,
    "results": dict,
}  # fmt: skip


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
    cpus_per_trial: int = 0  # 0: an even share of the CPUs
    auto: list[str] = field(default_factory=list)  # which of the three were measured
    ray_address: str = ""  # of a cluster; "": a Ray of the search's own
    keep: str = "top:20"
    data_digest: str = ""  # of the images and labels; "": the run is older than this field
    validation_share: float = 0.1
    constants: Mapping[str, str] = field(default_factory=dict)
    plugins: list[str] = field(default_factory=list)  # the files that were copied
    storage: str = "journal"  # of the trials: a file in the folder, or a URL without its password
    id: str = ""  # of the run: in a shared storage its studies carry it in their names
    deterministic: bool = False
    retries: int = 2  # of a trial whose worker died
    trial_timeout: float = 600.0  # seconds without a report, after which a worker counts as hung


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
    notice: str | None = None  # what keeps the search from going on


class RunDir:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._csv_cost = 0.0
        self._csv_written = float("-inf")
        self._held: Hold | None = None
        self.taken_over: str | None = None  # what was said when a dead host's lock was taken

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

    def put_aside(self, number: int) -> bool:
        """Before a trial begins under that number: the folder of another one, whose records the
        journal lost, goes to trials.lost/. Whether there was one that had been trained."""
        folder = self.trial(number)
        if not any((folder / name).exists() for name in ("metrics.csv", CHECKPOINT, PREVIOUS)):
            return False
        place = self.path / "trials.lost" / str(number)
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(exist_ok=True)
        folder.replace(place)
        return True

    def copy_checkpoint(self, source: int, target: int) -> bool:
        """Give a trial the checkpoint of another one; whether there was one."""
        file = self.trial(source) / CHECKPOINT
        if not file.is_file():
            return False
        write_bytes(self.trial(target) / CHECKPOINT, file.read_bytes())
        return True

    def settle(self, number: int) -> None:
        """The trial has ended: the checkpoint before its last one goes."""
        settle(self.trial(number))

    # --- making and opening -------------------------------------------------------------

    @classmethod
    def create(
        cls, path: Path | None, request: Request, space_text: str, environment: Mapping[str, Any]
    ) -> RunDir:
        """Make the folder, whole or not at all. `path` None: ./runs/<date>-<space>-<n>.

        Raises RunError where `path` holds something already, or cannot be written.
        """
        if path is not None:
            _refuse_taken(path)
        parent = (path.parent if path is not None else Path("runs")).absolute()
        made = None
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _sweep(parent)
            made = Path(tempfile.mkdtemp(prefix=NEW, dir=parent))
            with _kept(made):
                _write_first(made, request, space_text, environment)
                return cls(_rename_free(made, path, parent, request.space_name))
        except OSError as error:
            if made is not None:
                shutil.rmtree(made, ignore_errors=True)
            raise RunError(
                f"the run folder cannot be made in {parent} ({error.strerror}): "
                f"{f'{advice(error)}, or ' if is_full(error) else ''}name one elsewhere with "
                "--run-dir"
            ) from None

    @classmethod
    def open(cls, path: str | Path, *, without: Container[str] = ()) -> RunDir:
        """An existing run. Raises RunError where the folder is none, or has lost a file, and says
        what to do; `without`: files that it may have lost."""
        folder = Path(path)
        if not folder.is_dir() and (Path("runs") / folder).is_dir():
            folder = Path("runs") / folder
        if not str(path) or not folder.is_dir():
            what = "is a file" if folder.is_file() else "does not exist"
            raise RunError(f"the run folder {str(path)!r} {what}; `nas runs` lists those in ./runs")
        missing = [name for name in REQUIRED if not (folder / name).is_file()]
        own = missing or cls(folder).request.storage == "journal"
        if own and not (folder / "study.journal").is_file():
            missing.append("study.journal")
        if not any((folder / name).is_file() for name in (*LOST, *REBUILT)):
            raise RunError(f"{path} is no run: it has no {', '.join(missing)}; see `nas runs`")
        for name in missing:
            if name not in without:
                raise RunError(f"{path} has lost its {name}: {LOST[name].format(run=path)}")
        return cls(folder)

    @property
    def request(self) -> Request:
        """What was asked. Raises RunError where request.yaml cannot be read."""
        file = self.path / "request.yaml"
        try:
            values = YAML(typ="safe", pure=True).load(file.read_text())
        except (YAMLError, OSError, ValueError) as error:
            raise _damaged(file, _reason(error)) from None
        return _request(values, file)

    @property
    def plugins(self) -> list[Path]:
        """The run's own copies of its plug-ins: what resumes and workers import.

        Raises RunError where one of them is gone.
        """
        sources = [Path(source) for source in self.request.plugins]
        copies = [self.path / "plugins" / source.name for source in sources]
        gone = [source for source, copy in zip(sources, copies, strict=True) if not copy.is_file()]
        if gone:
            raise RunError(_lost_plugins(self.path, gone))
        return copies

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
    def lock(self, tell: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Hold the run for this process. Raises RunError with the pid and host of the holder.

        Taking it over from a host that died is logged, and stands in `taken_over`; `tell` hears
        what is waited for before.
        """
        with hold(self.path, tell) as self._held:
            self.taken_over = self._held.taken_over
            if self.taken_over:
                self.log(self.taken_over)
            try:
                yield
            finally:
                self._held = None

    def holder(self) -> str | None:
        """`pid N on HOST` of the process that searches in this folder now, else None."""
        return holder(self.path)

    def ask_to_stop(self) -> None:
        """Leave the word for the process that holds the run; it looks at every report."""
        write_text(self.path / "stop", "stop\n")

    def asked_to_stop(self) -> bool:
        """Somebody left the word, or has taken the run over while this process stood still."""
        return (self.path / "stop").exists() or (self._held is not None and self._held.lost)

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
        except (OSError, ValueError) as error:
            raise _damaged(file, _reason(error)) from None
        if not isinstance(state, dict):
            raise _damaged(file, f"it holds {_kind(state)}, not a mapping")
        for key, kind in STATE.items():
            if not isinstance(state.get(key, kind()), kind | None):
                raise _damaged(file, f"{key} is {_kind(state[key])}, not a {kind.__name__}")
        return state

    def write_trials(self, text: Callable[[], str], *, force: bool = False) -> None:
        """trials.csv, whole. Left out while writing it would take over 5 % of the time."""
        now = time.monotonic()
        if not force and now - self._csv_written < 20 * self._csv_cost:
            return
        write_text(self.path / "trials.csv", text())
        self._csv_written = time.monotonic()
        self._csv_cost = self._csv_written - now

    def trials(self) -> list[dict[str, str]]:
        """The rows of trials.csv, every value as it was written; [] before the first write."""
        csv.field_size_limit(MOST_IN_A_FIELD)
        try:
            with (self.path / "trials.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, csv.Error) as error:
            raise _damaged(self.path / "trials.csv", _reason(error)) from None
        missing = [name for name in TRIAL_COLUMNS if rows and rows[0].get(name) is None]
        if missing:
            raise _damaged(self.path / "trials.csv", f"it has no column {missing[0]}")
        return rows

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


def to_yaml(mapping: Mapping[str, Any]) -> str:
    """Plain values as block YAML, in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump(dict(mapping), text)
    return text.getvalue()


def _refuse_taken(path: Path) -> None:
    """--run-dir makes a folder of its own. Raises RunError where there is something already."""
    if path.absolute() == Path.cwd():
        raise RunError("--run-dir names the working folder itself; name a new one, such as ./run1")
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise RunError(f"--run-dir {path} is no folder; name one that is new or empty")
    if _is_run(path):
        raise RunError(
            f"--run-dir {path} holds a run already; name a folder that is empty, or go on with "
            f"it: nas search --resume {path}"
        )
    if any(path.iterdir()):
        raise RunError(f"--run-dir {path} holds other files; name a folder that is empty")


KINDS = {
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "float": (int | float, "a number"),
    "bool": (bool, "true or false"),
    "Mapping[str, str]": (Mapping, "a mapping"),
    "list[str]": (list, "a list"),
}


def _request(values: object, file: Path) -> Request:
    """What stands in request.yaml, each value of its kind. Raises RunError."""
    if not isinstance(values, Mapping):
        raise _damaged(file, f"it holds {_kind(values)}, not a mapping")
    found = {}
    for entry in fields(Request):
        kind, words = KINDS[str(entry.type)]
        if entry.name not in values:
            if entry.default is MISSING and entry.default_factory is MISSING:
                raise _damaged(file, f"it has no {entry.name}")
            continue
        value = found[entry.name] = values[entry.name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _damaged(file, f"{entry.name} is {value!r}, not {words}")
    return Request(**found)


def _damaged(file: Path, what: str) -> RunError:
    if file.name in REBUILT:
        return RunError(
            f"{file} cannot be read ({what}): have it rebuilt from the study: nas doctor "
            f"{file.parent}"
        )
    return RunError(
        f"{file} cannot be read ({what}): nas wrote it, so put it back as it was, or begin a new "
        "search"
    )


def _lost_plugins(run: Path, sources: Sequence[Path]) -> str:
    """Their text is noted nowhere else: whether a source is still the same, its user knows."""
    names = ", ".join(f"plugins/{source.name}" for source in sources)
    said = f"{run} has lost its {names}: put back what was there when the run began"
    there = [str(source) for source in sources if source.is_file()]
    if not there:
        return f"{said}, from a copy"
    words = " ".join(map(shlex.quote, there))
    folder = shlex.quote(f"{run}/plugins")
    return f"{said}; if not changed since: mkdir -p {folder} && cp {words} {folder}"


def _reason(error: Exception) -> str:
    """One clause of an error that takes many lines."""
    mark = getattr(error, "problem_mark", None)
    line = f"line {mark.line + 1}: " if mark is not None else ""
    return line + " ".join(str(getattr(error, "problem", None) or error).split())


def _kind(value: object) -> str:
    names: dict[type, str] = {dict: "a mapping", list: "a list", str: "text"}
    return names.get(type(value), repr(value))


def _is_run(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.is_dir() and not hidden and all((path / name).is_file() for name in REQUIRED)


def _write_first(
    made: Path, request: Request, space_text: str, environment: Mapping[str, Any]
) -> None:
    made.chmod(0o755)
    (made / "trials").mkdir()
    write_text(made / "request.yaml", to_yaml(asdict(request)))
    write_text(made / "space.yaml", space_text)
    for source in request.plugins:
        (made / "plugins").mkdir(exist_ok=True)
        shutil.copyfile(source, made / "plugins" / Path(source).name)
    write_text(made / "environment.json", json.dumps(environment, indent=2) + "\n")
    if request.storage == "journal":
        write_text(made / "study.journal", "")
    write_text(made / "log.txt", "")


@contextlib.contextmanager
def _kept(made: Path) -> Iterator[None]:
    """A sign for `_sweep` that this folder's maker lives."""
    handle = os.open(made, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(parent: Path) -> None:
    """Remove half-made runs of processes that were killed in the middle of it."""
    for made in parent.glob(f"{NEW}*"):
        with contextlib.suppress(OSError):
            handle = os.open(made, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - made.stat().st_mtime > NEW_SECONDS:
                    shutil.rmtree(made, ignore_errors=True)
            finally:
                os.close(handle)


def _rename_free(made: Path, path: Path | None, parent: Path, space: str) -> Path:
    """Give the finished folder its name: `path`, else the first free ./runs/<date>-<space>-<n>."""
    if path is not None:
        if path.exists():
            path.rmdir()  # checked to be empty
        made.rename(path)
        return path
    number = 1
    while True:
        target = parent / f"{date.today():%Y-%m-%d}-{space[:80]}-{number}"
        try:
            if not target.exists():
                made.rename(target)
                return target
        except OSError:  # another process took the name in between
            if not target.exists():
                raise
        number += 1

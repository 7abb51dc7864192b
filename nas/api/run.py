"""A run as Python sees it: the folder's content as objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from ..export import Model, load_model
from ..report.summary import summary
from ..rundir import TRIAL_COLUMNS, RunDir
from ..space import Architecture, load, require_architecture

if TYPE_CHECKING:
    import optuna
    import pandas

FINAL = "final"
WHOLE = ("trial", "epochs", "epoch", "params", "macs", "seed", "candidate")
WORDS = ("stage", "cause", "error")


@dataclass(frozen=True)
class Network:
    """A network that a run found, trained and exported. Accuracies are fractions.

    validation, validation_std  mean and spread over the seeds of the final training
    test                        None where the search was broken off before its final training
    """

    architecture: Architecture
    file: Path
    weights: Path
    trial: int
    validation: float
    validation_std: float
    test: float | None
    params: int
    macs: int

    def load(self) -> Model:
        """The trained network, in evaluation mode, on the CPU."""
        return load_model(self.file, self.weights)


class Run:
    """A search's folder. Everything is read when it is asked for: a running search can be watched.

    best       the winner, None before the export
    reference  trial 0, the space's default network, trained the same way
    trials     one row a trial, with its decisions (pandas)
    study      Optuna's study of the last search stage
    """

    def __init__(self, folder: RunDir) -> None:
        self._folder = folder

    @property
    def path(self) -> Path:
        return self._folder.path

    @property
    def name(self) -> str:
        return self._folder.name

    @property
    def summary(self) -> dict[str, Any]:
        """The object that `nas search --json` prints."""
        return summary(self._folder)

    @property
    def best(self) -> Network | None:
        return _network(self.summary["best"])

    @property
    def reference(self) -> Network | None:
        return _network(self.summary["reference"])

    @property
    def trials(self) -> pandas.DataFrame:
        import pandas

        file = self.path / "trials.csv"
        if not file.exists():
            return pandas.DataFrame(columns=list(TRIAL_COLUMNS))
        types = {**dict.fromkeys(WHOLE, "Int64"), **dict.fromkeys(WORDS, "string")}
        return pandas.read_csv(file, dtype=types)

    @property
    def study(self) -> optuna.Study:
        """Raises RunError where nothing was asked of Optuna yet."""
        from ..search.run import open_studies

        studies = open_studies(self._folder, mend=False)
        stages = [name for name in studies.names() if name != FINAL]
        if not stages:
            raise RunError(f"{self.path} has no study yet: its search has not begun")
        return studies.study(stages[-1])

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.summary['state']})"


def open_run(path: str | Path) -> Run:
    """The run of a folder, finished or not. Raises RunError where it is none."""
    return Run(RunDir.open(path))


def _network(entry: Mapping[str, Any] | None) -> Network | None:
    if entry is None:
        return None
    file = Path(entry["architecture"])
    return Network(
        architecture=require_architecture(load(file)),
        file=file,
        weights=Path(entry["weights"]),
        trial=entry["trial"],
        validation=entry["validation"],
        validation_std=entry["validation_std"],
        test=entry["test"],
        params=entry["params"],
        macs=entry["macs"],
    )

"""What a trial was trained under, beside its architecture file: all that its curve depends on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import RunError
from ..rundir import write_text
from .work import Ask

FILE = "conditions.json"


@dataclass(frozen=True)
class Conditions:
    """`threads`: pairs (epoch, threads of the CPU from its end on): sums depend on their number.

    A trial has more than one pair where it went on elsewhere, with another number of them.
    """

    epochs: int  # over which its learning rate annealed; it may have ended earlier
    seed: int
    early_stopping: bool
    device: str
    deterministic: bool
    torch: str
    threads: tuple[tuple[int, int], ...]
    gpus: int = 1  # over which each batch was split

    def threads_after(self, epoch: int) -> int:
        """How many threads trained the epoch that follows."""
        begun = [threads for after, threads in self.threads if after <= epoch]
        return begun[-1] if begun else self.threads[0][1]


def note(ask: Ask, device: str, epoch: int, gpus: int = 1) -> None:
    """Write down that the trial goes on after `epoch` (0: begins) in this process."""
    file = Path(ask.folder) / FILE
    earlier = _earlier(file, epoch)
    now = torch.get_num_threads()
    if not earlier or earlier[-1][1] != now:
        earlier = (*earlier, (epoch, now))
    conditions = Conditions(
        epochs=ask.epochs,
        seed=ask.seed,
        early_stopping=ask.early_stopping,
        device=device,
        deterministic=torch.are_deterministic_algorithms_enabled(),
        torch=str(torch.__version__),
        threads=earlier,
        gpus=gpus,
    )
    write_text(file, json.dumps(asdict(conditions)) + "\n")


def read(folder: Path) -> Conditions:
    """Of the trial in that folder. Raises RunError where it cannot be read."""
    file = folder / FILE
    if not file.is_file():
        raise RunError(f"{folder} has no {FILE}: the trial was not begun, or by an older nas")
    try:
        values: dict[str, Any] = json.loads(file.read_text())
        threads = tuple((int(epoch), int(number)) for epoch, number in values["threads"])
        return replace(Conditions(**values), threads=threads)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{file} cannot be read ({reason}): put it back as it was") from None


def _earlier(file: Path, epoch: int) -> tuple[tuple[int, int], ...]:
    """The pairs of epochs that still count: what lies behind is trained again now."""
    if epoch == 0 or not file.is_file():
        return ()
    try:
        return tuple(pair for pair in read(file.parent).threads if pair[0] < epoch)
    except RunError:
        return ()

"""A trial's checkpoint: written whole, and gone on from where it is of this very training.

What cannot be that, a torn file or one of another training (copied there by mistake), is left
aside: the one before it is taken, or the training starts again.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..rundir import CHECKPOINT, PREVIOUS, checkpoint_fault, write_checkpoint
from ..train.loop import Trainer

# what reading a file that is no checkpoint, or a state of another training, may raise
UNUSABLE = (
    RuntimeError, LookupError, TypeError, AttributeError, ValueError, EOFError, OSError,
    pickle.UnpicklingError, UserError,
)  # fmt: skip


def save(trainer: Trainer, folder: Path, digest: str) -> None:
    """The trainer's state, whole or not at all; `digest` says of which network and recipe."""
    content = io.BytesIO()
    torch.save({"digest": digest, "state": trainer.state()}, content)
    write_checkpoint(folder, content.getvalue())


def restore(trainer: Trainer, folder: Path, digest: str) -> bool:
    """Go on from the last checkpoint that can be used; whether there was one."""
    return any(_restore(trainer, folder / name, digest) for name in (CHECKPOINT, PREVIOUS))


def _restore(trainer: Trainer, path: Path, digest: str) -> bool:
    if not path.exists():
        return False
    before = trainer.state()
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["digest"] != digest:
            return False
        trainer.load_state(saved["state"])
    except UNUSABLE:
        trainer.load_state(before)  # it may have taken some of the other's weights
        return False
    return True


def fault_of(path: Path, plan: Mapping[str, Any]) -> str | None:
    """Why the checkpoint cannot be gone on from by the trial of that plan; None: it can."""
    fault = checkpoint_fault(path)
    if fault is not None:
        return fault
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        digest, training = saved["digest"], saved["state"]["training"]
        found = {key: training[key] for key in ("seed", "epochs")}
    except UNUSABLE:
        return "it is no checkpoint of a training"
    if digest != plan["digest"]:
        return "it is of another training, of another network or recipe"
    for key, value in found.items():
        if value != plan[key]:
            return f"it is of another training (its {key}: {value}, this trial's: {plan[key]})"
    return None

"""What goes into a checkpoint, and whether one fits the training that wants to go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import UserError


def snapshot(value: Any) -> Any:
    """A copy in plain containers, tensors on the CPU: further steps do not show in it, and
    `torch.load(..., weights_only=True)` reads it back."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: snapshot(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [snapshot(inner) for inner in value]
    return value


def check_same_training(saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raises UserError, with the first difference, unless both say the same of their training."""
    for key in own:
        if saved.get(key) != own[key]:
            raise UserError(
                f"the checkpoint was trained with {key} {saved.get(key)!r}, this training has "
                f"{own[key]!r}: it cannot go on from there; give the same value or start anew"
            )

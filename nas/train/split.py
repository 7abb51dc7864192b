"""One training on several devices: each computes its part of every batch.

What `torch.nn.DataParallel` does, in one process. The weights are copied to the other devices for
each step by autograd itself, so that their gradients come back and add up; loss, optimizer and
checkpoint know one network. Batch norm takes its statistics of each part alone, and keeps those
of the first. It pays for networks that fill a device; small ones wait for the copies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

LEAST = 2  # images in a part: one alone has no statistics


class Split(nn.Module):
    """`model`, which lies on the first device, computed on all of them. Same input and output."""

    def __init__(self, model: nn.Module, others: Sequence[torch.device]) -> None:
        super().__init__()
        self.model, self.others = model, tuple(others)
        self._side_heads: list[Any] = [m for m in model.modules() if hasattr(m, "side_logits")]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of x (N, C, H, W), both on the first device."""
        number = min(1 + len(self.others), len(x) // LEAST)
        if number < 2:
            logits: Tensor = self.model(x)
            return logits
        first, *parts = torch.tensor_split(x, number)
        # all copies before any work: a copy waits for what its source was given to do before it
        elsewhere = [
            (device, part.to(device), self._weights(device))
            for device, part in zip(self.others, parts, strict=False)
        ]
        found = [self.model(first)]
        side = [self._take_side_logits()]
        for device, part, weights in elsewhere:
            with _on(device):
                found.append(functional_call(self.model, weights, (part,)))
            side.append(self._take_side_logits())
        for index, head in enumerate(self._side_heads):
            head.side_logits = _gathered([logits[index] for logits in side], x.device)
        gathered = _gathered(found, x.device)
        assert gathered is not None
        return gathered

    def _weights(self, device: torch.device) -> dict[str, Tensor]:
        weights = {name: value.to(device) for name, value in self.model.named_parameters()}
        # what is counted in place there (batch norm's averages) is not counted here too
        return weights | {
            name: value.to(device, copy=True) for name, value in self.model.named_buffers()
        }

    def _take_side_logits(self) -> list[Tensor | None]:
        taken = [head.side_logits for head in self._side_heads]
        for head in self._side_heads:
            head.side_logits = None
        return taken


def _gathered(parts: Sequence[Tensor | None], device: torch.device) -> Tensor | None:
    there = [part.to(device) for part in parts if part is not None]
    return torch.cat(there) if there else None


def _on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()

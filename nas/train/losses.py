"""From the losses of the steps, on the device, to numbers on the host, without stalling it.

`loss.item()` after every step makes the host wait until the device has caught up, and the device
then waits for the host to send more. So where the device works on its own, the values follow a
few steps behind.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import torch
from torch import Tensor

# Steps that a value may be behind. Waiting for a loss four steps old never idles the device, and
# it also keeps the host from running so far ahead that a stop would come late.
LAG = 4


class LossReader(Protocol):
    """Takes device losses in, gives host values out, in order."""

    def push(self, loss: Tensor) -> list[float]:
        """Take the loss of a step; the values that are known by now and were not before."""

    def drain(self) -> list[float]:
        """Wait for the rest."""


class HostReader:
    """For the CPU: the value is there when the step is done."""

    def push(self, loss: Tensor) -> list[float]:
        return [loss.item()]

    def drain(self) -> list[float]:
        return []


class BlockReader:
    """For devices without copies in the background: one read for LAG steps."""

    def __init__(self) -> None:
        self._waiting: list[Tensor] = []

    def push(self, loss: Tensor) -> list[float]:
        self._waiting.append(loss)
        return self.drain() if len(self._waiting) >= LAG else []

    def drain(self) -> list[float]:
        if not self._waiting:
            return []
        values = [float(value) for value in torch.stack(self._waiting).tolist()]
        self._waiting.clear()
        return values


class CudaReader:
    """For CUDA: each loss is copied into pinned memory behind its step, an event marks the end.

    A value is read when its event is complete; only one LAG steps old is waited for.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._slots = torch.empty(LAG + 1, dtype=torch.float32, pin_memory=True)
        self._events: list[Any] = [_event() for _ in range(LAG + 1)]
        self._waiting: deque[int] = deque()
        self._next = 0

    def push(self, loss: Tensor) -> list[float]:
        slot, self._next = self._next, (self._next + 1) % (LAG + 1)
        self._slots[slot].copy_(loss, non_blocking=True)
        self._events[slot].record(torch.cuda.current_stream(self._device))
        self._waiting.append(slot)
        values = [self._read()] if len(self._waiting) > LAG else []
        while self._waiting and self._events[self._waiting[0]].query():
            values.append(self._read())
        return values

    def drain(self) -> list[float]:
        return [self._read() for _ in range(len(self._waiting))]

    def _read(self) -> float:
        slot = self._waiting.popleft()
        self._events[slot].synchronize()
        return float(self._slots[slot].item())


def _event() -> Any:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def make_reader(device: torch.device) -> LossReader:
    """The reader for a device."""
    if device.type == "cuda":
        return CudaReader(device)
    return HostReader() if device.type == "cpu" else BlockReader()

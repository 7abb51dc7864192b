"""A plug-in whose cell does what a cell can do wrong: on real images alone, not when priced."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Literal

import torch
from torch import Tensor, nn

from nas.models import operator

Fault = Literal[
    "none", "init", "raise", "raise_late", "tuple", "text", "misfit", "allocate", "memory_error",
    "cuda_memory", "cublas", "nan_in_validation", "infinite_in_validation", "infinite_loss",
    "segfault", "kill", "exit", "hang", "hog", "interrupt", "leave", "wordless",
]  # fmt: skip


class Wordless(RuntimeError):
    """An error that cannot be shown, as one that looks at what is not there."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


@operator("own_faulty")
class Faulty(nn.Module):
    """The identity, times a learned scale, but for its `fault`. `units` tell candidates apart."""

    def __init__(self, in_channels: int, fault: Fault = "none", units: int = 1):
        super().__init__()
        if fault == "init":
            raise ValueError("this cell cannot be made")
        self.fault = fault
        self.scale = nn.Parameter(torch.ones(units))

    def forward(self, x: Tensor) -> Tensor:
        if x.is_meta:
            return x * self.scale.mean()
        return self._misbehave(x * self.scale.mean())  # (N, C, H, W)

    def _misbehave(self, x: Tensor) -> Tensor:
        match self.fault:
            case "raise":
                raise ValueError(f"shape {tuple(x.shape)} at {id(x):#x}")
            case "raise_late" if self.training and len(x) % 256:
                raise ValueError("only whole batches")
            case "interrupt":
                raise KeyboardInterrupt
            case "wordless":
                raise Wordless
            case "leave":
                raise SystemExit(3)
            case "tuple":
                return (x, x)
            case "text":
                return "a text"
            case "misfit":
                return x[:-1]
            case "nan_in_validation" if not self.training:
                return x * float("nan")
            case "infinite_in_validation" if not self.training:
                return x * float("inf")
            case "infinite_loss" if self.training:
                return x * float("inf")
        self._run_out_of_memory()
        self._take_the_process_along()
        return x

    def _run_out_of_memory(self) -> None:
        match self.fault:
            case "allocate":
                torch.empty(1 << 50)
            case "memory_error":
                raise MemoryError
            case "cuda_memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")
            case "cublas":
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublas")
            case "hog":
                hoard = []
                while True:
                    hoard.append(torch.ones(1 << 24))

    def _take_the_process_along(self) -> None:
        match self.fault:
            case "segfault":
                ctypes.string_at(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "hang":
                time.sleep(100_000)

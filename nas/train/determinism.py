"""The same figures each time, on a GPU too."""

from __future__ import annotations

import os

import torch


def be_deterministic() -> None:
    """For the rest of the process: only computations that repeat exactly, at some speed.

    Before the process has used a GPU, because cuBLAS reads its setting once. An operation that
    has no such form on a GPU raises RuntimeError, which names it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False

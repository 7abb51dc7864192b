"""What keeps trials on one GPU out of each other's memory."""

from __future__ import annotations

import torch

from ..pilot import CONTEXT
from ..placement import Placement

LEAST = 0.02  # of a GPU


def share_gpu(placement: Placement) -> None:
    """Hold this process to its share of a GPU's memory, where trials share one.

    A candidate that needs more runs out of memory itself, and not its neighbours.
    """
    share = placement.gpus_per_trial
    if placement.device != "cuda" or not 0 < share < 1:
        return
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(max(LEAST, share - CONTEXT / total), 0)

"""What trials can run on: this machine, or the nodes of a cluster."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..errors import UserError
from ..units import counted
from . import container


@dataclass(frozen=True)
class Node:
    """A machine that trials run on."""

    name: str
    cpus: int
    gpus: int = 0
    gpu: str = ""  # what its GPUs are called
    gpu_memory: int = 0  # bytes, of the smallest of them

    def words(self) -> str:
        """ "node7: 16 CPUs, 2 GPUs (NVIDIA H100)"."""
        called = f" ({self.gpu})" if self.gpu else ""
        gpus = f", {counted(self.gpus, 'GPU')}{called}" if self.gpus else ", no GPU"
        return f"{self.name}: {counted(self.cpus, 'CPU')}{gpus}"

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Node:
        return cls(**record)


def this_machine() -> Node:
    """What this process may use here."""
    gpus = torch.cuda.device_count()
    properties = [torch.cuda.get_device_properties(index) for index in range(gpus)]
    return Node(
        name=platform.node() or "this machine",
        cpus=available_cpus(),
        gpus=gpus,
        gpu=properties[0].name if properties else "",
        gpu_memory=min((int(each.total_memory) for each in properties), default=0),
    )


def available_cpus() -> int:
    """CPUs that this process may use, not those that the machine has."""
    affine = hasattr(os, "sched_getaffinity")
    cpus = len(os.sched_getaffinity(0)) if affine else os.cpu_count() or 1
    return min(cpus, container.cpu_limit() or cpus)


def machine_memory() -> int:
    """Bytes of this machine's main memory, those that this container may have."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(there, container.memory_limit() or there)


def device_memory(device: str, nodes: Sequence[Node] = ()) -> int:
    """Bytes that a training can have at the very most: of the GPU, else of the machine."""
    if device != "cuda":
        return machine_memory()
    if nodes:
        return min(node.gpu_memory for node in nodes if node.gpus)
    return int(torch.cuda.get_device_properties(0).total_memory)


def pick_device(asked: str | None) -> str:
    """`cuda` or `mps` where there is one, else `cpu`; what is asked for must be there."""
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if asked is None:
        return next(name for name in ("cuda", "mps", "cpu") if present[name])
    _known_device(asked)
    if not present[asked]:
        there = ", ".join(name for name, here in present.items() if here)
        raise UserError(f"--device {asked}: torch sees none on this machine; it sees {there}")
    return asked


def pick_cluster_device(asked: str | None, nodes: Sequence[Node]) -> str:
    """`cuda` where the cluster has a GPU, else `cpu`. Raises UserError with what it has."""
    gpus = sum(node.gpus for node in nodes)
    if asked is None:
        return "cuda" if gpus else "cpu"
    _known_device(asked)
    if asked == "mps":
        raise UserError("--device mps is of one machine alone; on a cluster it is cpu or cuda")
    if asked == "cuda" and not gpus:
        raise UserError(f"--device cuda: the cluster has no GPU ({inventory(nodes)}); use cpu")
    return asked


def inventory(nodes: Sequence[Node]) -> str:
    """ "2 nodes: vm: 1 CPU, no GPU; …", at most four of them."""
    shown = "; ".join(node.words() for node in nodes[:4])
    more = f"; and {len(nodes) - 4} more" if len(nodes) > 4 else ""
    return f"{counted(len(nodes), 'node')}: {shown}{more}"


def here(device: str) -> str:
    """The device for what the driver itself does: a cluster's GPUs may be nowhere near."""
    return "cpu" if device == "cuda" and not torch.cuda.is_available() else device


def gpus_here(device: str, gpus: int) -> int:
    """Of so many GPUs for one training, those that there are for what the driver itself does."""
    return max(1, min(gpus, torch.cuda.device_count())) if device == "cuda" else 1


def _known_device(asked: str) -> None:
    if asked not in ("cpu", "cuda", "mps"):
        raise UserError(f"--device {asked!r} must be one of cpu, cuda, mps")

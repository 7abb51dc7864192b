"""What `auto` measures on a cluster: the same, by a task on one of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ray

from ...data import ImageData
from ...errors import UserError
from ...plugins import Plugin, read_plugin
from ...space import Architecture, Space, fill
from ..loadtest import Pilots, beyond_default
from ..machine import Node
from ..placement import Level, Settled, Threads, settle
from .cluster import joined

WAIT_SECONDS = 180.0  # for a node to be free, and for the measurement


def settled_there(
    address: str,
    nodes: Sequence[Node],
    space: Space | Architecture,
    data: ImageData,
    device: str,
    *,
    plugins: Sequence[str | Path] = (),
) -> Settled:
    """What `place` asks of, answered by the cluster's largest node."""
    first = fill(space, space.default()) if isinstance(space, Space) else space
    texts = [read_plugin(Path(plugin)) for plugin in plugins]

    def settled(most: int, threads: Threads, memory: int) -> tuple[Level, list[Level]]:
        node = max(nodes, key=lambda node: (node.gpus if device == "cuda" else 0, node.cpus))
        cpus = node.cpus // node.gpus if device == "cuda" else node.cpus
        beyond = beyond_default(space, first, data)
        with joined(address):
            task = ray.remote(_measure).options(
                num_cpus=max(1, cpus), num_gpus=int(device == "cuda"), max_retries=0
            )
            steps = {trials: threads(trials) for trials in range(1, most + 1)}
            answer = task.remote(
                first, ray.put(data.without_test()), device, texts, beyond, most, steps, memory
            )
            try:
                level, measured = ray.get(answer, timeout=WAIT_SECONDS)
            except ray.exceptions.GetTimeoutError:
                raise UserError(
                    f"auto: no node of the cluster {address} was free for {WAIT_SECONDS:.0f} s "
                    "to measure on; give numbers, or come back later"
                ) from None
            except ray.exceptions.RayTaskError as error:
                raise UserError(f"auto: {error.cause}") from None
        return level, measured

    return settled


def _measure(
    first: Architecture, data: ImageData, device: str, texts: Sequence[Plugin],
    beyond: int, most: int, threads: dict[int, Sequence[int]], memory: int,
) -> tuple[Level, list[Level]]:  # fmt: skip
    with Pilots(first, data, device, plugins=texts, beyond=beyond) as pilots:
        return settle(pilots.measure, most, threads.__getitem__, memory)

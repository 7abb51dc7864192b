"""A look at a cluster, by a process of its own: joins it, asks each node, prints what it has."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from typing import Any

from .address import JOIN_SECONDS
from .environment import keep_to_loopback  # before Ray: it reads the environment on import

# isort: split
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def main(address: str, loopback_alone: str) -> None:
    """Print one line of JSON: `nodes`, or `error`."""
    keep_to_loopback(loopback_alone == "1")
    late = threading.Timer(JOIN_SECONDS, _too_late)
    late.daemon = True
    late.start()
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (Exception, SystemExit) as error:
        _say({"error": _sentence(error)})
        return
    late.cancel()
    try:
        _say({"nodes": _nodes()})
    except Exception as error:
        _say({"error": _sentence(error)})
    finally:
        ray.shutdown()


def _nodes() -> list[dict[str, Any]]:
    alive = [node for node in ray.nodes() if node["Alive"]]
    with_gpus = [node for node in alive if node["Resources"].get("GPU")]
    looked = {
        node["NodeID"]: ray.remote(_look)
        .options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        .remote()
        for node in with_gpus
    }
    gpus = {node: ray.get(look) for node, look in looked.items()}
    found = []
    for node in alive:
        name, memory = gpus.get(node["NodeID"], ("", 0))
        resources = node["Resources"]
        host = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        # a GPU that torch cannot use is none
        count = int(resources.get("GPU", 0)) if memory else 0
        found.append({
            "name": host, "cpus": int(resources.get("CPU", 0)), "gpus": count, "gpu": name,
            "gpu_memory": memory,
        })  # fmt: skip
    return sorted(found, key=lambda each: str(each["name"]))


def _look() -> tuple[str, int]:
    """What the node's GPUs are called, and bytes of the smallest; no CUDA is begun."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides them from what asked for none
    import torch

    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return (found[0].name, min(int(each.total_memory) for each in found)) if found else ("", 0)


def _too_late() -> None:
    _say({"error": f"no Ray answered there within {JOIN_SECONDS:.0f} s; is it a cluster's head?"})
    os._exit(1)


def _sentence(error: BaseException) -> str:
    """Ray's words in one line: of the cause where it names one."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    said = " ".join(str(cause).split())
    marks = ("AuthenticationError:", "Version mismatch:")
    for mark in marks:
        with contextlib.suppress(ValueError):
            said = said[said.index(mark) :]
    return said[:600] or type(error).__name__


def _say(told: dict[str, Any]) -> None:
    print("\n" + json.dumps(told), flush=True)

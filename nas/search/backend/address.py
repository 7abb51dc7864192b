"""Which cluster is meant, whether anybody answers there, and what it has."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..machine import Node

ANSWER_SECONDS = 5.0  # for a connection
JOIN_SECONDS = 15.0  # Ray itself tries for two minutes, then ends the process that asked
SURVEY_SECONDS = 60.0  # for each node to start a worker and look at its GPUs
HERE = ("127.0.0.1", "localhost", "::1")
PROGRAM = "import sys; from nas.search.backend.survey import main; main(*sys.argv[1:])"


def check_address(asked: str) -> None:
    """`auto`, or a `host:port` where somebody answers. Raises UserError at once.

    `auto` is Ray's own word, and stays one: Ray finds what runs on this machine, or RAY_ADDRESS.
    """
    if asked == "auto":
        return
    host, _, port = asked.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in asked:
        raise UserError(
            f"--ray-address {asked!r} must be auto, or the host:port that `ray start --head` "
            "printed, such as 10.0.0.5:6379"
        )
    if not _answers(host, int(port)):
        raise UserError(
            f"--ray-address {asked}: nobody answers there; start the cluster (ray start --head), "
            "or have it run on this machine alone: --ray-address local"
        )


def on_loopback(address: str) -> bool:
    """Whether the cluster is reached by the loopback address alone.

    Ray takes `127.0.0.1` for this machine's own address, where such a cluster does not answer.
    """
    if address == "auto":
        return sys.platform in ("darwin", "win32")  # as Ray has it
    host, _, port = address.rpartition(":")
    return host in HERE and not _answers(_own_address(), int(port))


def survey(address: str) -> tuple[Node, ...]:
    """The cluster's nodes. Raises UserError with Ray's own sentence where it cannot be joined.

    By a process of its own: Ray's waiting for a cluster cannot be broken off otherwise.
    """
    home = str(Path(__file__).parents[3])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", PROGRAM, address, str(int(on_loopback(address)))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            out, err = process.communicate(timeout=JOIN_SECONDS + SURVEY_SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"--ray-address {address}: its nodes did not answer within "
                f"{JOIN_SECONDS + SURVEY_SECONDS:.0f} s; `ray status` there says why"
            ) from None
        finally:
            process.kill()
    told = _told(out)
    if "nodes" not in told and "InvalidAuthToken" in err:  # what it repeats until it is late
        raise UserError(
            f"--ray-address {address}: the cluster asks for Ray's token: set RAY_AUTH_MODE=token, "
            "and RAY_AUTH_TOKEN_PATH to the file that the cluster was started with"
        )
    if "nodes" not in told:
        why = told.get("error") or f"Ray could not join it ({process.returncode})"
        raise UserError(f"--ray-address {address}: {why}")
    return tuple(Node.from_record(record) for record in told["nodes"])


def _told(out: str) -> dict[str, Any]:
    """The last line that is an object of ours; Ray prints to standard output as well."""
    for line in reversed(out.splitlines()):
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            if isinstance(told, dict):
                return told
    return {}


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host.strip("[]"), port), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def _own_address() -> str:
    """This machine's address towards others."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("10.255.255.255", 1))  # sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"

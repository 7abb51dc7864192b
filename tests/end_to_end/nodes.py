"""A real Ray cluster of two nodes on this machine, each with an object store of its own.

Both have an address of the loopback network (127.0.0.2 and 127.0.0.3, which Linux has without
asking), so that they are two machines to Ray. Nothing of ours is on their path.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEAD, SECOND = "127.0.0.2", "127.0.0.3"
RAY = "from ray.scripts.scripts import main; main()"
STORE = str(100 * 2**20)


class Nodes:
    """`start` brings a node up; `close` ends what was started, and nothing else."""

    def __init__(self, cpus: int = 1, head: int | None = None) -> None:
        """`cpus` of each node, of the head's own number if it is named."""
        self.folder = Path(tempfile.mkdtemp(prefix="nas-nodes-", dir="/tmp"))  # sockets: short
        (self.folder / "token").write_text(secrets.token_hex(32))
        self.cpus = {HEAD: cpus if head is None else head, SECOND: cpus}
        self.port = _free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return f"{HEAD}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """With which the cluster can be joined: Ray refuses strangers."""
        token = str(self.folder / "token")
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}

    def start(self, host: str) -> None:
        first = ["--head", f"--port={self.port}", f"--temp-dir={self.folder}",
                 "--include-dashboard=false"]  # fmt: skip
        words = [
            sys.executable, "-c", RAY, "start", "--block", "--disable-usage-stats",
            f"--node-ip-address={host}", f"--num-cpus={self.cpus[host]}", "--num-gpus=0",
            f"--object-store-memory={STORE}",
            *(first if host == HEAD else [f"--address={self.address}"]),
        ]  # fmt: skip
        own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        own["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"  # a search in this process has set it to 0
        with (self.folder / f"{host}.log").open("wb") as log:
            self._processes[host] = subprocess.Popen(
                words, cwd="/", stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**own, **self.environment}, start_new_session=True,
            )  # fmt: skip
        self._wait_for(host)

    def kill(self, host: str) -> None:
        """As a machine that loses its power does, its workers a moment later."""
        process = self._processes.pop(host)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def up(self, host: str) -> bool:
        return host in self._processes and self._processes[host].poll() is None

    def close(self) -> None:
        for host in sorted(self._processes, reverse=True):
            self.kill(host)
        limit = time.monotonic() + 30
        while self.left() and time.monotonic() < limit:
            time.sleep(0.2)
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def left(self) -> list[int]:
        """Processes of this cluster, by its folder on their command lines."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def _wait_for(self, host: str) -> None:
        """Until `ray start` says that the node is up."""
        log, limit = self.folder / f"{host}.log", time.monotonic() + 90
        while b"Ray runtime started" not in log.read_bytes():
            ended = self._processes[host].poll() is not None
            if ended or time.monotonic() > limit:
                raise AssertionError(f"no node at {host}: {log.read_text()}")
            time.sleep(0.1)


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((HEAD, 0))
        return int(probe.getsockname()[1])

"""The nodes of a cluster while a search runs: which are gone, which have come, and their room."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from ...units import counted
from ..core import Core
from ..machine import Node
from ..placement import Placement, slots_of

LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Member:
    """A node as Ray lists it; several may have one address."""

    host: str
    address: str
    port: int
    cpus: int
    gpus: int


class Nodes:
    """Looks at the cluster now and then. `listed`: Ray's own list."""

    def __init__(
        self,
        placement: Placement,
        listed: Callable[[], Sequence[Mapping[str, Any]]] = ray.nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._placement, self._listed, self._clock = placement, listed, clock
        self._known: dict[str, Member] = {}  # those that are gone too: for their names
        self._alive: set[str] = set()
        self._see()
        self._looked = clock()

    def look(self) -> Change | None:
        """What has changed since the last look. Asks Ray, which may take its time."""
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return None
        self._looked, before = now, self._alive
        self._see()
        gone, come = before - self._alive, self._alive - before
        if not gone and not come:
            return None
        return Change(
            tuple(sorted(map(self.name, gone))), tuple(sorted(map(self.name, come))),
            len(self._alive), self.room, self._placement.trials_at_once,
        )  # fmt: skip

    @property
    def room(self) -> int:
        """Trials that fit on the nodes that are there, at most those that are to run at once."""
        placed = self._placement
        members = (self._known[member] for member in self._alive)
        room = sum(
            slots_of(
                Node(member.host, member.cpus, member.gpus),
                placed.gpus_per_trial, placed.cpus_per_trial,
            )
            for member in members
        )  # fmt: skip
        return min(room, placed.trials_at_once)

    def name(self, member: str) -> str:
        """ "node7 (10.0.0.7)", with the port where two nodes share an address."""
        own = self._known.get(member)
        if own is None:
            return member
        alike = [each for each in self._known.values() if each.address == own.address]
        port = f":{own.port}" if len(alike) > 1 else ""
        return f"{own.host} ({own.address}{port})"

    def _see(self) -> None:
        listed = [node for node in self._listed() if node["Alive"]]
        for node in listed:
            has = node["Resources"]
            self._known[node["NodeID"]] = Member(
                str(node["NodeManagerHostname"]), str(node["NodeManagerAddress"]),
                int(node["NodeManagerPort"]), int(has.get("CPU", 0)), int(has.get("GPU", 0)),
            )  # fmt: skip
        self._alive = {node["NodeID"] for node in listed}


@dataclass(frozen=True)
class Change:
    """Names of nodes that are gone and have come, how many there are, and the room on them."""

    gone: tuple[str, ...]
    come: tuple[str, ...]
    nodes: int
    room: int
    wanted: int

    def words(self) -> str:
        """One sentence."""
        said = [
            f"{'node' if len(names) == 1 else 'nodes'} {', '.join(names)} {verbs[len(names) > 1]}"
            for names, verbs in (
                (self.gone, ("is gone", "are gone")), (self.come, ("has come", "have come"))
            )
            if names
        ]  # fmt: skip
        return f"{', and '.join(said)}: {self._rest()}"

    def _rest(self) -> str:
        has = f"the cluster has {counted(self.nodes, 'node')} now"
        if not self.room:
            return f"{has}, and none with room for a trial: waiting for one"
        return f"{has}, with room for {self.room} of {counted(self.wanted, 'trial')} at once"

    def tell(self, core: Core, say: Callable[[str], None]) -> None:
        """To the log, the screen, the live view, the forecast, and the notes of the end."""
        core.run.log(self.words())
        say(self.words())
        core.faults.nodes(self.gone, self._rest() if self.room < self.wanted else None)
        core.ledger.resize(self.room)

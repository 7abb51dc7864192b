"""A cluster's nodes that go and come: what is said, and what room is left. Ray by a list."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nas.search.backend.nodes import LOOK_SECONDS, Change, Nodes
from nas.search.faults import Faults
from nas.search.ledger import Ledger
from nas.search.machine import Node
from nas.search.placement import Placement
from nas.units import parse_budget


def listed(name: str, address: str, *, alive: bool = True, cpus: int = 2, port: int = 1) -> Any:
    return {
        "NodeID": name, "Alive": alive, "NodeManagerHostname": "vm", "NodeManagerPort": port,
        "NodeManagerAddress": address, "Resources": {"CPU": float(cpus)} if alive else {},
    }  # fmt: skip


class Cluster:
    def __init__(self, *nodes: Any, at_once: int = 4) -> None:
        self.now, self.nodes = 0.0, list(nodes)
        placement = Placement((Node("vm", 2),) * 2, "vm:1", "cpu", at_once, 0.0, 1, 1, 2**30)
        self.looks = Nodes(placement, lambda: self.nodes, lambda: self.now)

    def look(self) -> Change | None:
        self.now += LOOK_SECONDS
        return self.looks.look()


def test_a_node_that_goes_and_one_that_comes_are_told_with_the_room_that_is_left():
    cluster = Cluster(listed("a", "10.0.0.1"), listed("b", "10.0.0.2"))
    assert cluster.look() is None
    cluster.nodes[1] = listed("b", "10.0.0.2", alive=False)
    gone = cluster.look()
    assert gone.words() == (
        "node vm (10.0.0.2) is gone: the cluster has 1 node now, with room for 2 of 4 trials at "
        "once"
    )
    assert cluster.look() is None, "told once"
    cluster.nodes[0] = listed("a", "10.0.0.1", alive=False)
    assert cluster.look().words().endswith("and none with room for a trial: waiting for one")
    cluster.nodes += [listed("c", "10.0.0.3"), listed("d", "10.0.0.4")]
    come = cluster.look()
    assert come.words() == (
        "nodes vm (10.0.0.3), vm (10.0.0.4) have come: the cluster has 2 nodes now, with room for "
        "4 of 4 trials at once"
    )


def test_two_nodes_of_one_machine_are_told_apart():
    cluster = Cluster(listed("a", "10.0.0.1", port=7001), listed("b", "10.0.0.1", port=7002))
    cluster.nodes[1] = listed("b", "10.0.0.1", alive=False)
    assert cluster.look().gone == ("vm (10.0.0.1:7002)",)


def test_ray_is_not_asked_all_the_time():
    cluster = Cluster(listed("a", "10.0.0.1"))
    cluster.nodes.clear()
    cluster.now += LOOK_SECONDS / 2
    assert cluster.looks.look() is None


@pytest.mark.parametrize(("back", "last"), [(False, "with room for 2 of 4"), (True, "came back")])
def test_log_screen_live_view_forecast_and_notes_know_of_it(back, last):
    lines: list[str] = []
    said: list[str] = []
    core: Any = SimpleNamespace(
        run=SimpleNamespace(log=lines.append), faults=Faults(),
        ledger=Ledger(parse_budget("3min"), slots=4, devices_per_trial=1.0, clock=lambda: 0.0),
    )  # fmt: skip
    cluster = Cluster(listed("a", "10.0.0.1"), listed("b", "10.0.0.2"))
    cluster.nodes[1] = listed("b", "10.0.0.2", alive=False)
    cluster.look().tell(core, said.append)
    assert lines == said and "(10.0.0.2) is gone" in said[0]
    assert core.ledger.slots == 2 and core.ledger.rooms == [4, 2]
    assert "with room for 2 of 4" in core.faults.notice
    if back:
        cluster.nodes[1] = listed("b", "10.0.0.2")
        cluster.look().tell(core, said.append)
        assert core.faults.notice is None and core.ledger.slots == 4
    (note,) = core.faults.notes()
    assert note.startswith("the cluster lost vm (10.0.0.2);") and last in note

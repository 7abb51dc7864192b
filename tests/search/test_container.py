"""A container's bounds on memory and CPUs, from control groups laid out as real ones are."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.search import container, machine
from nas.search.container import cpu_limit, memory_limit

GIB = 2**30
NONE_OF_VERSION_1 = "9223372036854771712\n"


@pytest.fixture
def groups(tmp_path):
    """Lay out control groups: this process's lines, and files by their path."""

    def lay(own: str, **files: str) -> dict[str, Path]:
        for name, content in files.items():
            file = tmp_path / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        (tmp_path / "own").write_text(own)
        return {"groups": tmp_path / "cgroup", "own": tmp_path / "own"}

    return lay


def test_version_2_within_a_container(groups):
    laid = groups("0::/\n", **{"memory.max": f"{4 * GIB}\n", "cpu.max": "150000 100000\n"})
    assert memory_limit(**laid) == 4 * GIB
    assert cpu_limit(**laid) == 2, "one and a half CPUs keep two busy"


def test_version_2_the_tightest_of_the_groups_above_counts(groups):
    laid = groups(
        "0::/user.slice/job-7/step\n",
        **{
            "user.slice/memory.max": "max\n",
            "user.slice/job-7/memory.max": f"{2 * GIB}\n",
            "user.slice/job-7/step/memory.max": f"{8 * GIB}\n",
            "user.slice/job-7/cpu.max": "max 100000\n",
            "user.slice/job-7/step/cpu.max": "50000 100000\n",
        },
    )
    assert memory_limit(**laid) == 2 * GIB
    assert cpu_limit(**laid) == 1


def test_version_1_its_own_group_or_where_a_container_sees_it_the_root(groups):
    """The line names the group as the host has it; the container's mount begins at it."""
    own = "5:cpu,cpuacct:/docker/4f\n4:memory:/docker/4f\n0::/\n"
    laid = groups(
        own,
        **{
            "memory/memory.limit_in_bytes": f"{GIB}\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    assert (memory_limit(**laid), cpu_limit(**laid)) == (GIB, 3)
    laid = groups(
        own,
        **{
            "memory/memory.limit_in_bytes": NONE_OF_VERSION_1,
            "memory/docker/4f/memory.limit_in_bytes": f"{3 * GIB}\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        },
    )
    assert (memory_limit(**laid), cpu_limit(**laid)) == (3 * GIB, None)


def test_both_versions_beside_each_other(groups):
    laid = groups(
        "4:memory:/\n1:cpu:/\n0::/\n",
        **{
            "memory/memory.limit_in_bytes": NONE_OF_VERSION_1,
            "unified/memory.max": f"{GIB}\n",
            "cpu/cpu.cfs_quota_us": "200000\n",
            "cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert (memory_limit(**laid), cpu_limit(**laid)) == (GIB, 2)


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/\n", {}),
        ("", {"memory.max": "1000\n"}),
        ("0::/\n", {"memory.max": "max\n", "cpu.max": "max 100000\n"}),
        ("0::/\n", {"memory.max": "", "cpu.max": "words\n"}),
        ("4:memory:/\n1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n"}),
        ("nonsense\n", {"memory.max": "1000\n"}),
    ],
)
def test_no_bound_is_none(groups, own, files):
    laid = groups(own, **files)
    assert memory_limit(**laid) is None and cpu_limit(**laid) is None


def test_a_group_outside_of_what_is_mounted_is_the_root(groups):
    laid = groups("0::/../../other\n", **{"memory.max": f"{GIB}\n"})
    assert memory_limit(**laid) == GIB


def test_a_system_without_control_groups_has_no_bounds(tmp_path):
    assert memory_limit(tmp_path / "no", tmp_path / "no") is None


def test_the_machine_is_what_the_container_leaves_of_it(monkeypatch):
    monkeypatch.setattr(container, "cpu_limit", lambda: None)
    monkeypatch.setattr(container, "memory_limit", lambda: None)
    cpus, memory = machine.available_cpus(), machine.machine_memory()
    monkeypatch.setattr(container, "cpu_limit", lambda: 1)
    monkeypatch.setattr(container, "memory_limit", lambda: memory - 1)
    assert (machine.available_cpus(), machine.machine_memory()) == (1, memory - 1)
    monkeypatch.setattr(container, "cpu_limit", lambda: cpus + 1)
    monkeypatch.setattr(container, "memory_limit", lambda: memory + 1)
    assert (machine.available_cpus(), machine.machine_memory()) == (cpus, memory)

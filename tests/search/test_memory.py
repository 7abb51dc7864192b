"""Candidates that take more memory than there is, and what is learned from them."""

from __future__ import annotations

from nas.search.faults import is_out_of_memory
from nas.search.memory import Memory
from nas.search.work import Ask
from nas.space import parse

from .simulator import Price, Simulation, quadratic


def test_libraries_say_in_many_ways_that_memory_ran_out():
    for words in (
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
        "CUDA out of memory. Tried to allocate 20 MiB",
    ):
        assert is_out_of_memory(words)
    assert not is_out_of_memory("mat1 and mat2 shapes cannot be multiplied")


def grown(architecture) -> Price:
    width = int(architecture.network[0]["channels"])
    depth = int(architecture.network[1].get("repeat", 1))
    return Price(1000 * width * depth, 10_000 * width * depth, 10**6 * width * depth)


def test_what_ran_out_of_memory_keeps_larger_ones_off_the_device(tmp_path):
    """Of 128 units at the most, 64 are too many for this device."""

    def curve(ask, recipe, epoch):
        if grown(_network(ask)).memory >= 64 * 10**6:
            error = "torch.OutOfMemoryError: CUDA out of memory"
            return {"kind": "failed", "cause": "out_of_memory", "error": error}
        return quadratic(ask, recipe, epoch)

    folder = tmp_path / "run"
    simulation = Simulation(folder, "40trials", slots=1, curve=curve, price=grown)
    state = simulation.go()
    burst = [row for row in simulation.table.rows.values() if row["cause"] == "out_of_memory"]
    sizes = [row["params"] for row in burst]
    assert sizes and sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    assert state["trials"]["infeasible"] > 0
    told = [
        trial
        for name in simulation.studies.names()
        for trial in simulation.studies.study(name).trials
        if trial.user_attrs.get("cause") == "out_of_memory"
    ]
    assert told and all(trial.constraints["memory"] > 0 for trial in told)
    again = Simulation(folder, "60trials", slots=1, curve=curve, price=grown)
    assert again.core._memory.bound() == simulation.core._memory.bound(), "it survives a resume"
    again.go()
    later = [again.table.rows[n] for n in again.table.rows if n not in simulation.table.rows]
    assert later and all(row["params"] < min(sizes) for row in later)


def _network(ask: Ask):
    return parse(ask.architecture, path="architecture.yaml")


def trained(memory: Memory, number: int, predicted: float, peak: float | None = None) -> None:
    memory.begin(number, {"memory": predicted})
    memory.end(number, "finished", 3, peak)


def burst(memory: Memory, number: int, predicted: float) -> None:
    memory.begin(number, {"memory": predicted})
    memory.end(number, "out_of_memory", 0, None)


def test_measured_peaks_correct_the_prediction():
    memory = Memory(1000.0)
    assert memory.excess(900) < 0 < memory.excess(1100)
    for number in range(3):
        trained(memory, number, 100, peak=200)
    assert memory.bound() == 500
    assert memory.excess(499) < 0 < memory.excess(501)


def test_one_that_burst_below_what_fits_is_no_bound():
    memory = Memory(1000.0)
    trained(memory, 0, 600)
    burst(memory, 1, 300)
    assert memory.bound() == 1000
    burst(memory, 2, 800)
    assert memory.bound() == 760


def test_a_leak_in_a_small_network_says_nothing_of_others():
    memory = Memory(1e9)
    burst(memory, 0, 1e4)
    assert memory.bound() == 1e9


def test_what_is_being_tried_is_not_refused_in_others():
    memory = Memory(None)
    memory.begin(0, {"memory": 500.0})
    burst(memory, 1, 500)
    assert memory.bound() is None, "trial 0 is of the same size, and may fit"
    memory.end(0, "out_of_memory", 0, None)
    assert memory.bound() == 475

"""The readers of losses: everything, once, in order, and not too late."""

from __future__ import annotations

import pytest
import torch

from nas.train.losses import LAG, BlockReader, CudaReader, HostReader, LossReader, make_reader

READERS = [
    HostReader,
    BlockReader,
    pytest.param(lambda: CudaReader(torch.device("cuda")), marks=pytest.mark.gpu),
]


@pytest.mark.parametrize("make", READERS)
@pytest.mark.parametrize("count", [0, 1, LAG, LAG + 1, 3 * LAG + 2])
def test_every_value_comes_once_in_order_and_at_most_lag_steps_late(
    make: type[LossReader], count: int
) -> None:
    reader, seen = make(), list[float]()
    device = "cuda" if isinstance(reader, CudaReader) else "cpu"
    for step in range(count):
        seen += reader.push(torch.tensor(float(step), device=device))
        assert len(seen) >= step + 1 - LAG
    assert seen + reader.drain() == [float(step) for step in range(count)]
    assert reader.drain() == []


def test_the_cpu_is_read_at_once() -> None:
    assert make_reader(torch.device("cpu")).push(torch.tensor(2.5)) == [2.5]
    assert isinstance(make_reader(torch.device("mps")), BlockReader)

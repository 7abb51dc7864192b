"""Pools: 'same' keeps the size, adaptive ones give one, fractional ones shrink by a fraction."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from nas.errors import ShapeError
from nas.models import build, cost
from nas.space import parse

HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]
# the worked matrix of the lectures on 'same' max pooling
MATRIX = torch.tensor([[1.0, 3, 2, 1], [4, 6, 5, 7], [2, 1, 4, 9], [1, 3, 7, 6]])[None, None]


def network(row: dict[str, Any]) -> Any:
    return parse(json.dumps({"name": "test", "network": [row, *HEAD]}))


def made(row: dict[str, Any], size: Any = 4, channels: int = 1) -> nn.Module:
    return cast(nn.Module, build(network(row), classes=2, channels=channels, size=size)[0])


def pooled(row: dict[str, Any], x: Tensor = MATRIX) -> Tensor:
    y = made(row, tuple(x.shape[2:]), x.shape[1]).eval()(x)
    price = cost(network(row), classes=2, channels=x.shape[1], size=tuple(x.shape[2:]))
    assert price.rows[0].shape == tuple(y.shape[1:])
    return cast(Tensor, y)


# ------------------------------------------------------------------------------ 'same' padding
@pytest.mark.parametrize("op", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, [1, 2], [3, 4]])
def test_same_keeps_the_size_at_stride_1(op: str, kernel: Any) -> None:
    row = {"op": op, "kernel": kernel, "stride": 1, "padding": "same"}
    assert pooled(row).shape == MATRIX.shape


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9])
@pytest.mark.parametrize("ceil", [False, True])
def test_same_gives_the_size_over_the_stride_rounded_up(
    kernel: int, stride: int, size: int, ceil: bool
) -> None:
    row = {"op": "max_pool", "kernel": kernel, "stride": stride, "padding": "same", "ceil": ceil}
    y = pooled(row, torch.randn(1, 2, size, size))
    assert y.shape[2:] == (-(-size // stride),) * 2
    assert y.isfinite().all()


def test_same_max_pooling_by_hand() -> None:
    # 2x2, one pixel more at the end: each value is the largest of itself, right, below, diagonal
    y = pooled({"op": "max_pool", "kernel": 2, "stride": 1, "padding": "same"})
    assert y[0, 0].tolist() == [[6, 6, 7, 7], [6, 6, 9, 9], [3, 7, 9, 9], [3, 7, 7, 6]]
    y = pooled({"op": "max_pool", "kernel": 3, "stride": 1, "padding": "same"})
    assert y[0, 0].tolist() == [[6, 6, 7, 7], [6, 6, 9, 9], [6, 7, 9, 9], [3, 7, 9, 9]]


@pytest.mark.parametrize(("counted", "corner"), [(True, 6 / 4), (False, 6.0)])
def test_same_average_pooling_counts_the_padding_or_not(counted: bool, corner: float) -> None:
    row = {"op": "avg_pool", "kernel": 2, "stride": 1, "padding": "same"}
    y = pooled({**row, "count_padding": counted})[0, 0]
    assert y[3, 3].item() == corner
    assert y[0, 0].item() == (1 + 3 + 4 + 6) / 4


def test_same_matches_torchs_padding_where_torch_has_it() -> None:
    x = torch.randn(2, 3, 9, 9)
    row = {"op": "avg_pool", "kernel": 3, "stride": 2, "padding": "same", "count_padding": False}
    torch.testing.assert_close(
        pooled(row, x), nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    )


# ------------------------------------------------------------------------------------- adaptive
@pytest.mark.parametrize(("kind", "expected"), [("avg", [[3.5, 3.75], [1.75, 6.5]]),
                                                ("max", [[6, 7], [3, 9]])])  # fmt: skip
def test_adaptive_pooling_by_hand(kind: str, expected: Any) -> None:
    assert pooled({"op": "adaptive_pool", "size": 2, "kind": kind})[0, 0].tolist() == expected


@pytest.mark.parametrize("side", [1, 3, 6, 7, 13, 30])
def test_adaptive_pooling_gives_its_size_for_any_image(side: int) -> None:
    assert pooled({"op": "adaptive_pool", "size": 6}, torch.randn(1, 2, side, side)).shape == (
        1, 2, 6, 6,
    )  # fmt: skip
    row = {"op": "adaptive_pool", "size": [2, 3]}
    assert pooled(row, torch.randn(1, 2, side, side)).shape == (1, 2, 2, 3)


# ----------------------------------------------------------------------------------- fractional
def test_fractional_pooling_shrinks_by_its_ratio() -> None:
    for ratio, side in ((1.4142, 25), (1.2, 30), (2, 18)):
        y = pooled({"op": "fractional_max_pool", "ratio": ratio}, torch.randn(1, 2, 36, 36))
        assert y.shape == (1, 2, side, side)


def test_fractional_pooling_is_random_in_training_alone() -> None:
    x = torch.randn(1, 4, 36, 36)
    pool = made({"op": "fractional_max_pool"}, 36, 4)
    torch.manual_seed(0)
    assert not torch.equal(pool.train()(x), pool(x))
    assert torch.equal(pool.eval()(x), pool(x))
    before = torch.get_rng_state()
    pool(x)
    assert torch.equal(before, torch.get_rng_state())


def test_every_fractional_maximum_is_a_value_of_its_window() -> None:
    # windows of 2 stand 1 or 2 apart, so that no pixel is left out and order is kept
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    y = made({"op": "fractional_max_pool", "ratio": 1.5}, 8).train()(x)[0, 0]
    assert set((y[1:, 0] - y[:-1, 0]).tolist()) <= {8.0, 16.0}
    assert set((y[0, 1:] - y[0, :-1]).tolist()) <= {1.0, 2.0}
    assert y[-1, -1] == 63


def test_an_image_too_small_for_fractional_windows_is_answered_with_one_that_fits() -> None:
    row = {"op": "fractional_max_pool", "ratio": 1.1, "kernel": 4}
    with pytest.raises(ShapeError, match=r"too small for windows of 4x4.*at least \d+x\d+ fits"):
        cost(network(row), classes=2, channels=1, size=8)

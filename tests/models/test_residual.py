"""Residual units: their orderings, shortcuts, stochastic depth, and the documented networks."""

from __future__ import annotations

import pytest
import torch

from nas.models.drop_path import DropPath, make_drop_path


# ----------------------------------------------------------------------------- stochastic depth
def test_drop_path_drops_whole_images_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.rand(4000, 2, 2, 2) + 1
    y = DropPath(0.3).train()(x)
    dropped = (y == 0).all(3).all(2).all(1)
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=0.03)
    torch.testing.assert_close(y[~dropped], x[~dropped] / 0.7)


def test_drop_path_is_nothing_in_evaluation_and_where_it_is_off() -> None:
    x = torch.randn(3, 2, 4, 4)
    assert torch.equal(DropPath(0.9).eval()(x), x)
    assert isinstance(make_drop_path(0.0, 0.5), torch.nn.Identity)


def test_drop_path_of_one_drops_every_image() -> None:
    x = torch.randn(3, 2, 4, 4)
    assert torch.equal(DropPath(1.0).train()(x), torch.zeros_like(x))

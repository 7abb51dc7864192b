"""Local response normalisation, the scaled tanh, and rows that do nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import ShapeError
from nas.models import build, cost
from nas.space import parse

HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]


def network(*rows: dict[str, Any]) -> Any:
    return parse(json.dumps({"name": "test", "network": [*rows, *HEAD]}))


def made(row: dict[str, Any], channels: int = 8) -> nn.Module:
    return build(network(row), classes=2, channels=channels, size=4)[0]


def test_response_normalisation_is_the_papers_formula() -> None:
    # Krizhevsky et al. 2012, section 3.3: the sum runs over n = 5 adjacent maps
    a = torch.rand(1, 8, 4, 4) * 50
    b = made({"op": "lrn"})(a)
    for i in range(8):
        around = a[:, max(0, i - 2) : i + 3].square().sum(1)
        torch.testing.assert_close(b[:, i], a[:, i] / (2 + 1e-4 * around) ** 0.75)


def test_the_norm_lrn_has_alexnets_constants() -> None:
    conv = {"op": "conv", "channels": 8, "act": "none", "norm": "lrn"}
    module, x = made(conv), torch.randn(2, 8, 4, 4) * 100
    torch.testing.assert_close(module(x), made({"op": "lrn"})(module.conv(x)))
    price = cost(network(conv), classes=2, channels=8, size=4)
    assert price.rows[0].params == 8 * 8 * 9  # it has none of its own


def test_other_constants_belong_in_the_row() -> None:
    with pytest.raises(ShapeError, match=r"norm lrn takes no eps.*write a row \{op: lrn"):
        made({"op": "conv", "channels": 8, "norm": {"kind": "lrn", "eps": 1e-3}})
    wide = made({"op": "lrn", "size": 3, "alpha": 0.5, "beta": 1, "k": 1})
    x = torch.ones(1, 8, 1, 1)
    assert wide(x)[0, :2, 0, 0].tolist() == pytest.approx([1 / 2, 1 / 2.5])


@pytest.mark.parametrize("norm", ["lrn", "none", "batch"])
def test_a_unit_starts_as_the_identity_whatever_its_norm(norm: str) -> None:
    row = {"op": "residual", "channels": 8, "norm": norm, "zero_init": True}
    x = torch.rand(1, 8, 4, 4)
    assert torch.equal(made(row).eval()(x), x)


def test_the_scaled_tanh_is_1_at_1_and_1_7159_at_most() -> None:
    act = made({"op": "activation", "act": "scaled_tanh"})
    y = act(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    assert y.tolist() == pytest.approx([-1.0, 0.0, 1.0, 1.7159], abs=1e-4)


def test_an_identity_costs_nothing() -> None:
    one, two = (
        cost(network(*rows), classes=2, channels=8, size=4) for rows in ((), ({"op": "identity"},))
    )
    assert (one.params, one.macs, one.memory) == (two.params, two.macs, two.memory)
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(made({"op": "identity"})(x), x)

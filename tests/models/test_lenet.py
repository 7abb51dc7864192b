"""LeNet-5's own layers: sub-sampling with weights, and the RBF output over codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.errors import ShapeError
from nas.models import build, cost
from nas.models.lenet import DIGITS
from nas.space import parse


def network(*rows: dict[str, Any]) -> Any:
    return parse(json.dumps({"name": "test", "network": list(rows)}))


def rbf(width: int, classes: int) -> Any:
    rows = ({"op": "flatten"}, {"op": "linear", "channels": width}, {"op": "rbf"})
    return build(network(*rows), classes=classes, channels=1, size=4)[2]


# --------------------------------------------------------------------------------- sub-sampling
def test_subsampling_by_hand() -> None:
    rows = ({"op": "subsample", "act": "none"}, {"op": "flatten"}, {"op": "linear"})
    model = build(network(*rows), classes=3, channels=2, size=4)
    assert cost(network(*rows), classes=3, channels=2, size=4).rows[0].params == 2 * 2
    layer = model[0]
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    assert layer(x)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]  # starts as the mean
    with torch.no_grad():
        layer.coefficient.copy_(torch.tensor([1.0, 2.0]))
        layer.bias.copy_(torch.tensor([0.5, -1.0]))
    assert layer(x)[0, :, 0, 0].tolist() == [10 + 0.5, 2 * 74 - 1]


def test_subsampling_ends_with_its_activation() -> None:
    rows = ({"op": "subsample", "act": "scaled_tanh"}, {"op": "flatten"}, {"op": "linear"})
    layer = build(network(*rows), classes=3, channels=1, size=4)[0]
    y = layer(torch.full((1, 1, 4, 4), 100.0))
    torch.testing.assert_close(y, torch.full((1, 1, 2, 2), 1.7159))


# ------------------------------------------------------------------------------------------ RBF
def test_the_codes_are_ten_different_digits_of_7x12() -> None:
    assert [len(line.split()) for line in DIGITS.strip().split("\n")] == [10] * 12
    codes = rbf(84, 10).codes
    assert codes.shape == (10, 84)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    apart = (codes[:, None] != codes[None]).sum(2) + 84 * torch.eye(10, dtype=torch.int64)
    assert apart.min() >= 10  # pixels
    one = codes[1].reshape(12, 7)
    assert one[:, 3].tolist() == [1.0] * 12  # the stroke of the 1


def test_the_logits_are_minus_the_squared_distances() -> None:
    layer, x = rbf(84, 10), torch.randn(5, 84)
    torch.testing.assert_close(layer(x), -torch.cdist(x, layer.codes).square(), atol=1e-3, rtol=0)


def test_a_code_is_recognised_as_its_class() -> None:
    layer = rbf(84, 10)
    logits = layer(layer.codes)
    assert logits.argmax(1).tolist() == list(range(10))
    assert logits.diagonal().abs().max() == 0
    assert F.cross_entropy(logits, torch.arange(10)) < 1e-6


@pytest.mark.parametrize(("width", "classes"), [(84, 7), (3, 8), (20, 1000)])
def test_other_numbers_have_different_codes_that_never_change(width: int, classes: int) -> None:
    codes = rbf(width, classes).codes
    assert codes.shape == (classes, width)
    assert len(codes.unique(dim=0)) == classes
    torch.manual_seed(1)
    assert torch.equal(codes, rbf(width, classes).codes)


def test_the_codes_are_kept_with_the_weights_but_not_trained() -> None:
    layer = rbf(84, 10)
    assert list(layer.parameters()) == []
    assert list(layer.state_dict()) == ["codes"]


def test_more_classes_than_codes_are_refused() -> None:
    with pytest.raises(ShapeError, match="3 values has 8 codes, but there are 9 classes"):
        rbf(3, 9)

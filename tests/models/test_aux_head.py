"""Side classifiers: there in training, gone in evaluation, and out of what limits bound."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import ShapeError
from nas.models import build, cost, record
from nas.models.operators import OPERATORS, operator
from nas.registry import SIGNATURES
from nas.space import load, parse

CONV = {"op": "conv", "channels": 8, "stride": 2}
HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]


def network(*rows: dict[str, Any]) -> Any:
    return parse(json.dumps({"name": "test", "network": [*rows, *HEAD]}))


def built(*rows: dict[str, Any], size: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    return build(network(*rows), classes=10, channels=3, size=size)


def two_convs(**head: Any) -> list[dict[str, Any]]:
    first, second = {"name": "a", **CONV}, {"name": "b", **CONV, "channels": 12}
    return [first, second, {"name": "side", "op": "aux_head", "dropout": 0.0, **head}]


@pytest.mark.parametrize(
    ("name", "size", "params", "side"),
    [
        # torchvision's figures with and without aux_logits
        ("googlenet_aux", 224, 13_004_888, 13_004_888 - 6_624_904),
        ("inception_v3_aux", 299, 27_161_264, 27_161_264 - 23_834_568),
    ],
)
def test_published_networks(name: str, size: int, params: int, side: int) -> None:
    known = {"classes": 1000, "channels": 3, "size": size}
    found, plain = cost(load(name), **known), cost(load(name.removesuffix("_aux")), **known)
    assert (found.params, found.side_params) == (params, side)
    assert plain.side_params == 0
    assert (found.macs, found.activations) == (plain.macs, plain.activations)
    assert found.limited("params") == plain.params
    assert found.limited("macs") == plain.macs
    assert found.memory > plain.memory  # training keeps what the heads compute


def test_a_head_puts_nothing_out() -> None:
    known = {"classes": 10, "channels": 3, "size": 16}
    whole, lean = (record(network(*rows), **known) for rows in (two_convs(), two_convs()[:2]))
    assert (sum(whole.outputs), whole.weight_layers) == (sum(lean.outputs), lean.weight_layers)


def test_training_keeps_side_logits_and_evaluation_none() -> None:
    model = built(*two_convs())
    x = torch.randn(4, 3, 16, 16)
    model.train()(x)
    side = model.get_submodule("side")
    assert side.side_logits.shape == (4, 10)
    assert side.weight == 0.3  # Szegedy et al. 2014, section 5
    model.eval()(x)
    assert side.side_logits is None


def test_the_main_path_does_not_notice_a_head() -> None:
    with_head, without = built(*two_convs()), built(*two_convs()[:2])
    own = {k: v for k, v in with_head.state_dict().items() if not k.startswith("side.")}
    without.load_state_dict(own)
    x = torch.randn(4, 3, 16, 16)
    assert torch.equal(with_head.train()(x), without.train()(x))
    assert torch.equal(with_head.eval()(x), without.eval()(x))


def test_a_head_reads_the_row_that_it_names() -> None:
    model = built(*two_convs(of="a"))
    x = torch.randn(4, 3, 16, 16)
    logits = model.train()(x)
    side = model.get_submodule("side")
    with torch.no_grad():
        a = model.get_submodule("a")(x)  # (4, 8, 8, 8); b's has 12 channels
        assert torch.allclose(side.layers(a), side.side_logits, atol=1e-6)
    (logits.sum() + side.side_logits.sum()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_head_reads_the_last_repetition_of_a_row() -> None:
    rows = two_convs(of="a")
    rows[0] = {**rows[0], "repeat": 2}
    model = built(*rows)
    x = torch.randn(4, 3, 16, 16)
    model.train()(x)
    side = model.get_submodule("side")
    with torch.no_grad():
        assert torch.allclose(side.layers(model.get_submodule("a")(x)), side.side_logits, atol=1e-6)


def test_repeated_heads_read_the_same_row() -> None:
    model = built(*two_convs(of="a", repeat=2))
    model.train()(torch.randn(4, 3, 16, 16))
    heads = [m for m in model.modules() if hasattr(m, "side_logits")]
    assert [head.side_logits.shape for head in heads] == [(4, 10), (4, 10)]


def test_one_within_rows_reads_its_own_input() -> None:
    rows = [{"name": "a", **CONV}, {"op": "aux_head"}]
    model = built({"name": "stage", "op": "rows", "rows": rows, "repeat": 2})
    heads = [m for m in model.modules() if hasattr(m, "side_logits")]
    model.train()(torch.randn(4, 3, 16, 16))
    assert [head.side_logits.shape for head in heads] == [(4, 10), (4, 10)]
    price = cost(network({"name": "s", "rows": rows, "repeat": 2}), classes=10, channels=3, size=16)
    assert price.side_params == sum(p.numel() for head in heads for p in head.parameters())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (two_convs(of="aa"), "of 'aa' must be the name of a row before it; did you mean 'a'"),
        ([two_convs(of="b")[k] for k in (0, 2, 1)], "of 'b' must be the name of a row before it"),
        ([{"name": "s", "rows": two_convs(of="a")}], "within rows leave it out"),
        (two_convs(form="v3"), "too small for kernel 5.*at least 65x65 fits"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        cost(network(*rows), classes=10, channels=3, size=16)
    with pytest.raises(ShapeError, match=said):
        built(*rows)


def test_what_looks_back_looks_past_a_head() -> None:
    @operator("test_adds_previous")
    class AddsPrevious(nn.Module):
        """Adds the output before its input to its input, for this test."""

        looks_back = True

        def __init__(self, previous: tuple[int, int, int]) -> None:
            super().__init__()
            self.channels = previous[0]

        def forward(self, x: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
            assert previous.shape[1] == self.channels
            return x + previous

        @staticmethod
        def cost(tally: Any) -> None:
            pass

    try:
        same = [{"name": name, "op": "conv", "channels": 8} for name in ("a", "b")]
        add = {"name": "add", "op": "test_adds_previous"}
        plain, headed = built(*same, add), built(*same, {"op": "aux_head", "of": "a"}, add)
        own = {k: v for k, v in headed.state_dict().items() if not k.startswith("aux_head.")}
        plain.load_state_dict(own)
        x = torch.randn(2, 3, 16, 16)
        assert torch.equal(plain.eval()(x), headed.eval()(x))
    finally:
        for registry in (OPERATORS, SIGNATURES):
            registry._items.pop("test_adds_previous")  # type: ignore[attr-defined]

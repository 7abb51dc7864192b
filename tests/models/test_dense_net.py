"""Dense blocks and transitions against the paper's figures (Huang et al. 2016)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import ShapeError
from nas.models import build, cost, record
from nas.space import Architecture, fill, load, parse


def network(*rows: dict[str, Any]) -> Any:
    end = [{"op": "norm_act"}, {"op": "global_pool"}, {"op": "linear"}]
    return parse(json.dumps({"name": "test", "network": [*rows, *end]}))


def densenet(depth: int, growth: int, *, compressed: bool) -> Any:
    """Section 3: three blocks on CIFAR; BC has bottlenecks, compression and 2k channels first."""
    layers = (depth - 4) // (6 if compressed else 3)
    first = {"op": "conv", "channels": 2 * growth if compressed else 16,
             "norm": "none", "act": "none", "bias": False}  # fmt: skip
    block = {"op": "dense_block", "layers": layers, "growth": growth,
             "bottleneck": 4 if compressed else 0}  # fmt: skip
    between = {"op": "transition", "compression": 0.5 if compressed else 1.0}
    return network(
        {"name": "first", **first},
        {"name": "block1", **block}, {"name": "transition1", **between},
        {"name": "block2", **block}, {"name": "transition2", **between},
        {"name": "block3", **block},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("depth", "growth", "compressed", "millions"),
    # Table 2, column Params
    [(40, 12, False, 1.0), (100, 12, False, 7.0), (100, 24, False, 27.2),
     (100, 12, True, 0.8), (250, 24, True, 15.3), (190, 40, True, 25.6)],
)  # fmt: skip
def test_parameters_of_table_2(depth: int, growth: int, compressed: bool, millions: float) -> None:
    found = cost(densenet(depth, growth, compressed=compressed), classes=10, channels=3, size=32)
    assert round(found.params / 1e6, 1) == millions


def test_densenet_bc_100_12_is_the_papers() -> None:
    loaded = load("densenet_bc_100_12")
    assert isinstance(loaded, Architecture)
    found = cost(loaded, classes=10, channels=3)
    assert found.params == 769_162  # Table 2: 0.8 M
    assert found.params == cost(
        densenet(100, 12, compressed=True), classes=10, channels=3, size=32
    ).params  # fmt: skip


@pytest.mark.parametrize("depth", [121, 161, 169, 201])
def test_depth_counts_the_layers_with_weights(depth: int) -> None:
    found = record(load(f"densenet{depth}"), classes=1000, channels=3, size=224)
    assert found.weight_layers == depth
    assert found.price == cost(load(f"densenet{depth}"), classes=1000, channels=3, size=224)


def test_shapes_of_table_1() -> None:
    found = cost(load("densenet121"), classes=1000, channels=3, size=224)
    shapes = {row.name: row.shape for row in found.rows}
    assert shapes["stem"] == (64, 56, 56)
    assert [shapes[f"block{n}"] for n in (1, 2, 3, 4)] == [
        (256, 56, 56), (512, 28, 28), (1024, 14, 14), (1024, 7, 7)
    ]  # fmt: skip
    assert [shapes[f"transition{n}"] for n in (1, 2, 3)] == [
        (128, 28, 28), (256, 14, 14), (512, 7, 7)
    ]  # fmt: skip


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("bottleneck", [0, 4])
@pytest.mark.parametrize("layers", [1, 2, 3, 9])
def test_a_block_costs_what_its_layers_cost_one_by_one(
    layers: int, bottleneck: int, norm: str
) -> None:
    one = {"op": "dense_block", "growth": 6, "bottleneck": bottleneck, "norm": norm}
    whole = cost(network({**one, "layers": layers}), classes=10, channels=5, size=9)
    apart = cost(
        network(*({**one, "name": f"l{n}", "layers": 1} for n in range(layers))),
        classes=10, channels=5, size=9,
    )  # fmt: skip
    assert whole.memory == apart.memory
    assert whole.rows[-1].receptive_field == apart.rows[-1].receptive_field
    for total in ("params", "macs", "activations"):
        assert getattr(whole, total) == getattr(apart, total)


def block(**settings: Any) -> Any:
    torch.manual_seed(0)
    rows = network({"op": "dense_block", "layers": 3, "growth": 4, **settings})
    return build(rows, classes=10, channels=5, size=9)[0]


def test_the_input_and_every_layers_output_stay_in_the_output() -> None:
    cell, x = block().eval(), torch.randn(2, 5, 9, 9)
    y = cell(x)
    assert y.shape == (2, 5 + 3 * 4, 9, 9)
    assert torch.equal(y[:, :5], x)
    for n, layer in enumerate(cell.layers):
        seen = y[:, : 5 + 4 * n]
        assert torch.allclose(y[:, 5 + 4 * n : 9 + 4 * n], layer(seen), atol=1e-6)


def test_a_layer_norms_and_activates_before_each_convolution() -> None:
    kinds = [type(m).__name__ for m in block().layers[0].modules() if not list(m.children())]
    step = ["BatchNorm2d", "ReLU", "Conv2d"]
    assert kinds == [*step, *step, "Dropout"]
    convs = [m for m in block().layers[1].modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convs] == [
        (9, 16, (1, 1)), (16, 4, (3, 3))
    ]  # fmt: skip


def test_drop_rate_drops_in_training_alone() -> None:
    cell, x = block(drop_rate=0.5), torch.randn(2, 5, 9, 9)
    dropped = cell.train()(x)[:, -4:] == 0
    assert 0.3 < dropped.float().mean() < 0.7
    assert not (cell.eval()(x)[:, -4:] == 0).any()


@pytest.mark.parametrize(("compression", "channels"), [(0.5, 5), (1.0, 10), (0.3, 3), (0.25, 2)])
def test_compression_rounds_down(compression: float, channels: int) -> None:
    row = {"op": "transition", "compression": compression}
    found = build(network(row), classes=10, channels=10, size=9)[0].eval()
    assert found(torch.randn(1, 10, 9, 9)).shape == (1, channels, 4, 4)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"op": "transition", "compression": 0.1}, "leaves nothing of 5 channels"),
        ({"op": "dense_block", "layers": 2, "growth": 4, "kernel": 2}, "take an odd one"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(row: dict[str, Any], said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        cost(network(row), classes=10, channels=5, size=9)


def test_scaling_multiplies_layers_and_growth() -> None:
    rows = {"name": "t", "scaling": {"depth": 1.5, "width": 2.0}, "network": [
        {"op": "conv", "channels": 16}, {"op": "dense_block", "layers": 3, "growth": 8},
        {"op": "global_pool"}, {"op": "linear"},
    ]}  # fmt: skip
    found = cost(parse(json.dumps(rows)), classes=10, channels=3, size=9)
    assert found.rows[1].shape == (32 + 5 * 16, 9, 9)


def test_the_default_of_dense_cells_is_densenet_bc_40_12() -> None:
    space: Any = load("dense_cells")
    known = {"classes": 10, "channels": 3, "size": 32}
    found = cost(fill(space, space.default()), **known)
    published = cost(densenet(40, 12, compressed=True), **known)
    stem_norm = 2 * 24  # the paper's first convolution has none
    assert found.params == published.params + stem_norm
    assert found.macs == published.macs

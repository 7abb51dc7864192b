"""Residual units: their orderings, shortcuts, stochastic depth; highways, maxout, gated rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.errors import ShapeError
from nas.models import build, cost
from nas.models.drop_path import DropPath, make_drop_path
from nas.space import fill, load, parse

HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]
ORDERS = ("post", "bn_after_add", "relu_before_add", "relu_only_pre", "pre")


def network(*rows: dict[str, Any], **sections: Any) -> Any:
    return parse(json.dumps({"name": "test", "network": [*rows, *HEAD], **sections}))


def made(*rows: dict[str, Any], channels: int = 4, side: int = 9) -> nn.Sequential:
    torch.manual_seed(0)
    model = build(network(*rows), classes=10, channels=channels, size=side)
    for name, value in model.state_dict().items():  # norms that do something
        if value.dim() == 1:
            value.uniform_(0.5, 1.5) if "bias" not in name else value.normal_()
    return model.eval()


def unit(op: str = "residual", channels: Any = "x1", **more: Any) -> dict[str, Any]:
    return {"name": "unit", "op": op, "channels": channels, **more}


# ------------------------------------------------------------------- the paper's five orderings
def branch_and_sum(net: nn.Module, x: Tensor, order: str, *, opened: bool) -> Tensor:
    """One basic unit by hand: He et al. 2016, Figure 4 (a) to (e)."""

    def layer(name: str, y: Tensor) -> Tensor:
        return net.get_submodule(name)(y)

    start = x
    if opened and order == "pre":
        start = F.relu(layer("opening.norm", x))
    elif opened and order == "relu_only_pre":
        start = F.relu(x)
    y = F.relu(layer("conv1.norm", layer("conv1.conv", start)))
    y = layer("conv2.conv", y)
    if order in ("post", "relu_before_add", "relu_only_pre"):
        y = layer("conv2.norm", y)
    if order == "relu_before_add":
        y = F.relu(y)
    side = x
    if "shortcut.conv.weight" in net.state_dict():
        side = layer("shortcut.conv", start)
        if order in ("post", "relu_before_add", "relu_only_pre"):
            side = layer("shortcut.norm", side)
    y = side + y
    if order == "bn_after_add":
        y = layer("closing.norm", y)
    return F.relu(y) if order in ("post", "bn_after_add") else y


@pytest.mark.parametrize("channels", [4, 6])
@pytest.mark.parametrize("order", ORDERS)
def test_a_unit_is_the_papers_figure(order: str, channels: int) -> None:
    net = made(unit(channels=channels, order=order)).get_submodule("unit")
    x = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(net(x), branch_and_sum(net, x, order, opened=True))


@pytest.mark.parametrize(("order", "norms"), [("pre", 1), ("relu_only_pre", 0)])
def test_raw_sums_are_closed_and_the_first_activation_is_shared(order: str, norms: int) -> None:
    # He et al. 2016, appendix: activation right after conv1, an extra one after the last sum
    model = made({"op": "conv", "channels": 6}, unit(order=order, repeat=2))
    names = [name for name, _ in model.named_children()]
    assert names == ["conv", "unit", "unit_end", "global_pool", "linear"]
    y = model.get_submodule("conv")(x := torch.randn(2, 4, 9, 9))
    y = branch_and_sum(model.get_submodule("unit.0"), y, order, opened=False)
    y = branch_and_sum(model.get_submodule("unit.1"), y, order, opened=True)
    end = model.get_submodule("unit_end")
    assert len(list(end.parameters())) == 2 * norms
    y = F.relu(end.get_submodule("norm")(y))
    torch.testing.assert_close(model(x), model.get_submodule("linear")(y.mean((2, 3))))


def test_stacks_of_different_orders_are_closed_one_by_one() -> None:
    rows = [
        {**unit(channels=4, order=order), "name": order}
        for order in ("pre", "relu_only_pre", "post")
    ]
    names = [name for name, _ in made(*rows).named_children()]
    assert names[:5] == ["pre", "pre_end", "relu_only_pre", "relu_only_pre_end", "post"]


@pytest.mark.parametrize("order", ORDERS)
def test_without_a_norm_every_ordering_has_biases_and_no_norm(order: str) -> None:
    model = made(unit(channels=6, order=order, norm="none"))
    assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 3
    assert all(conv.bias is not None for conv in convs)
    x = torch.randn(2, 4, 9, 9)
    before = x.clone()
    model(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("order", [o for o in ORDERS if o != "relu_before_add"])
@pytest.mark.parametrize("op", ["residual", "bottleneck"])
def test_zero_init_starts_as_the_identity_and_learns(op: str, order: str) -> None:
    model = build(
        network({"op": "conv", "channels": 8}, unit(op, order=order, zero_init=True)),
        classes=10, channels=3, size=8,
    )  # fmt: skip
    net = model.get_submodule("unit").eval()
    x = torch.rand(2, 8, 8, 8)  # not negative: a last relu changes nothing
    torch.testing.assert_close(net(x), x, rtol=1e-4, atol=0)  # a norm after the sum: its eps
    net(x).square().sum().backward()
    last = "conv2" if op == "residual" else "conv3"
    gradients = [p.grad.abs().sum() for p in net.get_submodule(last).parameters()]
    assert max(gradients) > 0


def test_zero_init_is_refused_where_the_branch_would_never_learn() -> None:
    rows = unit(channels=4, order="relu_before_add", zero_init=True)
    with pytest.raises(ShapeError, match=r"never learns.*take order post"):
        made(rows)
    made({**rows, "act": "silu"})  # which has a slope at 0


# ---------------------------------------------------------------------------------- shortcuts
def test_a_padded_shortcut_is_every_other_pixel_and_zeros() -> None:
    row = unit(channels=6, stride=2, shortcut="pad", zero_init=True, act="none")
    net = made(row).get_submodule("unit")
    for name, value in net.state_dict().items():
        if "conv2" in name:
            value.zero_()
    x = torch.randn(2, 4, 9, 9)
    y = net(x)
    assert y.shape == (2, 6, 5, 5)
    assert torch.equal(y[:, :4], x[:, :, ::2, ::2])
    assert not y[:, 4:].any()


@pytest.mark.parametrize("op", ["residual", "bottleneck"])
def test_a_padded_shortcut_has_no_parameters(op: str) -> None:
    prices = {
        kind: cost(
            network(unit(op, 16, stride=2, repeat=2, shortcut=kind)),
            classes=10, channels=8, size=9,
        )
        for kind in ("pad", "project", "project_always")
    }  # fmt: skip
    projection = 8 * 16 + 2 * 16
    assert prices["project"].params - prices["pad"].params == projection
    # He et al. 2015, section 4.1, option C: the second repetition has one too
    assert prices["project_always"].params - prices["project"].params == 16 * 16 + 2 * 16


def test_a_padded_shortcut_cannot_lose_channels() -> None:
    with pytest.raises(ShapeError, match=r"8 channels into 4.*at least 8 channels"):
        cost(network(unit(channels=4, shortcut="pad")), classes=10, channels=8, size=9)


def test_the_stride_of_a_bottleneck_stands_where_it_is_said() -> None:
    for where, strides in (("3x3", [1, 2, 1]), ("1x1", [2, 1, 1])):
        net = made(unit("bottleneck", 8, stride=2, stride_on=where)).get_submodule("unit")
        found = [net.get_submodule(f"conv{n}.conv").stride[0] for n in (1, 2, 3)]
        assert found == strides


def test_dropout_stands_before_the_last_convolution() -> None:
    # Zagoruyko and Komodakis 2016, Figure 1 (d)
    for op, last in (("residual", "conv2"), ("bottleneck", "conv3")):
        net = made(unit(op, 8, dropout=0.5)).get_submodule("unit").train()
        seen = []
        net.get_submodule(last).register_forward_pre_hook(lambda _, x, seen=seen: seen.append(x[0]))
        net.get_submodule("dropout").register_forward_hook(lambda _, __, y, s=seen: s.append(y))
        net(torch.randn(2, 4, 9, 9))
        assert seen[0] is seen[1]
        assert not net.eval().get_submodule("dropout").training


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
    assert isinstance(make_drop_path(0.0, 0.5), nn.Identity)


def test_drop_path_of_one_drops_every_image() -> None:
    x = torch.randn(3, 2, 4, 4)
    assert torch.equal(DropPath(1.0).train()(x), torch.zeros_like(x))


def test_the_drop_rate_grows_linearly_over_the_networks_units() -> None:
    # Huang et al. 2016, Eq. 4: unit l of L survives with 1 - l / L * (1 - p_L)
    rows = [
        {"name": "a", "op": "residual", "channels": 8, "repeat": 3, "drop_path": 0.5},
        {"name": "b", "op": "bottleneck", "channels": 8, "drop_path": 0.5},
        {"name": "rest", "op": "residual", "channels": 8},
        {"name": "c", "op": "residual", "channels": 8, "order": "pre", "drop_path": 0.5},
    ]
    model = made(*rows)
    rates = [m.rate for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_unit_that_lost_its_branch_is_its_shortcut() -> None:
    net = made(unit(channels=4, drop_path=1.0)).get_submodule("unit").train()
    x = torch.randn(2, 4, 9, 9)
    assert torch.equal(net(x), F.relu(x))
    assert not torch.equal(net.eval()(x), F.relu(x))


# ------------------------------------------------------------------------ highways and maxout
def test_a_highway_mixes_its_convolution_and_its_input_by_a_gate() -> None:
    net = made({"name": "unit", "op": "highway"}).get_submodule("unit")
    x = torch.randn(2, 4, 9, 9)
    h = F.relu(net.get_submodule("transform.conv")(x))
    t = torch.sigmoid(net.get_submodule("gate")(x))
    torch.testing.assert_close(net(x), h * t + x * (1 - t))


def test_a_highways_gate_starts_almost_closed() -> None:
    row = {"name": "unit", "op": "highway", "gate_bias": -20}
    net = build(network(row), classes=10, channels=4, size=9).get_submodule("unit")
    x = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(net(x), x)
    assert torch.equal(net.get_submodule("gate").bias, torch.full((4,), -20.0))


def test_a_highway_pads_what_it_carries_on() -> None:
    row = {"name": "unit", "op": "highway", "channels": 6, "stride": 2, "gate_bias": -30}
    net = build(network(row), classes=10, channels=4, size=9).get_submodule("unit")
    x = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(net(x), F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 2)))
    with pytest.raises(ShapeError, match="at least 8 channels"):
        cost(network({**row, "channels": 4}), classes=10, channels=8, size=9)


def test_maxout_takes_the_largest_of_neighbouring_channels() -> None:
    net = made({"name": "unit", "op": "maxout", "pieces": 2}).get_submodule("unit")
    assert net(torch.tensor([[1.0, 3.0, -2.0, -5.0]])).tolist() == [[3.0, -2.0]]
    with pytest.raises(ShapeError, match=r"pieces 3 must divide its 4.*could have 6"):
        made({"op": "maxout", "pieces": 3})


def test_squeeze_excite_as_a_row_gates_every_channel() -> None:
    row = {"name": "unit", "op": "squeeze_excite", "ratio": 0.5}
    net = made(row).get_submodule("unit")
    x = torch.randn(2, 4, 9, 9)
    g = F.relu(net.get_submodule("reduce")(x.mean((2, 3), keepdim=True)))
    assert g.shape[1] == 2
    torch.testing.assert_close(net(x), x * torch.sigmoid(net.get_submodule("expand")(g)))


def test_squeeze_excite_as_a_row_is_what_the_option_is() -> None:
    bare = {"op": "conv", "channels": 32}
    inside = cost(network(unit(channels=32, se=0.25)), classes=10, channels=32, size=9)
    outside = cost(
        network(bare, {"op": "squeeze_excite", "ratio": 0.25}), classes=10, channels=32, size=9
    )
    plain = cost(network(unit(channels=32)), classes=10, channels=32, size=9)
    assert inside.params - plain.params == outside.rows[1].params == 32 * 8 * 2 + 8 + 32


# ------------------------------------------------------------------------ the papers' networks
# name: (parameters at 10 classes, the paper's figure in millions, its decimals, weight layers)
PAPERS = {
    "resnet20_cifar": (269_722, 0.27, 2, 20),  # He et al. 2015, Table 6
    "resnet56_cifar": (853_018, 0.85, 2, 56),
    "resnet110_cifar": (1_727_962, 1.7, 1, 110),
    "resnet1202_cifar": (19_421_274, 19.4, 1, 1202),
    "resnet110_stochastic_depth": (1_727_962, 1.7, 1, 110),  # Huang et al. 2016
    "preresnet110_cifar": (1_727_962, 1.7, 1, 110),  # He et al. 2016, Table 2
    "preresnet164_cifar": (1_703_258, 1.7, 1, 164),
    # Zagoruyko and Komodakis 2016, Table 5: its 28 counts three projections, not the classifier
    "wrn_28_10": (36_479_194, 36.5, 1, 28 - 3 + 1),
    "resnext29_8x64d": (34_426_698, 34.4, 1, 29),  # Xie et al. 2016, Table 7
    "highway19": (2_256_838, 2.3, 1, 19),  # Srivastava et al. 2015
    "fitnet4": (2_548_602, 2.5, 1, 19),  # Romero et al. 2014
}


@pytest.mark.parametrize("name", PAPERS)
def test_networks_have_their_papers_parameters_and_depth(name: str) -> None:
    params, printed, decimals, layers = PAPERS[name]
    architecture = load(name)
    found = cost(architecture, classes=10, channels=3, size=32)
    assert found.params == params
    assert round(found.params / 1e6, decimals) == printed
    with torch.device("meta"):
        model = build(architecture, classes=10, channels=3, size=32)
    beside = ("shortcut", "gate")  # a path's depth counts neither projections nor gates
    deep = [
        name
        for name, m in model.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear) and not set(beside) & set(name.split("."))
    ]
    assert len(deep) == layers


def test_the_last_unit_of_the_stochastic_network_survives_half_the_time() -> None:
    with torch.device("meta"):
        model = build(load("resnet110_stochastic_depth"), classes=10, channels=3)
    rates = [m.rate for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.5 * (n + 1) / 54 for n in range(54)])


def test_the_cifar_networks_shapes_are_the_papers() -> None:
    # He et al. 2015, section 4.2: maps of 32, 16 and 8 pixels with 16, 32 and 64 channels
    rows = cost(load("resnet20_cifar"), classes=10, channels=3, size=32).rows
    assert [row.shape for row in rows[:4]] == [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_the_papers_bottlenecks_take_the_multiply_adds_of_table_1() -> None:
    # He et al. 2015, Table 1: 3.8 G for ResNet-50, whose strides stand on the 1x1
    for name, printed in (("resnet50", 3.8), ("resnet101", 7.6), ("resnet152", 11.3)):
        table = json.loads(json.dumps([dict(row) for row in load(name).network]))
        rows = [{**r, "stride_on": "1x1"} if r["op"] == "bottleneck" else r for r in table]
        found = cost(
            parse(json.dumps({"name": "paper", "network": rows})),
            classes=1000, channels=3, size=224,
        )  # fmt: skip
        assert found.macs / 1e9 == pytest.approx(printed, abs=0.06)


# ---------------------------------------------------------------------------- spaces' defaults
def price_of_default(name: str) -> Any:
    space: Any = load(name)
    return cost(fill(space, space.default()), classes=10, channels=3, size=32)


def test_the_default_of_resnext_cells_is_resnext29_32x4d() -> None:
    # stages of three: inner 128, 256, 512 in 32 groups; outer 256, 512, 1024
    params, before = 3 * 64 * 9 + 2 * 64, 64
    for inner, outer in ((128, 256), (256, 512), (512, 1024)):
        for _ in range(3):
            params += before * inner + 9 * inner * inner // 32 + inner * outer
            params += 4 * inner + 2 * outer
            params += before * outer + 2 * outer if before != outer else 0
            before = outer
    assert price_of_default("resnext_cells").params == params + 1024 * 10 + 10 == 4_775_754


def test_the_default_of_se_cells_is_resnet20_with_gates() -> None:
    plain, gated = price_of_default("resnet_cells"), price_of_default("se_cells")
    gates = [(16, 1), (32, 2), (64, 4)]  # channels, and a sixteenth of them
    assert gated.params - plain.params == 3 * sum(2 * c * s + s + c for c, s in gates)

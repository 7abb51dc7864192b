"""What every registered operator keeps to. A new one is taken up by itself: its settings, read
from its signature, are varied one at a time.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import ShapeError
from nas.models import Cost, build, cost
from nas.models.operators import OPERATORS
from nas.models.scaling import relative_channels
from nas.registry import REQUIRED, SIGNATURES, Setting
from nas.space import parse

CHANNELS, CLASSES = 8, 5
NAMES = SIGNATURES.names()
# where a row may stand; the first place that takes the operator with its defaults is tested
PLACES: tuple[tuple[list[dict[str, Any]], list[dict[str, Any]]], ...] = (
    ([], [{"name": "pool", "op": "global_pool"}, {"name": "head", "op": "linear"}]),
    ([], [{"name": "head", "op": "linear"}]),
    ([{"name": "flat", "op": "flatten"}], [{"name": "head", "op": "linear"}]),
)

# what a setting that takes a list is tried with
LISTS: dict[str, list[Any]] = {
    "connections": [
        [[k % 8, (k + 3) % 8] for k in range(16)],
        [list(range(k % 8 + 1)) for k in range(16)],
    ],
    "rows": [
        [{"name": "a", "op": "conv", "channels": "x2", "kernel": [1, 3]}],
        [{"op": "conv", "channels": 8, "stride": 2}, {"op": "residual", "channels": 8}],
        [{"op": "residual", "channels": 8, "order": "pre"}],
    ],
    "widths": [[4, 2, 6, 3, 2, 4], [1, 1, 1, 1, 1, 1], [5, 3, 2, 4]],
    "branches": [
        [[{"op": "activation"}], [{"op": "max_pool", "stride": 1, "kernel": 3, "padding": "same"}]],
        [[{"op": "pointwise", "channels": 8}, {"op": "conv", "channels": 8}], [{"op": "norm_act"}]],
        [[{"op": "residual", "channels": 8, "order": "pre"}], [{"op": "depthwise"}]],
    ],
    "nodes": [
        [[{"op": "skip", "from": "input"}]],
        [[{"op": "none", "from": "input"}], [{"op": "sep_conv_3x3", "from": "previous"}]],
        [
            [{"op": "max_pool_3x3", "from": "input"}, {"op": "conv_1x3_3x1", "from": "previous"}],
            [{"op": "avg_pool_3x3", "from": 1}, {"op": "none", "from": 1}],
            [{"op": "conv_1x7_7x1", "from": "input"}, {"op": "dil_conv_3x3", "from": 1}],
        ],
    ],
    "output": [[2, 3], [3, "input", 2], ["previous", 1, 2, 3]],
    "edges": [
        ["none", "nor_conv_1x1", "avg_pool_3x3", "skip_connect", "none", "nor_conv_3x3"],
        ["avg_pool_3x3"] * 6,
        ["skip_connect", "nor_conv_3x3", "nor_conv_1x1", "nor_conv_3x3", "none", "none"],
        ["nor_conv_3x3"] * 6,
    ],
}

# a gate sees the whole map, one value of a flattened map one pixel, and a resampled one one or two
# pixels, by its place; so do neighbours that a transposed convolution made of one value
UNSEEN = ("squeeze_excite", "flatten", "resize", "transposed_conv")


def values(key: str, setting: Setting) -> list[Any]:
    """Values that the signature allows, of every kind that it names."""
    found: list[Any] = list(setting.allowed)
    if "bool" in setting.kinds:
        found += [False, True]
    if "int" in setting.kinds:
        found += [8, 16] if key in ("channels", "width") else [1, 2, 3, 4]
    if "list" in setting.kinds or "ints" in setting.kinds:
        found += LISTS[key]
    if "relative" in setting.kinds:
        found += ["x1", "x2"]
    if "pair" in setting.kinds:
        found += [[1, 3], [2, 1]]
    if "float" in setting.kinds:
        found += [0.25, 0.5]
    if "mapping" in setting.kinds:
        whole = {name: inner.default for name, inner in setting.fields.items()}
        found.append({k: 0.25 if v is REQUIRED else v for k, v in whole.items()})
        for name, inner in setting.fields.items():
            required = {k: 0.25 for k, v in whole.items() if v is REQUIRED and k != name}
            found += [{**required, name: value} for value in values(name, inner)]
    return [value for value in found if setting.fault(value) is None]


def rows(name: str) -> Iterator[dict[str, Any]]:
    """A row with defaults, then one row for each value of each setting."""
    settings = SIGNATURES.get(name).settings
    base = {key: values(key, s)[-1] for key, s in settings.items() if s.default is REQUIRED}
    yield base
    for key, setting in settings.items():
        for value in values(key, setting):
            yield {**base, key: value}


SAMPLES = [
    pytest.param(name, row, id=f"{name}-{json.dumps(row)}") for name in NAMES for row in rows(name)
]
PLAIN = [pytest.param(name, next(rows(name)), id=name) for name in NAMES]


def refusal(name: str, row: dict[str, Any], number: int | None = None) -> str:
    """What cost says against a row, such as an even kernel beside a shortcut; "" for nothing."""
    try:
        priced(name, row, number)
    except ShapeError as error:
        return str(error)
    return ""


@functools.cache
def place(name: str) -> int:
    return next(n for n in range(len(PLACES)) if not refusal(name, next(rows(name)), n))


def stated(value: Any) -> Any:
    """`xK` as a number, which is wanted where no row before sets a width, and within such a row."""
    if isinstance(value, list):
        return [stated(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    found = {key: stated(inner) for key, inner in value.items()}
    if isinstance(found.get("channels"), str):
        found["channels"] = relative_channels(found["channels"], CHANNELS)
    return found


def network(name: str, row: dict[str, Any], number: int | None = None) -> Any:
    before, after = PLACES[place(name) if number is None else number]
    own = any("channels" in each for each in before)  # a width that is not the image's
    table = [*before, {"name": "sample", "op": name, **(row if own else stated(row))}, *after]
    return parse(json.dumps({"name": "contract", "network": table}))


def priced(name: str, row: dict[str, Any], number: int | None = None, side: int = 12) -> Cost:
    return cost(network(name, row, number), classes=CLASSES, channels=CHANNELS, size=side)


def built(name: str, row: dict[str, Any], side: int = 12) -> nn.Sequential:
    return build(network(name, row), classes=CLASSES, channels=CHANNELS, size=side)


@pytest.mark.parametrize(("name", "row"), SAMPLES)
def test_cost_equals_the_built_module(name: str, row: dict[str, Any]) -> None:
    fault = refusal(name, row)
    if fault:
        with pytest.raises(ShapeError) as again:
            built(name, row)
        assert str(again.value) == fault
        return
    price, model = priced(name, row), built(name, row).eval()
    shapes: dict[str, tuple[int, ...]] = {}
    convolved = []
    for child, module in model.named_children():
        module.register_forward_hook(lambda _, __, y, child=child: shapes.update({child: y.shape}))
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda _, __, y: convolved.append(y.numel()))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, CHANNELS, 12, 12))
    assert [r.name for r in price.rows] == list(shapes)
    for r in price.rows:
        assert r.params == sum(p.numel() for p in model.get_submodule(r.name).parameters())
        assert r.shape == (*shapes[r.name][1:], 1, 1)[:3]
    assert price.params == sum(p.numel() for p in model.parameters())
    assert 2 * price.macs == counter.get_total_flops()
    assert price.activations == sum(convolved)


@pytest.mark.parametrize(("name", "row"), SAMPLES)
@pytest.mark.parametrize("batch", [1, 2])
def test_trains_and_evaluates(name: str, row: dict[str, Any], batch: int) -> None:
    if refusal(name, row):
        return  # by build as well: the test above
    model = built(name, row)
    x = torch.randn(batch, CHANNELS, 12, 12)
    logits = model.train()(x)
    assert logits.shape == (batch, CLASSES)
    assert logits.dtype == torch.float32
    # a side head's logits are a loss of their own, as in the training loop
    sides = [m.side_logits for m in model.modules() if hasattr(m, "side_logits")]
    sum(y.square().sum() for y in [logits, *sides]).backward()
    without = [key for key, p in model.named_parameters() if p.grad is None]
    assert without == []
    assert model.eval()(x).shape == (batch, CLASSES)


@pytest.mark.parametrize("name", NAMES)
def test_few_settings_are_refused(name: str) -> None:
    # so that the tests above cannot pass by refusing
    refused = [row for row in rows(name) if refusal(name, row)]
    assert len(refused) <= 0.25 * len(list(rows(name)))


@pytest.mark.parametrize(("name", "row"), PLAIN)
def test_the_input_is_left_alone(name: str, row: dict[str, Any]) -> None:
    module = built(name, row).get_submodule("sample")
    x = torch.randn(2, CHANNELS, 12, 12)
    x = x.flatten(1) if PLACES[place(name)][0] else x
    before = x.clone()
    module(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("name", "row"), PLAIN)
def test_state_dict_survives(name: str, row: dict[str, Any]) -> None:
    model, other = built(name, row), built(name, row)
    x = torch.randn(2, CHANNELS, 12, 12)
    model.train()(x)  # moves the running statistics
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(x), other.eval()(x))


@pytest.mark.parametrize(("name", "row"), PLAIN)
def test_a_seed_repeats_the_weights(name: str, row: dict[str, Any]) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(built(name, row).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(("name", "row"), PLAIN)
def test_builds_on_the_meta_device(name: str, row: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = built(name, row)
    assert all(p.is_meta for p in model.parameters())


@pytest.mark.parametrize(("name", "row"), PLAIN)
def test_says_what_it_is(name: str, row: dict[str, Any]) -> None:
    assert len(SIGNATURES.get(name).about) > 20
    assert OPERATORS.get(name).module.forward is not nn.Module.forward


def sighted(name: str, row: dict[str, Any]) -> Any:
    """Norms and activations move no view: each of them with each operator is a slow test."""
    beside = ("norm", "act") if name not in ("norm_act", "activation") else ()
    marks = pytest.mark.slow if any(key in row for key in beside) else ()
    return pytest.param(name, row, marks=marks, id=f"{name}-{json.dumps(row)}")


@pytest.mark.parametrize(
    ("name", "row"),
    [
        sighted(name, row)
        for name, row in (p.values for p in SAMPLES)
        if "se" not in row and name not in UNSEEN
    ],
)
def test_receptive_field_is_what_the_gradient_reaches(name: str, row: dict[str, Any]) -> None:
    side = 41
    if PLACES[place(name)][0] or row.get("zero_init") or refusal(name, row):
        return  # a vector has no neighbours; zeroed weights let no gradient through
    price = priced(name, row, side=side).rows[0]
    torch.manual_seed(0)
    module = built(name, row, side=side).get_submodule("sample").eval()
    for p in module.parameters():
        p.data.abs_().add_(0.01)
        if p.dim() > 1:
            p.data.div_(p[0].numel())  # means, not sums: no activation runs into its flat end
    x = torch.rand(64, CHANNELS, side, side).mul_(0.1).requires_grad_()
    y = module(x)
    y[:, :, y.shape[2] // 2, y.shape[3] // 2].sum().backward()
    assert x.grad is not None
    reached = x.grad.abs().sum((0, 1)) > 0
    spans = tuple(int(n[-1] - n[0]) + 1 for n in (reached.any(d).nonzero() for d in (1, 0)))
    assert spans == tuple(min(side, view) for view in price.receptive_field)

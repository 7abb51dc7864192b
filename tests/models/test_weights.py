"""Public state dicts are mapped by order and shape, and refused at the first difference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nas
from nas.errors import UserError
from nas.models import build
from nas.space import parse
from nas.weights import from_state_dict

TEXT = """
network:
  - {op: conv, channels: 8, stride: 2}
  - {op: residual, channels: 16, stride: 2, se: 0.25}
  - {op: global_pool}
  - {op: linear}
"""


def network() -> nn.Module:
    return build(parse(TEXT), classes=5, channels=3, size=16)  # type: ignore[arg-type]


def test_a_state_dict_with_other_names_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    theirs, ours = network(), network()
    x = torch.randn(4, 3, 16, 16)
    theirs.train()(x)  # moves the running statistics
    names = from_state_dict(ours, theirs.state_dict())
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    assert names["linear.linear.weight"] == "linear.linear.weight"
    assert not any("num_batches_tracked" in name for name in names)


def test_files_without_the_norms_counters_fit_too() -> None:
    state = {k: v for k, v in network().state_dict().items() if "num_batches" not in k}
    from_state_dict(network(), state)


def test_a_linear_layer_and_a_1x1_convolution_are_one_shape() -> None:
    state = network().state_dict()
    state["linear.linear.weight"] = state["linear.linear.weight"][:, :, None, None]
    from_state_dict(network(), state)


def edited(**changes: Any) -> dict[str, Any]:
    state: dict[str, Any] = {k: v for k, v in network().state_dict().items() if "num_b" not in k}
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conv__conv__weight": torch.zeros(8, 3, 5, 5)}, "entry 1: 'conv.conv.weight'"),
        (
            {"linear__linear__bias": None},
            "without a partner is 'linear.linear.bias' of the network",
        ),
        ({"extra": torch.zeros(1)}, "without a partner is 'extra' of the state dict"),
        ({"epoch": 7}, "'epoch' of the state dict is of type int, not a tensor"),
        (
            {"linear__linear__bias": torch.empty(5, device="meta")},
            "is on the meta device, where it has no",
        ),
        ({"linear__linear__bias": torch.zeros(5) + 1j}, "bias' of the state dict is of complex"),
        ({"linear__linear__bias": torch.zeros(5).to_sparse()}, "is sparse: weights are dense"),
    ],
)
def test_the_first_difference_is_named_and_nothing_is_copied(
    changes: dict[str, Any], words: str
) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match=words):
        from_state_dict(model, edited(**changes))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "this is of type NoneType"),
        ("resnet18.pth", r"of type str: pass torch.load\(path, map_location='cpu'\)"),
        (nn.Linear(1, 1), r"of type Linear: pass its state_dict\(\)"),
        ([torch.zeros(1)], "this is of type list"),
    ],
)
def test_what_is_no_state_dict_is_told_so(given: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        from_state_dict(network(), given)


def test_the_network_comes_first_and_on_a_real_device() -> None:
    with pytest.raises(UserError, match=r"the first argument is the network .* type OrderedDict"):
        from_state_dict(network().state_dict(), network())  # type: ignore[arg-type]
    with pytest.raises(
        UserError, match=r"the network's 'conv\.conv\.weight' is on the meta device"
    ):
        from_state_dict(network().to("meta"), network().state_dict())


def test_it_is_at_hand_after_import_nas() -> None:
    assert nas.weights.from_state_dict is from_state_dict

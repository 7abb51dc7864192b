"""Which parameters are decayed, and which optimizer a recipe means."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.train.optimizers import make_optimizer, parameter_groups
from nas.train.recipe import Recipe


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, bias=True)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.group_norm = nn.GroupNorm(2, 4)
        self.act = nn.PReLU()
        self.scale = nn.Parameter(torch.ones(4))
        self.linear = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.linear.weight
        self.frozen = nn.Linear(4, 2)
        self.frozen.requires_grad_(False)


def test_only_weights_of_convolutions_and_linear_layers_are_decayed() -> None:
    model = Mixed()
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, rest = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert [names[id(p)] for p in decayed["params"]] == [
        "conv.weight",
        "depthwise.weight",
        "linear.weight",
    ]
    assert {names[id(p)] for p in rest["params"]} == {
        *("conv.bias", "norm.weight", "norm.bias", "group_norm.weight", "group_norm.bias"),
        *("act.weight", "scale", "linear.bias", "tied.bias"),
    }


def test_no_empty_group() -> None:
    assert len(parameter_groups(nn.Linear(2, 2, bias=False), 0.1)) == 1
    assert len(parameter_groups(nn.BatchNorm2d(2), 0.1)) == 1


def test_sgd_as_the_recipe_says() -> None:
    model = Mixed()
    optimizer = make_optimizer(model, Recipe(lr=0.3, momentum=0.8))
    assert isinstance(optimizer, torch.optim.SGD)
    for group in optimizer.param_groups:
        assert (group["lr"], group["momentum"], group["nesterov"]) == (0.3, 0.8, True)


def test_nesterov_without_momentum_is_plain_sgd() -> None:
    optimizer = make_optimizer(Mixed(), Recipe(momentum=0.0))
    assert optimizer.param_groups[0]["nesterov"] is False


def test_adamw_takes_momentum_as_its_first_beta() -> None:
    optimizer = make_optimizer(Mixed(), Recipe(optimizer="adamw", momentum=0.7))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["betas"] == (0.7, 0.999)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_step_moves_as_the_plain_optimizer_does(name: str) -> None:
    recipe = Recipe(optimizer=name, lr=0.01)
    ours, plain = nn.Linear(5, 3), nn.Linear(5, 3)
    plain.load_state_dict(ours.state_dict())
    groups = parameter_groups(plain, recipe.weight_decay)
    other: torch.optim.Optimizer
    if name == "sgd":
        other = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)
    else:
        other = torch.optim.AdamW(groups, lr=0.01)
    mine = make_optimizer(ours, recipe)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        for model, optimizer in ((ours, mine), (plain, other)):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, plain.weight)
    torch.testing.assert_close(ours.bias, plain.bias)

"""The recipe's optimizer over a model's parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from .recipe import Recipe


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: weights of convolutions and linear layers, decayed; all else, not.

    Decaying biases and the scales of norms costs accuracy at no gain (He et al. 2019, "Bag of
    tricks", section 3.1). A tied parameter is counted once; a frozen one not at all.
    """
    decayed = {
        id(module.weight) for module in model.modules() if isinstance(module, _ConvNd | nn.Linear)
    }
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in decayed], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW by the recipe. On the CPU the fused kernels are used: the same arithmetic in
    one call instead of several a parameter, which small networks feel."""
    groups = parameter_groups(model, recipe.weight_decay)
    on_cpu = all(p.device.type == "cpu" for p in model.parameters())
    fused = True if on_cpu else None
    if recipe.optimizer == "adamw":
        betas = (recipe.momentum, 0.999)
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, fused=fused)
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov and recipe.momentum > 0,  # torch refuses it without momentum
        fused=fused,
    )

"""How far measured operators see, held against gradients: one value's, with weights that hide
nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.models.measured import measured_cost
from nas.models.tally import Tally

Forward = Callable[[nn.ModuleDict, Tensor], Tensor]
SIDE = 32
WIDTH = 8


def linear(m: nn.ModuleDict, x: Tensor) -> Tensor:
    return m["linear"](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext(m: nn.ModuleDict, x: Tensor) -> Tensor:
    y = m["norm"](m["depthwise"](x).permute(0, 2, 3, 1))
    return x + m["linear"](y).permute(0, 3, 1, 2)


def attention(m: nn.ModuleDict, x: Tensor) -> Tensor:
    y = x.flatten(2).transpose(1, 2)
    return (torch.softmax(y @ y.transpose(1, 2) / 9, -1) @ y).transpose(1, 2).reshape(x.shape)


def window_attention(m: nn.ModuleDict, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    y = x.view(n, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(-1, 64, c)
    y = torch.softmax(y @ y.transpose(1, 2) / 9, -1) @ y
    return y.view(n, h // 8, w // 8, 8, 8, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def axial(m: nn.ModuleDict, x: Tensor) -> Tensor:
    return m["columns"](x.transpose(2, 3)).transpose(2, 3)


CASES: dict[str, Forward] = {
    "convolution": lambda m, x: m["conv"](x),
    "two, with a stride": lambda m, x: m["conv"](m["strided"](x)),
    "dilated": lambda m, x: m["dilated"](x),
    "linear on channels last": linear,
    "convnext": convnext,
    "attention": attention,
    "attention in windows": window_attention,
    "linear along the rows": axial,
    "mean of the channels": lambda m, x: m["spatial"](x.mean(1, keepdim=True)),
    "gate by the mean": lambda m, x: x * torch.sigmoid(m["pointwise"](x.mean((2, 3), True))),
    "einsum": lambda m, x: torch.einsum("oc,nchw->nohw", m["linear"].weight, x),
    "unshuffled": lambda m, x: m["wide"](F.pixel_unshuffle(x, 2)),
    "pooled": lambda m, x: m["conv"](F.avg_pool2d(x, 2)),
    "nearest": lambda m, x: F.interpolate(x, scale_factor=2.0, mode="nearest"),
    "split and joined": lambda m, x: torch.cat([x[:, :4], m["part"](x[:, 4:])], 1),
    "every second pixel": lambda m, x: m["conv"](x[:, :, ::2, ::2]),
    "valid": lambda m, x: m["conv"](F.conv2d(m["strided"](x), m["large"].weight)),
    "adaptive": lambda m, x: F.adaptive_avg_pool2d(m["strided"](x), 5),
    "flat": lambda m, x: x.flatten(1),
}


class Case(nn.Module):
    """One of the forward passes above."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.run = CASES[name]
        self.m = nn.ModuleDict({
            "conv": nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            "strided": nn.Conv2d(WIDTH, WIDTH, 3, 2, padding=1),
            "dilated": nn.Conv2d(WIDTH, WIDTH, 3, padding=2, dilation=2),
            "depthwise": nn.Conv2d(WIDTH, WIDTH, 7, padding=3, groups=WIDTH),
            "linear": nn.Linear(WIDTH, WIDTH),
            "norm": nn.LayerNorm(WIDTH),
            "columns": nn.Linear(SIDE, SIDE),
            "spatial": nn.Conv2d(1, 1, 7, padding=3),
            "pointwise": nn.Conv2d(WIDTH, WIDTH, 1),
            "large": nn.Conv2d(WIDTH, WIDTH, 7),
            "wide": nn.Conv2d(4 * WIDTH, WIDTH, 3, padding=1),
            "part": nn.Conv2d(4, 4, 5, padding=2),
        })  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.m, x)


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_the_gradient_says(name: str) -> None:
    torch.manual_seed(0)
    tally = Tally(WIDTH, SIDE, SIDE)
    measured_cost(Case, ())(tally, name=name)
    model = Case(name).double()
    x = torch.rand(1, WIDTH, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    y = model(x)
    middle = y[0, ..., y.shape[-2] // 2, y.shape[-1] // 2] if y.dim() == 4 else y[0, 0]
    middle.sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum((0, 1)) > 1e-14
    rows, columns = (seen.any(axis).nonzero().flatten() for axis in (1, 0))
    true = (int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1)
    assert (tally.view_h, tally.view_w) == true


@pytest.mark.parametrize(
    ("name", "step"),
    [("strided twice", 4), ("valid", 2), ("up", 1), ("pooled", 2), ("attention", 1)],
)
def test_it_says_how_far_neighbours_are_apart(name: str, step: int) -> None:
    """As the layers' own strides say, whatever the sizes come to: a plain ratio is off."""
    tally = Tally(WIDTH, SIDE, SIDE)
    tally.jump_h = tally.jump_w = 2 if name == "up" else 1
    measured_cost(Apart, ())(tally, name=name)
    assert (tally.jump_h, tally.jump_w) == (step, step)


class Apart(nn.Module):
    """Layers whose output's size is no plain share of their input's."""

    def __init__(self, name: str) -> None:
        super().__init__()
        strided, valid = nn.Conv2d(WIDTH, WIDTH, 3, 2), nn.Conv2d(WIDTH, WIDTH, 7)
        self.layers = {
            "strided twice": nn.Sequential(strided, valid, nn.Conv2d(WIDTH, WIDTH, 3, 2)),
            "valid": nn.Sequential(strided, valid),
            "up": nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2),
            "pooled": nn.Sequential(valid, nn.MaxPool2d(3, 2), valid),
            "attention": nn.Sequential(valid, nn.Softmax(1)),
        }[name]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y

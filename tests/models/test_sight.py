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


def patches(x: Tensor) -> Tensor:
    parts = [x[..., k::2, j::2] for j in (0, 1) for k in (0, 1)]
    return torch.cat(parts, 1)


def unfolded(m: nn.ModuleDict, x: Tensor) -> Tensor:
    columns = F.unfold(x, 3, padding=1).transpose(1, 2)
    return m["columns of 3x3"](columns).transpose(1, 2).reshape(x.shape)


def folded(m: nn.ModuleDict, x: Tensor) -> Tensor:
    """MobileViT: attention among the places that are at the same place of their patch."""
    columns = F.unfold(x, 4, stride=4).view(1, WIDTH, 16, -1).permute(0, 2, 3, 1)
    columns = m["linear"](columns).permute(0, 3, 1, 2).reshape(1, 16 * WIDTH, -1)
    return F.fold(columns, (SIDE, SIDE), 4, stride=4)


def shifted_windows(m: nn.ModuleDict, x: Tensor) -> Tensor:
    return window_attention(m, torch.roll(x, (-4, -4), (2, 3))).roll((4, 4), (2, 3))


def written(m: nn.ModuleDict, x: Tensor) -> Tensor:
    """As temporal shifts are written; the copy's own values are all overwritten or in place."""
    y = x.clone()
    y[:, :2, :-3] = x[:, :2, 3:]
    y[:, 2:4, :, 1:] += x[:, 2:4, :, :-1]
    return m["pointwise"](y)


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
    "merged patches": lambda m, x: m["merge"](patches(x)),
    "merged twice": lambda m, x: m["merge"](patches(m["merge"](patches(x)))),
    "patches unmixed": lambda m, x: patches(x),
    "unfolded": unfolded,
    "unfolded apart": lambda m, x: m["merge"](
        F.unfold(x, 2, stride=2).view(1, 4 * WIDTH, SIDE // 2, SIDE // 2)
    ),
    "folded": folded,
    "folded over each other": lambda m, x: F.fold(
        F.unfold(x, 3, padding=1) ** 2, (SIDE, SIDE), 3, padding=1
    ),
    "a kernel of its own making": lambda m, x: F.conv2d(
        x, m["depthwise"].weight * (1 + x.mean((2, 3)).view(-1, 1, 1, 1)), groups=WIDTH
    ),
    "windows by Tensor.unfold": lambda m, x: x.unfold(2, 5, 1).unfold(3, 3, 1).mean((-1, -2)),
    "shifted by padding": lambda m, x: x + F.pad(x, (0, 0, 4, 0))[:, :, :-4],
    "shifted and cropped": lambda m, x: x[..., 3:, :-2] - x[..., :-3, 2:],
    "rolled": lambda m, x: x + torch.roll(x, 3, -1) + torch.roll(x, (1, -1), (2, 3)),
    "rolled alone": lambda m, x: torch.roll(x, (5, 2), (2, 3)),
    "flipped": lambda m, x: x + torch.flip(x, [2]),
    "flipped alone": lambda m, x: x.flip(-1),
    "shifted windows": shifted_windows,
    "shifted channels": lambda m, x: m["pointwise"](
        torch.cat(
            [torch.roll(part, k, 2) for part, k in zip(x.chunk(4, 1), (-2, 1, 0, 0), strict=True)],
            1,
        )
    ),
    "written in place": written,
    "stacked": lambda m, x: torch.stack([x[..., 1:], x[..., :-1]]).mean(0),
    "differences": lambda m, x: torch.diff(x, dim=-1),
    "repeated": lambda m, x: m["conv"](x.repeat_interleave(2, -1)),
    "shuffled": lambda m, x: m["narrow"](F.pixel_shuffle(x, 2)),
    "reflected": lambda m, x: F.conv2d(F.pad(x, (3, 3, 3, 3), "reflect"), m["large"].weight),
    "pooled with ceil": lambda m, x: m["conv"](F.max_pool2d(x, 3, 2, ceil_mode=True)),
    "bilinear": lambda m, x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "down and up": lambda m, x: x + F.interpolate(m["strided"](x), x.shape[2:]),
    "cubic": lambda m, x: F.interpolate(x, size=(64, 64), mode="bicubic"),
    "transposed": lambda m, x: m["spread"](x),
    "grouped over a shift": lambda m, x: m["depthwise"](x + torch.roll(x, 4, 3)),
    "normed by groups": lambda m, x: m["groups"](x),
    "normed over the channels": lambda m, x: m["norm"](x.movedim(1, -1)).movedim(-1, 1),
    "gated by rows": lambda m, x: x * torch.sigmoid(x.mean(3, keepdim=True)),
    "attention by torch": lambda m, x: (
        F.scaled_dot_product_attention(*[x.flatten(2).transpose(1, 2)[:, None]] * 3)[:, 0]
        .transpose(1, 2)
        .reshape(x.shape)
    ),
    "recurrent along the rows": lambda m, x: m["lstm"](x[0].permute(1, 2, 0))[0].permute(2, 0, 1)[
        None
    ],
    "a row picked": lambda m, x: m["conv"](x)[:, :, 5:6] * x,
    "halves gated": lambda m, x: F.glu(m["conv"](x), 1),
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
            "merge": nn.Conv2d(4 * WIDTH, WIDTH, 1),
            "columns of 3x3": nn.Linear(9 * WIDTH, WIDTH),
            "narrow": nn.Conv2d(WIDTH // 4, WIDTH, 3, padding=1),
            "spread": nn.ConvTranspose2d(WIDTH, WIDTH, 3, 2, 1, 1),
            "groups": nn.GroupNorm(2, WIDTH),
            "lstm": nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True),
        })  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.m, x)


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_the_gradient_says(name: str) -> None:
    torch.manual_seed(0)
    tally = Tally(WIDTH, SIDE, SIDE)
    measured_cost(Case, ())(tally, name=name)
    model = Case(name).double().eval()
    x = torch.rand(1, WIDTH, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    y = model(x)
    assert (tally.view_h, tally.view_w) == seen_by_the_middle(y, x)


def seen_by_the_middle(y: Tensor, x: Tensor) -> tuple[int, int]:
    """By the values of its place; of several places where they take turns, the most of one."""
    if y.dim() == 2:
        return seen(y, x)
    turns = range(2 if y.shape[2] > x.shape[2] else 1)
    height, width = y.shape[2] // 2, y.shape[3] // 2
    sides = [seen(y[..., height + k, width + j], x) for k in turns for j in turns]
    return max(side[0] for side in sides), max(side[1] for side in sides)


def seen(values: Tensor, x: Tensor) -> tuple[int, int]:
    weights = torch.linspace(1, 2, values.numel(), dtype=values.dtype)  # a norm has sum 0
    (gradient,) = torch.autograd.grad(values.flatten() @ weights, x, retain_graph=True)
    found = gradient.abs().sum((0, 1)) > 1e-14
    rows, columns = (found.any(axis).nonzero().flatten() for axis in (1, 0))
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


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

"""Tensors of rows and columns, as `sight.py` keeps them: windows, edges, and the answers.

Each says of every value of another tensor which row or column of an image it sees first (or last,
negative): of several values together, the least. Along a dimension where they do not differ it has
size 1, and nothing moves there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MOST = 1 << 22  # values of such a tensor; where it had more, the whole input is said to be seen
NOTHING = math.inf  # of a value that sees none


def squeezed(part: Tensor) -> Tensor:
    """Of size 1 along each dimension where it does not differ."""
    for dim, size in enumerate(part.shape):
        first, last = part.narrow(dim, 0, 1), part.narrow(dim, max(0, size - 1), min(1, size))
        if size > 1 and (
            part.stride(dim) == 0 or (torch.equal(first, last) and bool((part == first).all()))
        ):
            part = first
    return part


def regrouped(part: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """A tensor of shape `before` is read as `after`: only what is regrouped need be written out."""
    small: tuple[list[int], list[int]] = ([], [])
    i = j = 0
    while i < len(before) or j < len(after):
        first, then = i, j
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while (own := math.prod(before[first:i])) != (new := math.prod(after[then:j])):
            i, j = (i + 1, j) if own < new else (i, j + 1)
        same = all(size == 1 for size in part.shape[first:i])
        small[0].extend([1] * (i - first) if same else before[first:i])
        small[1].extend([1] * (j - then) if same else after[then:j])
    if math.prod(small[1]) > MOST:
        raise ValueError("too many values to be told apart")
    return squeezed(part.expand(small[0]).reshape(small[1]))


def padded(part: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Counted on beyond both ends of a dimension; or cut there, where that is below 0."""
    if part.shape[dim] == 1:
        return part
    shape = [1] * part.dim()
    shape[dim] = -1
    pieces = [part.narrow(dim, max(0, -before), part.shape[dim] - max(0, -before) - max(0, -after))]
    for number, near, next_one in ((before, 0, 1), (after, -1, -2)):
        if number > 0:
            edge = part.select(dim, near).unsqueeze(dim)
            step = (edge - part.select(dim, next_one).unsqueeze(dim)).nan_to_num(0, 0, 0)
            more = edge + step * torch.arange(1.0, number + 1).reshape(shape)
            pieces = [more.flip(dim), *pieces] if near == 0 else [*pieces, more]
    return torch.cat(pieces, dim)


def slid(part: Tensor, dim: int, size: int, side: int, stride: int, cut: int,
          apart: int) -> Tensor:  # fmt: skip
    """A window of `side` values `apart` has slid along a dimension, which has `size` places now."""
    if part.shape[dim] == 1:
        return part
    reach = apart * (side - 1)
    end = (size - 1) * stride + reach + 1 - part.shape[dim] - cut
    windows = padded(part, dim, cut, end).unfold(dim, reach + 1, stride)
    return windows[..., ::apart].amin(-1)


def spread(part: Tensor, dim: int, size: int, side: int, stride: int, cut: int,
            apart: int) -> Tensor:  # fmt: skip
    """Each value was spread over such a window: a transposed convolution."""
    if part.shape[dim] == 1:
        return part
    reach = apart * (side - 1)
    more = reach // stride + apart + 2
    wide = padded(part, dim, more, more).movedim(dim, -1)
    loose = wide.new_full((*wide.shape[:-1], wide.shape[-1] * stride), NOTHING)
    loose[..., ::stride] = wide
    windows = loose[..., cut - reach + more * stride :].unfold(-1, reach + 1, 1)
    return windows[..., :size, ::apart].amin(-1).movedim(-1, dim)


def middle(part: Tensor, turns: Sequence[int]) -> Tensor:
    """The values in the middle of each dimension, so many of them."""
    for dim, many in enumerate(turns):
        size = part.shape[dim]
        part = part.narrow(dim, size // 2, min(many, size - size // 2))
    return part


def step(middles: Tensor | None, size: int, whole: int) -> float:
    """Pixels between neighbours: the longest step in the middle of these places.

    Where neighbours see the same, how many pixels there are for how many places.
    """
    by_size = float(max(1, round(whole / size)))
    if middles is None or middles.numel() < 2:
        return by_size
    middles = middles[middles.isfinite()]
    edge = max(0, len(middles) - 2) // 3
    steps = middles[edge : len(middles) - edge].diff().abs()
    longest = float(middles.diff().abs().max()) if len(middles) > 1 else 0.0
    if len(steps) and bool((steps > 0).all()):
        step = float(steps.max())
    else:  # pairs of neighbours, or whole windows of them, see the same
        step = float(middles.max() - middles.min() + longest) / size if longest else 0.0
        step = float(round(step)) if step >= 1 else step
    if step >= 1:
        return step
    if size <= whole:
        return by_size
    turns = round(1 / step) if step else 0
    return 1 / turns if turns and abs(1 / step - turns) < 0.25 else step or whole / size

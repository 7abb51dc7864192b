"""The published forms of inception modules: what their branches hold, and how wide those are.

A form is written as in the papers' figures: branches between commas, in each the steps from left
to right. `3x3` is a convolution, `nxn`, `1xn` and `nx1` take the row's `kernel`, `/2` is a stride,
`1xn|nx1` are two convolutions side by side on one input; `max` and `avg` are 3x3 pools.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .tally import Misfit


class Form(NamedTuple):
    """branches as above; `kernel` where the row states none; widths of a published module, in the
    order of its convolutions."""

    branches: str
    kernel: int
    widths: tuple[int, ...]


class Step(NamedTuple):
    """One step of a branch: convolutions (kernel, width) side by side, or a pool ("max", "avg")."""

    convs: tuple[tuple[Any, int], ...]
    stride: int
    pool: str


Branches = tuple[tuple[Step, ...], ...]

MODULES = {
    # Szegedy et al. 2014, Figure 2a; widths of the lectures' example on 28x28x256
    "naive": Form("1x1, 3x3, nxn, max", 5, (128, 192, 96)),
    # Figure 2b; widths of module 3a (Table 1)
    "reduced": Form("1x1, 1x1 3x3, 1x1 nxn, max 1x1", 5, (64, 96, 128, 16, 32, 32)),
    # Szegedy et al. 2015, Figure 5, and 2016, Inception-A, whose widths these are
    "double": Form("1x1, 1x1 nxn, 1x1 3x3 3x3, avg 1x1", 3, (96, 64, 96, 64, 96, 96, 96)),
    # 2015, Figure 6, with Inception-v3's last widths; 2016, Inception-B
    "factorised": Form("1x1, 1x1 1xn nx1, 1x1 nx1 1xn nx1 1xn, avg 1x1", 7, (192,) * 10),
    # 2015, Figure 7, with Inception-v3's widths
    "expanded": Form(
        "1x1, 1x1 1xn|nx1, 1x1 nxn 1xn|nx1, avg 1x1", 3,
        (320, 384, 384, 384, 448, 384, 384, 384, 192),
    ),
    # 2016, Inception-C
    "expanded_v4": Form(
        "1x1, 1x1 1xn|nx1, 1x1 nx1 1xn 1xn|nx1, avg 1x1", 3,
        (256, 384, 256, 256, 384, 448, 512, 256, 256, 256),
    ),
}  # fmt: skip
REDUCTIONS = {
    # 2015, Figure 10, with Inception-v3's widths; 2016, Reduction-A
    "double": Form("3x3/2, 1x1 3x3 3x3/2, max/2", 3, (384, 64, 96, 96)),
    # Inception-v3's second one; 2016, Reduction-B
    "factorised": Form(
        "1x1 3x3/2, 1x1 1xn nx1 3x3/2, max/2", 7, (192, 320, 192, 192, 192, 192)
    ),
}  # fmt: skip
RESIDUALS = {
    # Szegedy et al. 2016, Figure 16 (35x35, 320 channels in public implementations)
    "double": Form("1x1, 1x1 3x3, 1x1 3x3 3x3", 3, (32, 32, 32, 32, 48, 64)),
    # Figure 17 (17x17, 1088 channels); Figure 19 with kernel 3
    "factorised": Form("1x1, 1x1 1xn nx1", 7, (192, 128, 160, 192)),
}

STEP = re.compile(r"(?P<kernels>(?:\wx\w)(?:\|\wx\w)*|)(?P<pool>max|avg|)(?:/(?P<stride>\d))?")


@functools.lru_cache(4096)
def branches(form: Form, kernel: int | None, widths: Sequence[int] | None) -> Branches:
    """The form's branches with those widths, None: the published ones. Raises Misfit."""
    if kernel is not None and kernel % 2 == 0:
        raise Misfit(f"kernel {kernel} would change one branch's size: take an odd one")
    given = form.widths if widths is None else widths
    if len(given) != len(form.widths):
        raise Misfit(
            f"widths has {len(given)} numbers, but {form.branches!r} has {len(form.widths)} "
            f"convolutions: one each in that order, such as {list(form.widths)}"
        )
    left = iter(given)
    return tuple(
        tuple(_step(text, kernel or form.kernel, left) for text in branch.split())
        for branch in form.branches.split(", ")
    )


def _step(text: str, kernel: int, widths: Iterator[int]) -> Step:
    match = STEP.fullmatch(text)
    assert match is not None, text
    sides = [kernels.split("x") for kernels in match["kernels"].split("|") if kernels]
    pairs = [tuple(kernel if side == "n" else int(side) for side in pair) for pair in sides]
    convs = tuple((h if h == w else (h, w), next(widths)) for h, w in pairs)
    return Step(convs, int(match["stride"] or 1), match["pool"])


@functools.lru_cache(4096)
def fitted(form: Form, widths: tuple[int, ...] | None, channels: int) -> tuple[int, ...]:
    """The form's widths, scaled so that what its branches end with are `channels` in all.

    Raises Misfit where that leaves a branch without a channel.
    """
    plan = branches(form, None, widths)
    given = form.widths if widths is None else widths
    ends = [i for i, is_end in enumerate(_ends(plan)) if is_end]
    total = sum(given[i] for i in ends)
    if channels < len(ends):
        raise Misfit(
            f"its convolutions are left {channels} channels to end with, fewer than the "
            f"{len(ends)} that end its branches; give it at least {len(ends)}"
        )
    if total == channels:
        return given
    found = [max(1, round(width * channels / total)) for width in given]
    # rounded ends must sum to `channels`: the widest ones, which notice least, take the rest
    rest = channels - sum(found[i] for i in ends)
    while rest:
        step = 1 if rest > 0 else -1
        for i in sorted(ends, key=lambda i: -found[i])[: abs(rest)]:
            if found[i] + step > 0:
                found[i] += step
                rest -= step
    return tuple(found)


def _ends(plan: Branches) -> Iterator[bool]:
    for branch in plan:
        for step in branch:
            for _ in step.convs:
                yield step is branch[-1]

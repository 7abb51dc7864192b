"""Whether two architectures are one network: whether, with the same weights, they do the same.

Asked of networks as functions and not of their settings: a `repeat` of an identity, a `ceil` that
cuts nothing off and a relu behind a relu differ in every other way. The weights are not the
initial ones, which hide much (a scale of 0 silences a whole branch, biases of 0 make orders
equal), but drawn wide, and the images grow from small to large, so that activations bend where
they can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ..space import Architecture
from .building import build
from .image import image_size
from .pricing import cost

IMAGES = 4  # with two, a batch norm of single pixels leaves nothing but signs
MOST_PARAMS = 20_000_000  # a network has; above, it is not built: 80 MB each
MOST_MACS = 4_000_000_000
CLEAR = 1e-2  # of the largest value: in float32 no rounding makes that much
NEAR = 1e-6  # in float32; between the two float64 has to say
EQUAL = 1e-9  # in float64 no setting changes so little
BENT = 8.0  # a norm's scale in one channel: beyond the 6 of relu6

Answer = tuple[Tensor, ...]


@dataclass(frozen=True)
class Sketch:
    """What a network is at a glance: its parameters' shapes and sums, and what one batch in
    training leaves: logits, with those of side heads, and running statistics.
    """

    shapes: tuple[tuple[int, ...], ...]
    sums: tuple[float, ...]
    batch: tuple[Answer, Answer]


def same_network(a: Architecture, b: Architecture, *, thorough: bool = True, **of: Any) -> bool:
    """Whether both start from the same weights and compute the same with any.

    `of`: classes, channels, size. Where it is too costly to say, they count as different.
    thorough  compares gradients and evaluation too, in float64; else only where one batch in
              training leaves a doubt, which takes a tenth of the time
    Raises ShapeError.
    """
    prices = cost(a, **of), cost(b, **of)
    if prices[0].params != prices[1].params or any(
        price.params > MOST_PARAMS or price.macs > MOST_MACS for price in prices
    ):
        return False
    known = tuple(sorted(of.items()))
    sketches = _sketch(a, known), _sketch(b, known)
    if sketches[0].shapes != sketches[1].shapes or sketches[0].sums != sketches[1].sums:
        return False
    batches = list(zip(sketches[0].batch, sketches[1].batch, strict=True))
    if not all(_agree(x, y, CLEAR) for x, y in batches):
        return False
    if not thorough and all(_agree(x, y, NEAR) for x, y in batches):
        return True
    with torch.random.fork_rng(devices=[]):
        answers = zip(_answers(a, of), _answers(b, of), strict=True)
        return all(_agree(x, y, EQUAL) for x, y in answers)


@lru_cache(maxsize=64)
def _sketch(architecture: Architecture, of: tuple[tuple[str, Any], ...]) -> Sketch:
    with torch.random.fork_rng(devices=[]):
        model = _built(architecture, dict(of))
        parameters = list(model.parameters())
        shapes = tuple(tuple(parameter.shape) for parameter in parameters)
        sums = tuple(float(p.detach().double().square().sum()) for p in parameters)
        sums += tuple(float(p.detach().double().sum()) for p in parameters)
        _spread(model)
        with torch.no_grad():
            logits = tuple(_logits(model, _images(architecture, dict(of))))
            return Sketch(shapes, sums, (logits, tuple(b.float() for b in model.buffers())))


def _answers(architecture: Architecture, of: dict[str, Any]) -> Iterator[Answer]:
    """What a network does, in float64: trained, what it keeps of that, and evaluated."""
    model, images = _built(architecture, of).double(), _images(architecture, of).double()
    _spread(model)
    yield from _trained(model, images)
    yield tuple(buffer.double() for buffer in model.buffers())
    _calibrate(model, images)
    yield from _trained(model.eval(), images)


def _built(architecture: Architecture, of: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return build(architecture, **of)


def _spread(model: nn.Module) -> None:
    """Weights as training may make them, drawn in the order of the parameters."""
    generator = torch.Generator().manual_seed(1)
    norms = {id(module.weight) for module in model.modules() if isinstance(module, nn.BatchNorm2d)}
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
            if id(parameter) in norms:
                parameter.copy_(noise)
                parameter.view(-1)[0] = BENT
            elif parameter.dim() > 1 and bool(parameter.any()):
                parameter.mul_(1 + noise / 2)
            else:
                parameter.add_(noise / 2)


def _images(architecture: Architecture, of: dict[str, Any]) -> Tensor:
    """A batch from faint to glaring."""
    given = of["size"]
    size = (given, given) if isinstance(given, int) else given or image_size(architecture, None)
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(IMAGES, of["channels"], *size, generator=generator)
    return images * 2.0 ** torch.arange(IMAGES).view(-1, 1, 1, 1)


def _logits(model: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """Of the images, and of side heads; with the same random numbers each time."""
    torch.manual_seed(2)
    yield model(images)
    for module in model.modules():
        side = getattr(module, "side_logits", None)
        if side is not None:
            yield side * module.weight


def _trained(model: nn.Module, images: Tensor) -> Iterator[Answer]:
    """Its logits, then the gradients of a loss of them."""
    logits = tuple(_logits(model, images))
    yield tuple(each.detach() for each in logits)
    generator = torch.Generator().manual_seed(3)
    loss = torch.zeros((), dtype=logits[0].dtype)
    for each in logits:
        loss = loss + (each * torch.randn(each.shape, generator=generator)).sum()
    model.zero_grad()
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = (p.grad for p in model.parameters())
    yield tuple(torch.zeros(0) if grad is None else grad.clone() for grad in gradients)


def _calibrate(model: nn.Module, images: Tensor) -> None:
    """Running statistics of the batch itself, so that evaluation stays within bounds."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        tuple(_logits(model.train(), images))


def _agree(xs: Answer, ys: Answer, within: float) -> bool:
    """Whether they differ by no more than that share of the largest value."""
    if [x.shape for x in xs] != [y.shape for y in ys]:
        return False
    largest = max((float(x.abs().max()) for x in (*xs, *ys) if x.numel()), default=0.0)
    return all(bool(((x - y).abs() <= within * largest).all()) for x, y in zip(xs, ys, strict=True))

"""The cost of an operator that states none: measured on the meta device, where nothing is computed.

One forward pass through the module is watched: what each of torch's operations takes and gives.
It takes some milliseconds, so equal questions are asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .tally import Misfit, Place, Tally

MOST_REMEMBERED = 10_000
View = tuple[int, int]  # (height, width) in pixels of the operator's input


@dataclass(frozen=True)
class Measured:
    """What one application adds to a Tally. `view` in pixels of its input."""

    shape: tuple[int, ...]
    params: int
    buffers: int
    macs: int
    activations: int
    kept: int
    largest: int
    view: View


def measured_cost(
    module: Callable[..., nn.Module], context: tuple[str, ...]
) -> Callable[..., None]:
    """A `cost` for an operator without one; `context`: what its `__init__` wants to know.

    The first measurement of a setting builds the module. Raises Misfit where that, or its forward
    pass, fails on this shape.
    """
    ask = _asker(module, context)

    def cost(tally: Tally, **settings: Any) -> None:
        found = ask(tally, settings)
        if isinstance(found, str):
            raise Misfit(found)
        _book(tally, found)

    return cost


def checked_cost(
    cost: Callable[..., Any], module: Callable[..., nn.Module], context: tuple[str, ...]
) -> Callable[..., None]:
    """The `cost` that a plug-in states, held against the module itself: shape and parameters.

    Raises Misfit where they differ. A module that cannot be measured is taken at its word; so are
    multiply-adds, which may be those of operations that the measurement does not know.
    """
    ask = _asker(module, context)

    def checked(tally: Tally, **settings: Any) -> None:
        found, before = ask(tally, settings), tally.params
        cost(tally, **settings)
        if isinstance(found, str):
            return
        shape = (tally.channels,) if tally.flat else (tally.channels, tally.height, tally.width)
        params = tally.params - before
        if (shape, params) != (found.shape, found.params):
            said, is_so = ("x".join(map(str, each)) for each in (shape, found.shape))
            raise Misfit(
                f"its cost states {params} parameters and an output of {said}, but its module has "
                f"{found.params} and {is_so}: mend `cost`, or leave it out, and it is measured"
            )

    return checked


def _asker(
    module: Callable[..., nn.Module], context: tuple[str, ...]
) -> Callable[[Tally, Mapping[str, Any]], Measured | str]:
    """Measures a module where a tally stands, each question once: the figures, or what failed."""
    remembered: dict[object, Measured | str] = {}

    def ask(tally: Tally, settings: Mapping[str, Any]) -> Measured | str:
        tally_knows = {
            "in_channels": tally.channels,
            "size": (tally.height, tally.width),
            "activated": tally.activated,
            "previous": tally.previous and tally.previous[:3],
            "depth": 1.0,
        }
        known = {name: tally_knows[name] for name in context}
        shape = (tally.channels,) if tally.flat else (tally.channels, tally.height, tally.width)
        key = (shape, _frozen(known), _frozen(settings))
        if key not in remembered:
            if len(remembered) >= MOST_REMEMBERED:
                remembered.clear()
            shapes: list[tuple[int, ...]] = [shape]
            if "previous" in context:
                shapes.append(_shape_of(tally.previous) if tally.previous else shape)
            remembered[key] = _measure(lambda: module(**known, **settings), shapes)
        return remembered[key]

    return ask


def _shape_of(place: Place) -> tuple[int, ...]:
    channels, height, width, flat, *_ = place
    return (channels,) if flat else (channels, height, width)


def _measure(make: Callable[[], nn.Module], shapes: list[tuple[int, ...]]) -> Measured | str:
    """The figures, or what went wrong: a user's module may refuse a shape in any way.

    shapes  of its input, and of the output before that where it takes one
    """
    image = "x".join(map(str, shapes[0]))
    try:
        with torch.device("meta"):
            model = make().eval()
            images = [torch.empty(1, *shape) for shape in shapes]
        with torch.no_grad(), _Watch(*images) as watch:
            made = model(*images)
    except Exception as error:
        return f"it fails on an input of {image}: {type(error).__name__}: {error}"
    if not isinstance(made, Tensor) or made.dim() not in (2, 4) or made.shape[0] != 1:
        what = "x".join(map(str, made.shape)) if isinstance(made, Tensor) else type(made).__name__
        return f"it gives {what} for an input of 1x{image}: (N, C, H, W) or (N, C) is wanted"
    return Measured(
        shape=tuple(made.shape[1:]),
        params=sum(p.numel() for p in model.parameters()),
        buffers=sum(b.numel() for b in model.buffers() if b.is_floating_point()),
        macs=watch.macs,
        activations=watch.activations,
        kept=watch.kept,
        largest=watch.largest,
        view=watch.view_of(made),
    )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what torch's operations cost, and follows how far each tensor sees.

    macs         multiply-adds of convolutions and matrix products
    activations  output values of convolutions
    kept         values of all that was made: what training may have to keep, at the most
    """

    def __init__(self, images: Tensor, *previous: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = self.activations = self.kept = 0
        self.largest = images.numel()
        self._height, self._width = images.shape[2:] if images.dim() == 4 else (1, 1)
        self._views: dict[int, View] = {id(each): (1, 1) for each in (images, *previous)}
        self._alive = [images, *previous]  # an id is the tensor's as long as it lives

    def view_of(self, tensor: Tensor) -> View:
        return self._views.get(id(tensor), (1, 1))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        name = func.overloadpacket.__name__
        self._count(name, args, inputs, outputs)
        seen = self._see(name, args, inputs, outputs)
        for output in outputs:
            self._views[id(output)] = seen
            self._alive.append(output)
            if not func.is_view:
                self.kept += output.numel()
                self.largest = max(self.largest, output.numel())
        return made

    def _count(
        self, name: str, args: tuple[Any, ...], inputs: list[Tensor], outputs: list[Tensor]
    ) -> None:
        if "convolution" in name:
            weight, transposed = args[1], bool(args[6])
            pixels = inputs[0] if transposed else outputs[0]
            self.macs += weight.numel() * pixels[0, 0].numel()
            self.activations += outputs[0].numel()
        elif name in ("mm", "bmm", "addmm", "baddbmm"):
            a, b = inputs[-2:]
            self.macs += a.numel() * b.shape[-1]

    def _see(
        self, name: str, args: tuple[Any, ...], inputs: list[Tensor], outputs: list[Tensor]
    ) -> View:
        """How far the outputs see: as far as their inputs, and the operation's window."""
        views = [self._views.get(id(each), (1, 1)) for each in inputs]
        height, width = max(v[0] for v in views or [(1, 1)]), max(v[1] for v in views or [(1, 1)])
        image = next((each for each in inputs if each.dim() == 4 and id(each) in self._views), None)
        if image is None or not outputs:
            return height, width
        if "convolution" in name:
            kernel, dilation = args[1].shape[2:], args[5]
            window = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        elif "pool" in name and "adaptive" not in name:
            kernel = args[1] if len(args[1]) == 2 else list(args[1]) * 2
            window = [k - 1 for k in kernel]
        elif outputs[0].dim() < 4 or "mean" in name or "adaptive" in name:
            window = [side - 1 for side in image.shape[2:]]
        else:
            return height, width
        jump_h = max(1, round(self._height / image.shape[2]))
        jump_w = max(1, round(self._width / image.shape[3]))
        return height + window[0] * jump_h, width + window[1] * jump_w


def _book(tally: Tally, found: Measured) -> None:
    tally.params += found.params
    tally.buffers += found.buffers
    tally.macs += found.macs
    tally.activations += found.activations
    tally.kept += found.kept
    tally.largest = max(tally.largest, found.largest)
    tally.view_h += (found.view[0] - 1) * tally.jump_h
    tally.view_w += (found.view[1] - 1) * tally.jump_w
    height, width = found.shape[1:] if len(found.shape) == 3 else (1, 1)
    if height * width > 1:  # else it saw the whole map, and nothing has a neighbour
        tally.jump_h *= max(1, round(tally.height / height))
        tally.jump_w *= max(1, round(tally.width / width))
    tally.channels, tally.height, tally.width = found.shape[0], height, width
    tally.flat = len(found.shape) == 1
    tally.activated = tally.pending = False


def _frozen(value: Any) -> object:
    if isinstance(value, Mapping):
        return tuple((key, _frozen(inner)) for key, inner in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_frozen(inner) for inner in value)
    return value

"""The cost of an operator that states none: measured on the meta device, where nothing is computed.

One forward pass through the module is watched: what each of torch's operations takes and gives.
It takes some milliseconds, so equal questions are asked once.

A plug-in may crash, end or hang the process that asks it. So a question is plain values, and where
`plugins.elsewhere` is set (in a search, see search/measuring.py) another process answers it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .. import plugins
from ..errors import NasError, words_of
from .sight import Eye
from .tally import Misfit, Place, Tally

MOST_REMEMBERED = 10_000
MOST_WORDS = 1000  # characters of what a user's code raises
View = tuple[int, int]  # (height, width) in pixels of the operator's input
Step = tuple[float, float]  # the same


class MeasuredLayer(NamedTuple):
    """A layer with weights, or a `product` of two maps (attention has such).

    `params` with its bias, `weights` without: those that no layer before has. `view` and `step` of
    its output, in pixels of the operator's input.
    """

    kind: str
    shape: tuple[int, ...]
    params: int
    macs: int
    activations: int
    weights: int
    view: View
    step: Step


@dataclass(frozen=True)
class Measured:
    """What one application adds to a Tally. `view`, and the `step` between its output's neighbours,
    in pixels of its input; `depth`: weight layers on the longest path.
    """

    shape: tuple[int, ...]
    params: int
    buffers: int
    macs: int
    activations: int
    kept: int
    largest: int
    view: View
    step: Step
    depth: int
    layers: tuple[MeasuredLayer, ...]


@dataclass(frozen=True)
class Question:
    """What is asked of an operator's class (`home`, `name`); plain values, for another process.

    known   what its `__init__` wants to know beside the row's settings
    shapes  of its input, and of the output before that where it takes one
    tally   values of the Tally that its stated `cost` is to move; None: its module is measured
    """

    home: str
    name: str
    known: Mapping[str, Any]
    settings: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    tally: tuple[Any, ...] | None = None

    def about(self, verb: str) -> str:
        """The beginning of a sentence on how it fails."""
        who = "it" if self.tally is None else "its cost"
        return f"{who} {verb} on an input of {_text(self.shapes[0])}"


Answer = Measured | Misfit | tuple[Any, ...]  # the last one: values of the Tally that was moved


def measured_cost(
    module: Callable[..., nn.Module], context: tuple[str, ...]
) -> Callable[..., None]:
    """A `cost` for an operator without one; `context`: what its `__init__` wants to know.

    The first measurement of a setting builds the module. Raises Misfit where that, or its forward
    pass, fails on this shape.
    """
    asked = _Asked(module, context)

    def cost(tally: Tally, **settings: Any) -> None:
        found = asked.measure(tally, settings)
        if isinstance(found, Misfit):
            raise _bare(found)
        _book(tally, found)

    return cost


def checked_cost(
    cost: Callable[..., Any], module: Callable[..., nn.Module], context: tuple[str, ...]
) -> Callable[..., None]:
    """The `cost` that a plug-in states, held against the module itself: shape and parameters.

    Raises Misfit where they differ, where `cost` fails, and where it leaves what is no figure. One
    whose module cannot be measured is taken at its word (the module may need real images, and
    crash without); so are multiply-adds, which may be those of operations that the measurement does
    not know.
    """
    asked = _Asked(module, context, cost)

    def checked(tally: Tally, **settings: Any) -> None:
        found, before = asked.measure(tally, settings), _copy(tally)
        asked.move(tally, settings)
        _check(tally, before, cost)
        if isinstance(found, Misfit):
            return
        shape = (tally.channels,) if tally.flat else (tally.channels, tally.height, tally.width)
        params = tally.params - before.params
        if (shape, params) != (found.shape, found.params):
            said, is_so = map(_text, (shape, found.shape))
            raise Misfit(
                f"its cost states {params} parameters and an output of {said}, but its module has "
                f"{found.params} and {is_so}: mend `cost`, or leave it out, and it is measured"
            )

    return checked


def guarded_cost(cost: Callable[..., Any]) -> Callable[..., Any]:
    """A plug-in's `cost` that nothing can be held against; Misfit is all that it raises."""

    def guarded(tally: Tally, **settings: Any) -> Any:
        before = _copy(tally)
        with _as_misfit(f"its cost fails on {tally.shape()}"):
            made = cost(tally, **settings)
        _check(tally, before, cost)
        return made

    return guarded


class _Asked:
    """An operator's class that questions are asked of, each once; `cost` as it states it."""

    def __init__(
        self,
        module: Callable[..., nn.Module],
        context: tuple[str, ...],
        cost: Callable[..., Any] | None = None,
    ) -> None:
        self._module, self._context, self._cost = module, context, cost
        self._measured: dict[object, Measured | Misfit] = {}
        self._refused: dict[object, Misfit] = {}  # where `cost` failed, elsewhere
        self._name = (module.__module__, getattr(module, "__qualname__", ""))
        _ASKED[self._name] = self

    def measure(self, tally: Tally, settings: Mapping[str, Any]) -> Measured | Misfit:
        """What the module adds where the tally stands, or why it does not run there."""
        question = self._question(tally, settings)
        key = (question.shapes, _frozen(question.known), _frozen(settings))
        if key not in self._measured:
            if len(self._measured) >= MOST_REMEMBERED:
                self._measured.clear()
            found = self._elsewhere(question)
            self._measured[key] = self.answer(question) if found is None else found
        return self._measured[key]

    def move(self, tally: Tally, settings: Mapping[str, Any]) -> None:
        """Have the stated cost move the tally. Raises Misfit."""
        assert self._cost is not None
        question = replace(self._question(tally, settings), tally=_values(tally))
        if type(tally) is not Tally:  # one that notes more than its values
            with _as_misfit(question.about("fails")):
                self._cost(tally, **settings)
            return
        key = (tally.state(), _frozen(settings))
        if key in self._refused:
            raise _bare(self._refused[key])
        found = self._elsewhere(question)
        if found is None:
            found = self.answer(question)
        elif isinstance(found, Misfit):
            self._refused[key] = found
        if isinstance(found, Misfit):
            raise _bare(found)
        _moved(tally, found)

    def answer(self, question: Question) -> Any:
        """In the process that is to bear what the plug-in does: an Answer."""
        try:
            if question.tally is None:
                return _measure(self._module, question)
            assert self._cost is not None
            tally = _moved(Tally(1, 1, 1), question.tally)
            with _as_misfit(question.about("fails")):
                self._cost(tally, **question.settings)
            return _values(tally)
        except Misfit as misfit:
            return _bare(misfit)

    def _elsewhere(self, question: Question) -> Any:
        """Another process's Answer; None: there is none, or it knows no such class."""
        if plugins.elsewhere is None or question.home.startswith("nas."):
            return None
        return plugins.elsewhere(question)

    def _question(self, tally: Tally, settings: Mapping[str, Any]) -> Question:
        tally_knows = {
            "in_channels": tally.channels,
            "size": (tally.height, tally.width),
            "activated": tally.activated,
            "previous": tally.previous and tally.previous[:3],
            "depth": 1.0,
        }
        known = {name: tally_knows[name] for name in self._context if name in tally_knows}
        shape = (tally.channels,) if tally.flat else (tally.channels, tally.height, tally.width)
        shapes: list[tuple[int, ...]] = [shape]
        if "previous" in self._context:
            shapes.append(_shape_of(tally.previous) if tally.previous else shape)
        return Question(*self._name, known, settings, tuple(shapes))


_ASKED: dict[tuple[str, str], _Asked] = {}


def answer(question: Question) -> Answer | None:
    """What a class of this process says; None: there is no such class."""
    asked = _ASKED.get((question.home, question.name))
    found: Answer | None = None if asked is None else asked.answer(question)
    return found


@contextmanager
def _as_misfit(about: str) -> Iterator[None]:
    """Whatever a user's code raises is a Misfit that begins so; what we raise stays."""
    try:
        yield
    except (Misfit, NasError):
        raise
    except BaseException as error:
        if plugins.is_ctrl_c(error):
            raise
        raise Misfit(f"{about}: {words_of(error, MOST_WORDS)}") from error


def _bare(misfit: Misfit) -> Misfit:
    """The same without its traceback: that would keep the module and its tensors."""
    return Misfit(str(misfit), small=misfit.small, remedy=misfit.remedy)


def _values(tally: Tally) -> tuple[Any, ...]:
    return tuple(getattr(tally, name) for name in Tally.__slots__)


def _moved(tally: Tally, values: tuple[Any, ...]) -> Tally:
    for name, value in zip(Tally.__slots__, values, strict=True):
        setattr(tally, name, value)
    return tally


def _copy(tally: Tally) -> Tally:
    return _moved(Tally(1, 1, 1), _values(tally))


def _check(tally: Tally, before: Tally, cost: Callable[..., Any]) -> None:
    """Raise Misfit where the user's `cost` has left what is no figure, naming where it stands."""
    try:
        tally.check_growth(before)
    except Misfit as misfit:
        code = getattr(cost, "__code__", None)
        place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
        raise Misfit(f"its cost{place} {misfit}") from None


def _shape_of(place: Place) -> tuple[int, ...]:
    channels, height, width, flat, *_ = place
    return (channels,) if flat else (channels, height, width)


def _measure(module: Callable[..., nn.Module], question: Question) -> Measured:
    """The figures. Raises Misfit: a user's module may refuse a shape in any way."""
    with _as_misfit(question.about("fails")):
        with torch.device("meta"):
            model = module(**question.known, **question.settings).eval()
            images = [torch.empty(1, *shape) for shape in question.shapes]
        if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
            raise Misfit(
                "it has lazy layers, whose weights have no size before an image comes: let its "
                "__init__ take in_channels, and make layers of that many"
            )
        with torch.no_grad(), _Watch(model, *images) as watch:
            made = model(*images)
        if not isinstance(made, Tensor) or made.dim() not in (2, 4) or made.shape[0] != 1:
            of = isinstance(made, Tensor)
            what = "x".join(map(str, made.shape)) if of else type(made).__name__
            image = "x".join(map(str, question.shapes[0]))
            raise Misfit(
                f"it gives {what} for an input of 1x{image}: (N, C, H, W) or (N, C) is wanted"
            )
        return Measured(
            shape=tuple(made.shape[1:]),
            params=sum(p.numel() for p in model.parameters()),
            buffers=sum(b.numel() for b in model.buffers() if b.is_floating_point()),
            macs=watch.macs,
            activations=watch.activations,
            kept=watch.kept,
            largest=watch.largest,
            view=watch.eye.view_of(made),
            step=watch.eye.step_of(made),
            depth=watch.depth_of(made),
            layers=tuple(watch.layers),
        )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what torch's operations cost, and follows how far each tensor sees.

    macs         multiply-adds of convolutions and matrix products
    activations  output values of convolutions
    kept         values of all that was made: what training may have to keep, at the most
    layers       convolutions and products with weights, in their order
    """

    def __init__(self, model: nn.Module, images: Tensor, *previous: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = self.activations = self.kept = 0
        self.largest = images.numel()
        self.layers: list[MeasuredLayer] = []
        self.eye = Eye(images, *previous)
        self._depths: dict[int, int] = {}
        self._parameters = {id(each): each for each in model.parameters()}
        # of all that does not come from the input, the parameter that it is made of, or 0
        self._weights = {number: number for number in self._parameters}
        self._weights |= {id(each): 0 for each in model.buffers()}
        self._left: dict[int, int] = {}  # values of each that are in no layer yet; else: all

    def depth_of(self, tensor: Tensor) -> int:
        """Weight layers on the longest path to it."""
        return self._depths.get(id(tensor), 0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        name = func.overloadpacket.__name__
        self.eye.follow(func, args, kwargs, made)
        depth = max(map(self.depth_of, inputs), default=0)
        roots = [self._weights.get(id(each)) for each in inputs]
        layer = self._count(name, args, inputs, outputs)
        for output in outputs:
            self._depths[id(output)] = depth + layer
            self._weights.pop(id(output), None)
            if all(root is not None for root in roots):
                self._weights[id(output)] = next(filter(None, roots), 0)
            if not func.is_view:
                self.kept += output.numel()
                self.largest = max(self.largest, output.numel())
        return made

    def _count(
        self, name: str, args: tuple[Any, ...], inputs: list[Tensor], outputs: list[Tensor]
    ) -> bool:
        """Add up what it costs; whether it is a layer with weights."""
        if "convolution" in name:
            image, weight, bias, transposed = args[0], args[1], args[2], bool(args[6])
            pixels = inputs[0] if transposed else outputs[0]
            macs = weight.numel() * pixels[0, 0].numel()
            self.activations += outputs[0].numel()
            kernel = "x".join(map(str, weight.shape[2:]))
            groups = args[8]
            word = "dw" if groups == image.shape[1] > 1 else "conv"
            kind, shape = f"{word}{kernel}", tuple(outputs[0].shape[1:])
            values = outputs[0].numel()
        elif name in ("mm", "bmm", "addmm", "baddbmm"):
            image, weight = inputs[-2:]
            bias = inputs[0] if name.startswith(("addmm", "badd")) else None
            macs, values = image.numel() * weight.shape[-1], 0
            places = self.eye.places_of(image) or (image.shape[-2], 1)
            kind, shape = "linear", (weight.shape[-1], *places)
        else:
            return False
        self.macs += macs
        own = next((each for each in (weight, image) if self._weights.get(id(each))), None)
        weights = self._take(own)
        params = weights + self._take(bias)
        along = 1 if "convolution" in name else -1
        seen = self.eye.view_of(outputs[0], along), self.eye.step_of(outputs[0])
        shape = (*shape, 1, 1)[:3]
        kind = "product" if own is None and kind == "linear" else kind
        self.layers.append(MeasuredLayer(kind, shape, params, macs, values, weights, *seen))
        return own is not None

    def _take(self, tensor: Tensor | None) -> int:
        """How many of its weights are in no layer yet: from now on they are."""
        whole = self._weights.get(id(tensor))
        if tensor is None or not whole:
            return 0
        left = self._left.get(whole, self._parameters[whole].numel())
        taken = min(tensor.numel(), left)
        self._left[whole] = left - taken
        return taken


def _book(tally: Tally, found: Measured) -> None:
    tally.measured(found.layers, found.depth)
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
        tally.jump_h = math.ceil(tally.jump_h * found.step[0])
        tally.jump_w = math.ceil(tally.jump_w * found.step[1])
    tally.channels, tally.height, tally.width = found.shape[0], height, width
    tally.flat = len(found.shape) == 1
    tally.activated = tally.pending = False


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} values"


def _frozen(value: Any) -> object:
    if isinstance(value, Mapping):
        return tuple((key, _frozen(inner)) for key, inner in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_frozen(inner) for inner in value)
    return value

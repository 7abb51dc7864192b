"""How far the values of a tensor see, by the operations that made it: receptive fields on the meta
device.

Of each dimension a Layout knows which pixels of the input its places stand for, through views,
permutations and reshapes: a dimension is a product of Atoms, outermost first. An operation that
mixes the places of a dimension (a window, a product, a mean) widens the view by what they span. So
a Linear on (N, H·W, C) sees one pixel, attention the whole map, a window's attention the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple


class Atom(NamedTuple):
    """`size` places along an axis of the input ("h", "w"; "" is none), `step` pixels apart: 0 where
    all of them see the same.
    """

    axis: str
    size: int
    step: float


Dimension = tuple[Atom, ...]
Layout = tuple[Dimension, ...] | None  # None: not known


@dataclass(frozen=True)
class Sight:
    """Of a tensor: its layout, and the pixels (height, width) that one of its values sees."""

    layout: Layout
    height: float = 1
    width: float = 1


def of_input(shape: Sequence[int]) -> Sight:
    """The sight of an operator's input, (N, C, H, W) or (N, C)."""
    if len(shape) != 4:
        return Sight(tuple(_plain(size) for size in shape))
    _, channels, height, width = shape
    return Sight(((), _plain(channels), (Atom("h", height, 1),), (Atom("w", width, 1),)))


def of_other(shape: Sequence[int]) -> Sight:
    """The sight of a weight, or a tensor that was made from nothing."""
    return Sight(tuple(_plain(size) for size in shape))


class Eye:
    """Follows operations on an input of (height, width)."""

    def __init__(self, height: int, width: int) -> None:
        self._whole = {"h": height, "w": width}

    def after(
        self, name: str, args: tuple[Any, ...], inputs: Sequence[Sight], shape: Sequence[int],
        of: Callable[[Any], Sight],
    ) -> Sight:  # fmt: skip
        """The sight of an output of `shape` of torch's operation `name`.

        inputs  of the tensors among `args`, in their order; `of` gives that of one tensor
        """
        if not any(_spatial(each) for each in inputs):
            return of_other(shape)
        height, width = max(s.height for s in inputs), max(s.width for s in inputs)
        rule = self._rule(name)
        if rule is None:
            return Sight(_broadcast(inputs, shape), height, width)
        made = rule(args, inputs, shape, of)
        return replace(made, height=max(made.height, height), width=max(made.width, width))

    def _rule(self, name: str) -> Callable[..., Sight] | None:
        if name in _RESHAPES:
            return self._reshaped
        if name in _REDUCTIONS:
            return self._reduced
        if "attention" in name:
            return self._attended
        if name.startswith("fractional"):
            return self._fractional
        if "pool" in name:
            return self._adapted if "adaptive" in name else self._pooled
        if name.startswith("upsample"):
            return self._stretched if "nearest" in name else self._resampled
        if name in _MIXES:
            return self._mixed
        return getattr(self, f"_{name.strip('_')}", None) if name in _OWN else None

    # ------------------------------------------------------------------ views
    def _reshaped(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        return replace(inputs[0], layout=_regrouped(inputs[0].layout, shape))

    def _expand(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        return replace(inputs[0], layout=_broadcast(inputs[:1], shape))

    def _permute(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        layout = inputs[0].layout
        return replace(inputs[0], layout=layout and tuple(layout[dim] for dim in args[1]))

    def _transpose(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        layout = inputs[0].layout
        if layout is None:
            return inputs[0]
        swapped = list(layout)
        a, b = args[1:3] if len(args) > 2 else (0, 1)
        swapped[a], swapped[b] = swapped[b], swapped[a]
        return replace(inputs[0], layout=tuple(swapped))

    def _t(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        layout = inputs[0].layout
        return replace(inputs[0], layout=layout and layout[::-1])

    def _cut(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        """Some places of one dimension or of several: their number changes."""
        layout, steps = inputs[0].layout, {}
        if layout is None or len(layout) != len(shape):
            return replace(inputs[0], layout=None)
        if len(args) > 4:  # slice with a step
            steps[args[1] % len(shape)] = args[4]
        dims = zip(layout, shape, strict=True)
        cut = tuple(_resized(dim, n, steps.get(k, 1)) for k, (dim, n) in enumerate(dims))
        return replace(inputs[0], layout=cut)

    _slice = _split = _split_with_sizes = _constant_pad_nd = _cut
    _reflection_pad2d = _replication_pad2d = _cut

    def _select(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        dim = args[1] if len(args) > 1 else 0
        return replace(inputs[0], layout=_without(inputs[0].layout, [dim], keep=False))

    _unbind = _select

    def _cat(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        first = max(inputs, key=_spatial)
        return self._cut((), [first], shape, of)

    def _pixel_unshuffle(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        """Blocks of pixels become channels."""
        n, channels, height, width = shape
        by = args[1]
        blocks = (n, channels // by**2, height, by, width, by)
        return self._shuffled(inputs[0], blocks, (0, 1, 3, 5, 2, 4), shape)

    def _pixel_shuffle(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        n, channels, height, width = shape
        by = args[1]
        blocks = (n, channels, by, by, height // by, width // by)
        return self._shuffled(inputs[0], blocks, (0, 1, 4, 2, 5, 3), shape)

    def _channel_shuffle(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        return inputs[0]

    _native_channel_shuffle = _channel_shuffle

    def _shuffled(
        self, seen: Sight, blocks: Sequence[int], order: Sequence[int], shape: Sequence[int]
    ) -> Sight:
        split = _regrouped(seen.layout, blocks)
        moved = split and tuple(split[place] for place in order)
        return replace(seen, layout=_regrouped(moved, shape))

    # ------------------------------------------------------------------ windows
    def _convolution(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        kernel, stride, dilation, transposed = args[1].shape[2:], args[3], args[5], args[6]
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        if transposed:
            reach = [r // s for r, s in zip(reach, stride, strict=True)]
        image = of(args[0])
        seen = self._span(image, [] if image.layout is None else image.layout[1])
        by = [1 / s if transposed else s for s in stride]
        seen = self._window(seen, reach, shape, by)
        return replace(seen, layout=seen.layout and ((), _plain(shape[1]), *seen.layout[2:]))

    def _pooled(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        many = len(shape) - 2
        kernel = list(args[1]) if len(args[1]) == many else list(args[1]) * many
        stride = list(args[2]) if len(args) > 2 and args[2] else kernel
        by = stride if len(stride) == many else stride * many
        return self._window(inputs[0], [k - 1 for k in kernel], shape, by)

    def _fractional(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        return self._window(inputs[0], [k - 1 for k in args[1]], shape, [2, 2])  # at most

    def _adapted(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        layout = inputs[0].layout
        if layout is None or len(layout) != len(shape):
            return self._all(inputs[0], None)
        pairs = zip(layout[-2:], shape[-2:], strict=True)
        reach = [widest(_size(dim), size) - 1 for dim, size in pairs]
        return self._window(inputs[0], reach, shape)

    def _resampled(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        return self._window(inputs[0], [1] * (len(shape) - 2), shape)

    def _stretched(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        return self._window(inputs[0], [0] * (len(shape) - 2), shape)

    def _window(
        self, seen: Sight, reach: Sequence[int], shape: Sequence[int],
        by: Sequence[float] | None = None,
    ) -> Sight:  # fmt: skip
        """A window slides over the last dimensions and reaches so many places further.

        by  places that it steps by; None: as the sizes say
        """
        layout = seen.layout
        if layout is None or len(layout) != len(shape):
            return self._all(seen, None)
        first = len(shape) - len(reach)
        for dim, further in zip(layout[first:], reach, strict=True):
            finest = min((a for a in dim if a.axis), key=lambda a: a.step, default=None)
            if finest is not None:
                seen = _widened(seen, finest.axis, further * finest.step)
        steps = [None] * len(reach) if by is None else by
        dims = zip(layout[first:], shape[first:], steps, strict=True)
        slid = (_resampled(dim, n, step) for dim, n, step in dims)
        return replace(seen, layout=(*layout[:first], *slid))

    # ------------------------------------------------------------------ sums
    def _mm(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        a, b = inputs[-2:]
        if a.layout is None or b.layout is None:
            return self._all(max(a, b, key=lambda s: s.height), None)
        seen = self._span(a, a.layout[-1])
        other = self._span(b, b.layout[-2])
        outer = tuple(x or y for x, y in zip(a.layout[:-2], b.layout[:-2], strict=True))
        layout = (*outer, a.layout[-2], b.layout[-1])
        return Sight(layout, max(seen.height, other.height), max(seen.width, other.width))

    _addmm = _bmm = _baddbmm = _mm

    def _attended(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        keys = inputs[1]
        seen = self._all(keys, None) if keys.layout is None else self._span(keys, keys.layout[-2])
        return replace(seen, layout=_broadcast(inputs[:1], shape))

    def _mixed(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        """Along one dimension, each value with all others; the shape stays."""
        layout = inputs[0].layout
        dim = args[1] if len(args) > 1 and isinstance(args[1], int) else -1
        if layout is None:
            return self._all(inputs[0], None)
        return replace(self._span(inputs[0], layout[dim]), layout=_alike(layout, [dim]))

    def _native_layer_norm(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        layout = inputs[0].layout
        if layout is None:
            return self._all(inputs[0], None)
        dims = range(-len(args[1]), 0)
        mixed = [atom for dim in dims for atom in layout[dim]]
        return replace(self._span(inputs[0], mixed), layout=_alike(layout, dims))

    def _native_group_norm(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        layout = inputs[0].layout
        return self._all(inputs[0], layout and _alike(layout, range(len(layout))))

    def _reduced(self, args: Any, inputs: Sequence[Sight], shape: Any, of: Any) -> Sight:
        layout = inputs[0].layout
        if layout is None:
            return self._all(inputs[0], None)
        given = args[1] if len(args) > 1 else None
        dims = [given] if isinstance(given, int) and not isinstance(given, bool) else given
        dims = list(dims) if isinstance(dims, list | tuple) and dims else list(range(len(layout)))
        mixed = [atom for dim in dims for atom in layout[dim]]
        kept = _without(layout, dims, keep=len(shape) == len(layout))
        return replace(self._span(inputs[0], mixed), layout=kept)

    def _span(self, seen: Sight, atoms: Iterable[Atom]) -> Sight:
        """What sees all of these places at once; within the operator no more than its input."""
        for axis, whole in self._whole.items():
            further = sum((a.size - 1) * a.step for a in atoms if a.axis == axis)
            if further:
                now = seen.height if axis == "h" else seen.width
                seen = _widened(seen, axis, max(0, min(further, whole - now)))
        return seen

    def _all(self, seen: Sight, layout: Layout) -> Sight:
        """What sees the whole input."""
        height, width = self._whole["h"], self._whole["w"]
        return Sight(layout, max(seen.height, height), max(seen.width, width))


_RESHAPES = frozenset({
    "view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze", "flatten",
})  # fmt: skip
_REDUCTIONS = frozenset({
    "mean", "sum", "amax", "amin", "var", "std", "var_mean", "norm", "linalg_vector_norm",
    "logsumexp", "prod", "max", "min", "argmax", "argmin",
})  # fmt: skip
_MIXES = frozenset({"_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "flip", "roll"})
_OWN = frozenset({
    "expand", "permute", "transpose", "t", "slice", "split", "split_with_sizes", "select", "unbind",
    "constant_pad_nd", "reflection_pad2d", "replication_pad2d", "cat", "convolution", "mm",
    "addmm", "bmm", "baddbmm", "native_layer_norm", "native_group_norm", "pixel_shuffle",
    "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle",
})  # fmt: skip


def widest(size: int, parts: int) -> int:
    """The widest of the windows that divide `size` values into `parts` (torch's adaptive pools)."""
    if size % parts == 0:
        return size // parts
    return max(-(-(k + 1) * size // parts) - k * size // parts for k in range(parts))


def step_of(dim: Dimension) -> float | None:
    """How many pixels apart the places of a dimension are; None where that says nothing."""
    steps = [atom.step for atom in dim if atom.axis and atom.step]
    return min(steps, default=None)


def sizes(layout: Layout) -> tuple[int, int] | None:
    """How many places (height, width) of the input a tensor holds; None: not known."""
    if layout is None:
        return None
    atoms = [atom for dim in layout for atom in dim]
    height, width = (math.prod(a.size for a in atoms if a.axis == axis) for axis in "hw")
    return height, width


def _plain(size: int) -> Dimension:
    return (Atom("", size, 0),) if size > 1 else ()


def _spatial(seen: Sight) -> bool:
    return seen.layout is None or any(atom.axis for dim in seen.layout for atom in dim) or (
        (seen.height, seen.width) != (1, 1)
    )  # fmt: skip


def _size(dim: Dimension) -> int:
    return math.prod(atom.size for atom in dim)


def _widened(seen: Sight, axis: str, by: float) -> Sight:
    if axis == "h":
        return replace(seen, height=seen.height + by)
    return replace(seen, width=seen.width + by)


def _alike(layout: tuple[Dimension, ...], dims: Iterable[int]) -> Layout:
    """The layout after places of these dimensions were mixed: each of them sees them all."""
    mixed = {dim % len(layout) for dim in dims}
    return tuple(
        tuple(atom._replace(step=0) for atom in dim) if place in mixed else dim
        for place, dim in enumerate(layout)
    )


def _resized(dim: Dimension, size: int, step: int = 1) -> Dimension:
    """A dimension with another number of places, as near to each other (`step` times as far)."""
    if _size(dim) == size:
        return dim
    axis = next((atom for atom in reversed(dim) if atom.axis), None)
    return _plain(size) if axis is None else (Atom(axis.axis, size, axis.step * step),)


def _resampled(dim: Dimension, size: int, by: float | None) -> Dimension:
    """A dimension whose span is now seen by so many places, `by` of the old ones apart."""
    axis = next((atom for atom in reversed(dim) if atom.axis), None)
    if axis is None:
        return _plain(size)
    if _size(dim) == size and by in (None, 1):
        return dim
    if by is not None:
        return (Atom(axis.axis, size, axis.step * by),)
    span = _size(dim) * axis.step
    step = _step(span, size, axis.step) if axis.step else 0.0
    return (Atom(axis.axis, size, step),)


def _step(span: float, size: int, step: float) -> float:
    """How far apart the places are: whole strides, or halves and thirds of a pixel."""
    found = span / size
    return float(round(found / step)) * step if found >= step else found


def _without(layout: Layout, dims: Sequence[int], *, keep: bool) -> Layout:
    if layout is None:
        return None
    gone = {dim % len(layout) for dim in dims}
    if keep:
        return tuple(() if k in gone else dim for k, dim in enumerate(layout))
    return tuple(dim for k, dim in enumerate(layout) if k not in gone)


def _regrouped(layout: Layout, shape: Sequence[int]) -> Layout:
    """The atoms in their order, grouped to other dimensions; None where one breaks unevenly."""
    if layout is None:
        return None
    atoms = [atom for dim in layout for atom in dim if atom.size > 1][::-1]
    made: list[Dimension] = []
    for size in shape:
        dim: list[Atom] = []
        left = size
        while left > 1:
            if not atoms:
                return None
            atom = atoms.pop()
            if left % atom.size == 0:
                dim.append(atom)
                left //= atom.size
            elif atom.size % left == 0:
                inner = atom.size // left
                dim.append(Atom(atom.axis, left, atom.step * inner))
                atoms.append(atom._replace(size=inner))
                left = 1
            else:
                return None
        made.append(tuple(dim))
    return tuple(made)


def _broadcast(inputs: Sequence[Sight], shape: Sequence[int]) -> Layout:
    """Of several tensors that meet place by place: of each dimension the first that varies."""
    if any(each.layout is None for each in inputs):
        return None
    made: list[Dimension] = []
    for place, size in enumerate(reversed(shape), 1):
        found = [
            each.layout[-place]
            for each in inputs
            if each.layout is not None and len(each.layout) >= place
        ]
        fitting = [dim for dim in found if _size(dim) == size]
        spatial = [dim for dim in fitting if any(atom.axis for atom in dim)]
        made.append((spatial or fitting or [_plain(size)])[0])
    return tuple(reversed(made))

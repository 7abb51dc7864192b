"""How far the values of a tensor see: receptive fields on the meta device.

Beside every tensor go small real ones, its Sight: the first and the last row and column of the
operator's input that each of its values depends on. What torch does to the tensor is done to them:
what moves values moves these, what mixes values takes the least first and the greatest last row.
So slices, shifts, blocks, windows and products need no knowledge of one another, and no number is
drawn. Along a dimension where they do not differ, they have size 1.

Beyond an image's edge rows and columns are counted on, as arithmetic does it: a 3x3 convolution
sees three rows at the edge as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache, partial, reduce
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from .spans import MOST, NOTHING, middle, padded, regrouped, slid, spread, squeezed, step

# First row, last row, first column, last column; the last ones negative, so that of all four the
# least is what several values see together, and infinity what nothing sees. None: it sees nothing
Sight = tuple[Tensor, ...] | None


class Eye:
    """Follows operations on an operator's input, and on the output `before` where it takes one."""

    def __init__(self, image: Tensor, *before: Tensor) -> None:
        self._size = (image.shape[2], image.shape[3]) if image.dim() == 4 else (1, 1)
        self._bounds = (0, 1 - self._size[0], 0, 1 - self._size[1])
        self._sights: dict[int, Sight] = {id(each): _of_image(each) for each in (image, *before)}
        self._written: dict[int, tuple[Tensor, ...]] = {}  # sights of storages, value by value
        self._alive: list[Any] = [image, *before]  # an id is its tensor's as long as it lives
        self._wholes = {_storage(each): each for each in self._alive}  # the first of each storage

    def follow(self, func: Any, args: tuple[Any, ...], kwargs: Any, made: Any) -> None:
        """Note what the tensors see that torch's operation `func` has `made`."""
        outputs = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        seen: Sequence[Sight] = [None] * len(outputs)
        if any(self.sight(each) is not None for each in inputs):
            try:
                seen = self._after(func, args, kwargs, outputs)
            except (RuntimeError, IndexError, KeyError, TypeError, ValueError):
                seen = [self._whole(each) for each in outputs]  # one that no rule here foresees
        for output, sight in zip(outputs, seen, strict=True):
            self._alive.append(output)
            whole = self._wholes.setdefault(_storage(output), output)
            if func._schema.is_mutable and sight is not self.sight(output):
                self._write(output, sight, whole)
            self._sights[id(output)] = sight

    def sight(self, tensor: Tensor) -> Sight:
        flat = self._written.get(_storage(tensor)) if self._written else None
        if flat is not None:
            return tuple(squeezed(_placed(each, tensor).clone()) for each in flat)
        return self._sights.get(id(tensor))

    # ------------------------------------------------------------------ answers
    def view_of(self, tensor: Tensor, values: int = 1) -> tuple[int, int]:
        """(height, width) that the place in the tensor's middle sees, by all of its values (along
        that dimension) together: what comes next mixes them.

        Where places are nearer to each other than pixels they take turns: the most of one's.
        """
        sight = self.sight(tensor)
        if sight is None:
            return 1, 1
        turns = [1] * tensor.dim()
        if tensor.dim() == 4:
            turns[2:] = [max(1, round(1 / step)) for step in self.step_of(tensor)]
        parts = [middle(part.amin(values, keepdim=True), turns) for part in sight]
        height, width = ((1 - parts[k] - parts[k + 1]).amax().clamp(min=1) for k in (0, 2))
        return int(height), int(width)

    def step_of(self, tensor: Tensor) -> tuple[float, float]:
        """Pixels between the neighbouring places of an image's tensor."""
        if tensor.dim() != 4:
            return 1.0, 1.0
        sight, made = self.sight(tensor), []
        for axis in (0, 1):
            middles = None
            if sight is not None:
                first, last = (part.amin(1, keepdim=True) for part in sight[2 * axis :][:2])
                both = ((first - last) / 2).movedim(2 + axis, -1)
                middles = both[both.shape[0] // 2, 0, both.shape[2] // 2]
            made.append(step(middles, tensor.shape[2 + axis], self._size[axis]))
        return made[0], made[1]

    def places_of(self, tensor: Tensor) -> tuple[int, int] | None:
        """How many rows and columns the places of (..., places, values) are; None: not known."""
        sight, many = self.sight(tensor), math.prod(tensor.shape[:-1])
        if sight is not None:
            rows, columns = (len(set(sight[k].flatten().tolist())) for k in (0, 2))
            if rows * columns == many:
                return rows, columns
        return self._size if math.prod(self._size) == many else None

    # ------------------------------------------------------------------ rules
    def _after(
        self, func: Any, args: tuple[Any, ...], kwargs: Any, outputs: list[Tensor]
    ) -> Sequence[Sight]:
        name = func.overloadpacket.__name__
        named = _named(func, args, kwargs)
        found = _rule(name)
        if not found and (name in _MOVES or func.is_view):
            return self._moved(func, args, kwargs, outputs)
        mixes = named.get("dim", named.get("dims")) is not None or "keepdim" in named
        rule = getattr(self, found or ("_along" if mixes else "_placewise"))
        return [self._held(rule(name, named, output), output) for output in outputs]

    def _moved(
        self, func: Any, args: tuple[Any, ...], kwargs: Any, outputs: list[Tensor]
    ) -> Sequence[Sight]:
        """Values change their places: the operation itself says how."""
        if func.overloadpacket.__name__ in _RESHAPES:
            (sight, shapes) = self.sight(args[0]), (args[0].shape, outputs[0].shape)
            return [tuple(regrouped(part, *shapes) for part in sight or ())]
        if not func.is_view and sum(map(Tensor.numel, outputs)) > MOST:
            return [self._whole(each) for each in outputs]
        made = []
        for k in range(4):
            own = tree_map_only(Tensor, partial(self._full, k), (args, kwargs or {}))
            leaves = tree_leaves(func(*own[0], **own[1]))
            made.append([squeezed(leaf) for leaf in leaves])
        return list(zip(*made, strict=True))

    def _placewise(self, name: str, named: Any, output: Tensor) -> Sight:
        """Values that meet place by place."""
        return self._met(_tensors(named), output)

    def _nothing(self, name: str, named: Any, output: Tensor) -> Sight:
        return None

    def _everything(self, name: str, named: Any, output: Tensor) -> Sight:
        return self._whole(output)

    def _copied(self, name: str, named: Any, output: Tensor) -> Sight:
        return self._met(_tensors(named)[1:], output)

    def _along(self, name: str, named: Any, output: Tensor) -> Sight:
        """Values of some dimensions are mixed; these may shrink or go."""
        dims = named.get("dim", named.get("dims"))
        made = []
        for tensor in _tensors(named):
            sight, rank = self.sight(tensor), tensor.dim()
            if sight is None:
                continue
            given = range(rank) if dims is None or dims == [] else dims
            over = [dim % rank for dim in ([given] if isinstance(given, int) else given)]
            mixed = self._mixed(sight, over)
            if output.dim() < rank:
                mixed = tuple(each.squeeze(over) for each in mixed)
            made.append(mixed)
        return _least(made)

    def _indexed(self, name: str, named: Any, output: Tensor) -> Sight:
        """By tensors, whose values are not known here."""
        image, indices = named["self"], named["indices"]
        over = [dim for dim, index in enumerate(indices) if index is not None]
        sight = self.sight(image)
        if sight is None or len(over) > 1 or indices[over[0]].dim() != 1:
            return self._whole(output)
        return self._mixed(sight, over)

    # ------------------------------------------------------------------ windows
    def _convolved(self, name: str, named: Any, output: Tensor) -> Sight:
        image, kernel = named["input"], named["weight"].shape[2:]
        groups, sight = named["groups"], self.sight(image)
        if sight is None:
            return self._whole(output)
        made = []
        for each in sight:
            if each.shape[1] > 1:
                parts = each.reshape(each.shape[0], groups, -1, *each.shape[2:]).amin(2)
                each = parts.repeat_interleave(output.shape[1] // groups, 1)
            for axis, side in enumerate(kernel):
                stride, cut, apart = (named[k][axis] for k in ("stride", "padding", "dilation"))
                slide = spread if named["transposed"] else slid
                each = slide(each, axis + 2, output.shape[axis + 2], side, stride, cut, apart)
            made.append(each)
        own = self.sight(named["weight"])  # a kernel may be made of the image: all of it is used
        return _least([tuple(made), self._mixed(own, range(output.dim()))] if own else [made])

    def _pooled(self, name: str, named: Any, output: Tensor) -> Sight:
        kernel, sight = named["kernel_size"], self.sight(named["self"])
        first = output.dim() - len(kernel)
        if sight is None:
            return None
        usual = {"stride": [0], "padding": [0], "dilation": [1]}
        steps, pads, aparts = (named.get(key) or usual[key] for key in usual)
        made = []
        for each in sight:
            for axis, side in enumerate(kernel):
                stride, cut, apart = (of[axis % len(of)] for of in (steps, pads, aparts))
                size = output.shape[first + axis]
                each = slid(each, first + axis, size, side, stride or side, cut, apart)
            made.append(each)
        return tuple(made)

    def _unfolded(self, name: str, named: Any, output: Tensor) -> Sight:
        """Windows become columns (N, C * kernel, places)."""
        image, sight = named["self"], self.sight(named["self"])
        sizes = [named[key] for key in ("kernel_size", "dilation", "padding", "stride")]
        if sight is None or output.numel() > MOST:
            return self._whole(output)
        kernel, dilation, padding, stride = sizes
        made = []
        for each in sight:
            for dim, cut in zip((-2, -1), padding, strict=True):
                each = padded(each, dim, cut, cut)
            sides = [side + 2 * cut for side, cut in zip(image.shape[-2:], padding, strict=True)]
            full = each.expand(*each.shape[:-2], *sides)
            columns = torch.ops.aten.im2col(full, kernel, dilation, [0, 0], stride)
            windows = squeezed(columns.reshape(*each.shape[:-2], math.prod(kernel), -1))
            shape = (*image.shape[:-2], math.prod(kernel), output.shape[-1])
            made.append(regrouped(windows, shape, output.shape))
        return tuple(made)

    def _folded(self, name: str, named: Any, output: Tensor) -> Sight:
        """Columns become windows again, which add up where they overlap."""
        columns, sight = named["self"], self.sight(named["self"])
        keys = ("output_size", "kernel_size", "dilation", "padding", "stride")
        size, kernel, apart, cut, stride = (named[key] for key in keys)
        wide = [side + 2 * more for side, more in zip(size, cut, strict=True)]
        reach = [by * (side - 1) for by, side in zip(apart, kernel, strict=True)]
        many = [(w - r - 1) // s + 1 for w, r, s in zip(wide, reach, stride, strict=True)]
        made = []
        for each in sight or ():
            windows = (*output.shape[:-2], *kernel, *many)
            parts = regrouped(each, columns.shape, windows).expand(
                *each.shape[:-2], -1, *windows[-4:]
            )
            whole = torch.full((*parts.shape[:-4], *wide), NOTHING)
            for tap in product(*map(range, kernel)):
                own = [slice(t * a, t * a + (n - 1) * s + 1, s)
                       for t, a, n, s in zip(tap, apart, many, stride, strict=True)]  # fmt: skip
                place = whole[..., own[0], own[1]]
                place.copy_(torch.minimum(place, parts[..., tap[0], tap[1], :, :]))
            for dim, more in zip((-2, -1), cut, strict=True):
                whole = padded(whole, dim, -more, -more)
            made.append(squeezed(whole))
        return tuple(made)

    def _padded(self, name: str, named: Any, output: Tensor) -> Sight:
        pads = named.get("pad", named.get("padding"))
        sight = self.sight(named["self"])
        made = []
        for each in sight or ():
            for place in range(len(pads) // 2):
                each = padded(each, -1 - place, pads[2 * place], pads[2 * place + 1])
            made.append(each)
        return tuple(made)

    def _resized(self, name: str, named: Any, output: Tensor) -> Sight:
        """As the operation answers to impulses along one dimension after the other."""
        image = _image(named)
        sight, rank = self.sight(image), len(named["output_size"])
        made = []
        for each in sight or ():
            for axis in range(rank):
                dim = image.dim() - rank + axis
                if each.shape[dim] > 1:
                    met = _impulses(named, axis, image.shape[dim])
                    lined = each.movedim(dim, -1).unsqueeze(-1)
                    each = torch.where(met, lined, NOTHING).amin(-2).movedim(-1, dim)
            made.append(each)
        return tuple(made)

    # ------------------------------------------------------------------ products and norms
    def _multiplied(self, name: str, named: Any, output: Tensor) -> Sight:
        *added, a, b = _tensors(named)
        sights = [self._mixed(s, [dim]) for t, dim in ((a, -1), (b, -2)) if (s := self.sight(t))]
        for each in added:
            if self.sight(each) is not None:
                sights.append(self._broadcast(each, output.dim()))
        return self._joined(sights, output)

    def _normed(self, name: str, named: Any, output: Tensor) -> Sight:
        image = _image(named)
        sight, rank = self.sight(image), image.dim()
        if sight is None or output.dim() != rank:
            return self._whole(output)
        if "layer" in name or "rms" in name:
            return self._mixed(sight, range(rank - len(named["normalized_shape"]), rank))
        if "group" in name:
            return self._mixed(sight, range(1, rank))
        own = named.get("training") or named.get("train")  # by the batch's own statistics
        return self._mixed(sight, [0, *range(2, rank)]) if own else sight

    # ------------------------------------------------------------------ parts of rules
    def _mixed(self, sight: tuple[Tensor, ...], dims: Iterable[int]) -> tuple[Tensor, ...]:
        """What all places along these dimensions see together, no more than there is."""
        made, over = [], list(dims)
        for each, bound in zip(sight, self._bounds, strict=True):
            rank = each.dim()
            if any(each.shape[dim % rank] > 1 for dim in over):
                each = each.amin(over, keepdim=True).clamp(min=bound)
            made.append(each)
        return tuple(made)

    def _met(self, tensors: Sequence[Tensor], output: Tensor) -> Sight:
        seen = [t for t in tensors if self.sight(t) is not None]
        if len(seen) == 1 and seen[0].dim() == output.dim():
            return self.sight(seen[0])
        return self._joined([self._broadcast(t, output.dim()) for t in seen], output)

    def _joined(self, sights: Sequence[tuple[Tensor, ...]], output: Tensor) -> Sight:
        for parts in zip(*sights, strict=True):
            sizes = zip(*(each.shape for each in parts), strict=True)
            if math.prod(map(max, sizes)) > MOST:
                return self._whole(output)
        return _least(sights)

    def _broadcast(self, tensor: Tensor, rank: int) -> tuple[Tensor, ...]:
        sight = self.sight(tensor)
        assert sight is not None
        return tuple(each.reshape((1,) * (rank - each.dim()) + each.shape) for each in sight)

    def _held(self, sight: Sight, output: Tensor) -> Sight:
        """The sight, held against its tensor's shape."""
        if not sight:
            return None
        if all(_fits(each, output) for each in sight):
            return sight
        return self._whole(output)

    def _whole(self, tensor: Tensor) -> Sight:
        """Each value sees the whole input."""
        return tuple(torch.full((1,) * tensor.dim(), float(bound)) for bound in self._bounds)

    def _full(self, k: int, tensor: Tensor) -> Tensor:
        """One part of the tensor's sight, for each of its values."""
        sight = self.sight(tensor)
        part = torch.tensor(NOTHING) if sight is None else sight[k]
        return part.expand(tensor.shape)

    def _write(self, tensor: Tensor, sight: Sight, whole: Tensor) -> None:
        """A part of another tensor is written to: that one sees what was written."""
        storage = _storage(tensor)
        if tensor is whole and storage not in self._written:
            return
        if storage not in self._written:
            size = whole.untyped_storage().nbytes() // whole.element_size()
            parts = tuple(torch.full((size,), NOTHING) for _ in range(4))
            for k, part in enumerate(parts):
                _placed(part, whole).copy_(self._full(k, whole))
            self._written[storage] = parts
        for k, part in enumerate(self._written[storage]):
            _placed(part, tensor).copy_(torch.tensor(NOTHING) if sight is None else sight[k])


_RESHAPES = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias"})
_MOVES = _RESHAPES | frozenset({
    "cat", "stack", "roll", "flip", "repeat", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "native_channel_shuffle", "triu", "tril",
})  # fmt: skip
_RULES = {
    "_nothing": "zeros* ones* full* empty* rand* new_* bernoulli fill fill_ zero_",
    "_everything": "as_strided grid_sampler* *linalg_* index_put* _scaled_dot_product*",
    "_copied": "copy_",
    "_convolved": "convolution",
    "_pooled": "max_pool* avg_pool*",
    "_resized": "*upsample* *adaptive* fractional*",
    "_unfolded": "im2col",
    "_folded": "col2im",
    "_padded": "constant_pad* reflection_pad* replication_pad*",
    "_multiplied": "mm addmm bmm baddbmm",
    "_normed": "native_layer_norm native_group_norm *batch_norm* *rms_norm*",
    "_indexed": "index",
}  # by the operation's name; any other: along its `dim`, where it has one, or place by place


@cache
def _rule(name: str) -> str:
    """Which method follows the operation of that name; "": none of them by its name."""
    fits = (rule for rule, words in _RULES.items()
            if any(fnmatchcase(name, word) for word in words.split()))  # fmt: skip
    return next(fits, "")


def _of_image(image: Tensor) -> Sight:
    """What the values of an input (N, C, H, W) see; those of a vector, no pixel."""
    if image.dim() != 4:
        return None
    rows, columns = (torch.arange(float(side)) for side in image.shape[2:])
    down, along = rows.reshape(1, 1, -1, 1), columns.reshape(1, 1, 1, -1)
    return down, -down, along, -along


def _named(func: Any, args: tuple[Any, ...], kwargs: Any) -> dict[str, Any]:
    """An operation's arguments by their names, and itself."""
    given = dict(enumerate(args))
    named = {"func": func}
    for place, each in enumerate(func._schema.arguments):
        named[each.name] = given.get(place, (kwargs or {}).get(each.name, each.default_value))
    return named


def _tensors(named: dict[str, Any]) -> list[Tensor]:
    values = [named[key] for key in named if key != "func"]
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _image(named: dict[str, Any]) -> Tensor:
    """The tensor that an operation is of, beside weights."""
    image: Tensor = named["self"] if "self" in named else named["input"]
    return image


def _storage(tensor: Tensor) -> int:
    number: int = tensor.untyped_storage()._cdata
    return number


def _placed(flat: Tensor, tensor: Tensor) -> Tensor:
    """The tensor's values among those of its storage."""
    return flat.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def _least(sights: Sequence[Sequence[Tensor]]) -> Sight:
    """What several see together."""
    return tuple(reduce(torch.minimum, parts) for parts in zip(*sights, strict=True)) or None


def _fits(part: Tensor, tensor: Tensor) -> bool:
    return part.dim() == tensor.dim() and all(
        own in (1, size) for own, size in zip(part.shape, tensor.shape, strict=True)
    )


def _impulses(named: dict[str, Any], axis: int, size: int) -> Tensor:
    """Which of `size` values along an axis each value after the operation depends on."""
    func, wanted = named["func"], dict(named)
    rank = len(named["output_size"])
    for key in ("output_size", "kernel_size"):
        if key in named:
            wanted[key] = [side if k == axis else 1 for k, side in enumerate(named[key])]
    if "random_samples" in named:
        wanted["random_samples"] = torch.full((1, size, rank), 0.5)
    del wanted["func"]
    first = "self" if "self" in named else "input"
    ones = torch.eye(size).reshape(1, size, *(size if k == axis else 1 for k in range(rank)))
    made = func(**{**wanted, first: ones})
    made = made[0] if isinstance(made, tuple) else made
    met: Tensor = made != 0
    return met.reshape(size, -1)

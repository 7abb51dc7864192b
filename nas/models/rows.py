"""From an architecture's rows to steps: names, defaults, channels, and the rows nobody writes.

Three rows are added here, so that `build` and `cost` agree on them:
  dropout     before the classifier, where the recipe's dropout is above 0
  X_end       a `norm_act` after row X of pre-activation units, unless another such unit follows:
              their sums are raw until then (He et al. 2016)
  flatten     at the end, where the last row leaves a map of 1x1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn

from ..errors import ShapeError, SpaceError, UserError
from ..space import Architecture
from .operators import OPERATORS, Operator
from .scaling import factors, relative_channels, scale_rows
from .tally import Misfit, Tally

TORCH_NAMES = frozenset(dir(nn.Sequential()))
LARGEST_TRIED = 1024  # pixels; how far to look for an image size that would fit


class Row(NamedTuple):
    """A row ready for walking.

    number    its place in the file, which an added row has from the row that caused it
    settings  what the operator takes; its own copy, in which walking resolves `xK` and `stride`
    repeat    None where the file states none
    """

    number: int
    name: str
    operator: Operator
    settings: dict[str, Any]
    repeat: int | None


Known = dict[str, Any]  # what the builder knows of a step's input: operators.KNOWN_BY_BUILDER
OnStep = Callable[[Row, Known], None]
OnRow = Callable[[Row, Tally], None]


def walk(
    architecture: Architecture,
    classes: int,
    tally: Tally,
    *,
    on_step: OnStep | None = None,
    on_row: OnRow | None = None,
) -> None:
    """Take `tally` through the whole network.

    on_step  called for every repetition, once its shapes are found to fit, to build it.
             Without it, equal repetitions are counted once and multiplied.
    on_row   called after every row
    Raises ShapeError from a Misfit.
    """
    rows = table(architecture, classes)
    for place, row in enumerate(rows):
        try:
            _take(row, tally, on_step)
        except Misfit as misfit:
            message = f"row {row.name!r} ({row.operator.name}): {misfit}"
            raise ShapeError(message, architecture.where(row.number)) from misfit
        if on_row:
            on_row(row, tally)
        if tally.pending:
            follower = rows[place + 1] if place + 1 < len(rows) else None
            if follower is None or follower.settings.get("order") != "pre":
                end = _end(row, rows)
                _take(end, tally, on_step)
                if on_row:
                    on_row(end, tally)
    _finish(architecture, rows, classes, tally, on_step, on_row)


def _take(row: Row, tally: Tally, on_step: OnStep | None) -> None:
    settings, cost = row.settings, row.operator.cost
    if settings.get("channels").__class__ is str:
        settings["channels"] = relative_channels(settings["channels"], tally.channels)
    times = row.repeat or 1
    for repetition in range(times):
        if repetition and "stride" in settings:
            settings["stride"] = 1
        if on_step:
            known = {
                "in_channels": tally.channels,
                "size": (tally.height, tally.width),
                "activated": tally.activated,
            }
            cost(tally, **settings)
            on_step(row, known)
        elif repetition == 0:
            cost(tally, **settings)
        else:
            state, sums = tally.state(), tally.sums()
            cost(tally, **settings)
            if tally.state() == state:
                tally.again(sums, times - repetition - 1)
                break


def _end(row: Row, rows: list[Row]) -> Row:
    op = OPERATORS.get("norm_act")
    inherited = {key: row.settings.get(key, op.defaults[key]) for key in op.defaults}
    return Row(row.number, _free(f"{row.name}_end", {r.name for r in rows}), op, inherited, None)


def _finish(
    architecture: Architecture,
    rows: list[Row],
    classes: int,
    tally: Tally,
    on_step: OnStep | None,
    on_row: OnRow | None,
) -> None:
    if tally.channels != classes or tally.height * tally.width != 1:
        raise ShapeError(
            f"the network ends with {tally.shape()}, but the data have {classes} classes: "
            "end it with the rows {op: global_pool} and {op: linear}",
            architecture.where(len(architecture.network) - 1),
        )
    if not tally.flat:
        name = _free("flatten", {row.name for row in rows})
        last = Row(len(architecture.network) - 1, name, OPERATORS.get("flatten"), {}, None)
        _take(last, tally, on_step)
        if on_row:
            on_row(last, tally)


# ------------------------------------------------------------------------------ the table
def table(architecture: Architecture, classes: int) -> list[Row]:
    """The file's rows with names, scaling and defaults applied, and the recipe's dropout."""
    network = architecture.network
    if not network:
        raise SpaceError("the network has no rows", architecture.where(0))
    if architecture.scaling:
        network = scale_rows(network, factors(architecture.scaling, None))
    names = _names(network, architecture)
    stated = architecture.defaults
    rows = []
    for index, entry in enumerate(network):
        op = OPERATORS.get(entry["op"])
        settings = op.defaults.copy()
        for source in (stated, entry):
            for key, value in source.items():
                if key in settings:  # name, op, repeat are not; `space` refuses unknown ones
                    settings[key] = value
        if op.name == "linear" and settings["channels"] is None:
            settings["channels"] = classes
            rows += _dropout(architecture.recipe, index, names)
        rows.append(Row(index, names[index], op, settings, entry.get("repeat")))
    return rows


def _dropout(recipe: Mapping[str, Any], index: int, names: list[str]) -> list[Row]:
    rate = recipe.get("dropout", 0)
    if not rate:
        return []
    name = _free("dropout", set(names))
    return [Row(index, name, OPERATORS.get("dropout"), {"rate": rate}, None)]


def _names(network: list[dict[str, Any]], architecture: Architecture) -> list[str]:
    """Each row's name; unnamed ones take their operator's, numbered where that is not unique."""
    names = [row.get("name") or row["op"] for row in network]
    if not TORCH_NAMES.isdisjoint(names):
        index, name = next(pair for pair in enumerate(names) if pair[1] in TORCH_NAMES)
        raise SpaceError(
            f"row name {name!r} means something else to torch's modules; "
            f"call it {name}_row, for instance",
            architecture.where(index),
        )
    if len(set(names)) == len(names):
        return names
    taken = {row["name"] for row in network if row.get("name")}
    unnamed = [row["op"] for row in network if not row.get("name")]
    result = []
    for row, name in zip(network, names, strict=True):
        if not row.get("name") and (name in taken or unnamed.count(name) > 1):
            name = _free(f"{name}_1", taken)
        taken.add(name)
        result.append(name)
    return result


def _free(name: str, taken: set[str]) -> str:
    """`name`, or with the next free number behind it."""
    stem, number = name.removesuffix("_1"), 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    return name


# ------------------------------------------------------------------------------ the image
def image_size(architecture: Architecture, size: int | tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) of the images: `size`, else what the file's `input` and `scaling` say."""
    if size is None:
        size = architecture.input.get("size")
        side = size if isinstance(size, int) or size is None else max(size)
        size = factors(architecture.scaling, side).resolution or size
    if size is None:
        raise UserError(
            "the size of the images is not known: pass size=32, or write input: {size: 32} "
            "into the file"
        )
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise UserError(f"the size of the images is {height}x{width}: at least 1x1 is needed")
    return height, width


def with_fitting_size(
    error: ShapeError,
    architecture: Architecture,
    classes: int,
    channels: int,
    size: tuple[int, int],
) -> ShapeError:
    """The error, and where a larger image would help, the smallest square one that fits."""
    if not (isinstance(error.__cause__, Misfit) and error.__cause__.small):
        return error

    def fits(side: int) -> bool:
        try:
            walk(architecture, classes, Tally(channels, side, side))
        except ShapeError:
            return False
        return True

    low, high = min(size), 2 * max(size)
    while high <= LARGEST_TRIED and not fits(high):
        low, high = high, 2 * high
    text = f"{error}; the image is {size[0]}x{size[1]}"
    if high > LARGEST_TRIED:
        return _with_place(f"{text}; take out a stride or a pool", error)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    text += f": at least {high}x{high} fits, or take out a stride or a pool"
    return _with_place(text, error)


def _with_place(text: str, error: ShapeError) -> ShapeError:
    longer = ShapeError(text)
    longer.where = error.where
    return longer

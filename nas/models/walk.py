"""One walk through an architecture's rows, which prices them and, where asked, builds them.

Four rows are added on the way, so that `build` and `cost` agree on them:
  resize      before all others, where `scaling` has a gamma and the images are given
  dropout     before the classifier, where the recipe's dropout is above 0 (see `table.py`)
  X_end       a `norm_act` after row X of pre-activation units, unless such a unit of the same
              order follows: their sums are raw until then (He et al. 2016; without the norm after
              order relu_only_pre, whose branches end in one); rows within rows end with one too
  flatten     at the end, where the last row leaves a map of 1x1
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ..errors import ShapeError, hint
from ..space import Architecture
from .composites import Chain
from .operators import OPERATORS, Operator
from .resize import Resize
from .scaling import Later, settled, shown
from .table import Row, free, looks_back, need_layers, read_later, table, units
from .tally import Misfit, Place, Tally

# operators whose output is a part or a multiple of their input's channels, whatever those are
PASS_ON = frozenset({"flatten", "maxout", "transition"})

OnRow = Callable[[Row, Tally], None]


def walk(
    architecture: Architecture,
    classes: int,
    tally: Tally,
    *,
    make: bool = False,
    on_row: OnRow | None = None,
    resize: tuple[int, int] | None = None,
    walker: type[Walk] | None = None,
) -> nn.Sequential:
    """Take `tally` through the whole network.

    make    build the modules and return them; else the nn.Sequential is empty, and equal
            repetitions are counted once and multiplied
    on_row  called after every row of `network`, added ones included
    resize  (height, width) that a row in front brings the images to: compound scaling's gamma
    walker  who walks: a Walk, or one that notes more on its way
    Raises ShapeError from a Misfit, with file:line, row and shapes.
    """
    rows = table(architecture, classes)
    need_layers(architecture, rows)
    if resize is not None:
        name = free("resize", {row.name for row in rows})
        rows.insert(0, Row((0,), name, OPERATORS.get("resize"), {"size": resize}, None))
    tally.look_at(*(resize or (tally.height, tally.width)))
    walking = (walker or Walk)(architecture, rows, tally, make)
    children = walking.rows(rows, on_row)
    _check_end(architecture, classes, tally)
    if not tally.flat:
        name = free("flatten", {row.name for row in rows})
        last = Row((len(architecture.network) - 1,), name, OPERATORS.get("flatten"), {}, None)
        walking.row(last, children)
        if on_row:
            on_row(last, tally)
    return walking.chain(children)


def _check_end(architecture: Architecture, classes: int, tally: Tally) -> None:
    if tally.channels != classes or tally.height * tally.width != 1:
        end = "end it with the rows {op: global_pool} and {op: linear}"
        if tally.height * tally.width == 1 and not tally.flat:
            end = f"give its last convolution channels: classes, or {end}"
        raise ShapeError(
            f"the network ends with {tally.shape()}, but the data have {classes} classes: {end}",
            architecture.where(len(architecture.network) - 1),
        )


Children = OrderedDict[str, nn.Module]


class Walk:
    """Goes through the rows; `walk` is the way to use it."""

    def __init__(
        self, architecture: Architecture, rows: Sequence[Row], tally: Tally, make: bool
    ) -> None:
        self._architecture, self._tally, self._make = architecture, tally, make
        self._rows, self._looks_back = rows, looks_back(rows)
        self._read = read_later(rows)
        self._places: dict[str, Place] = {}  # where those rows end
        self._units = units(rows) if make else 0
        self._unit = 0  # units with a `drop_path` so far
        self._is_output = False  # whether the present tensor is one: the image is not
        self._own_width = False  # whether a row has set the channels: the image's are the data's
        self._repetition = 0  # of the row that is walked
        self._within: list[tuple[str, int]] = []  # rows around it, each with its repetition

    def chain(self, children: Children) -> nn.Sequential:
        """The modules one after the other, in a plain nn.Sequential where that is enough."""
        plain = not (self._looks_back or self._read)
        return nn.Sequential(children) if plain else Chain(children)

    def nested(self, rows: Sequence[Row]) -> nn.Sequential:
        """Rows within a row, for its `cost`."""
        return self.chain(self.rows(rows))

    def rows(self, rows: Sequence[Row], on_row: OnRow | None = None) -> Children:
        """Every row of a list, closed where it leaves a raw sum."""
        children: Children = OrderedDict()
        tally = self._tally
        for place, row in enumerate(rows):
            self.row(row, children)
            if on_row:
                on_row(row, tally)
            if tally.pending:
                follower = rows[place + 1] if place + 1 < len(rows) else None
                if follower is None or follower.settings.get("order") != _order(row):
                    end = _end(row, rows)
                    self.row(end, children)
                    if on_row:
                        on_row(end, tally)
        return children

    def row(self, row: Row, children: Children) -> None:
        """One row with its repetitions, added to `children`. Raises ShapeError."""
        start, self._repetition = self._tally.channels, 0
        try:
            if row.operator.aside and row.settings.get("of"):
                here = self._tally.place()
                self._tally.go(self._place_of(row))
                self._repeat(row, children)
                self._tally.go(here)
            else:
                self._repeat(row, children)
            if not (row.operator.composite or row.operator.aside):
                changed = self._tally.channels != start and row.operator.name not in PASS_ON
                self._own_width |= changed or bool(row.settings.get("channels"))
            if row.name in self._read and len(row.at) == 1:
                self._places[row.name] = self._tally.place()
        except Misfit as misfit:
            message = f"row {row.name!r} ({row.operator.name}){self._when(row)}: {misfit}"
            if self._architecture.scaling and not misfit.small:  # with the image's size, else
                message += f" ({shown(self._architecture)})"
            raise ShapeError(message, self._architecture.where(*row.at)) from misfit

    def _when(self, row: Row) -> str:
        """In which repetition a row does not fit, its own or of a row around it; not the first."""
        around, number = self._within, self._repetition
        if row.operator.composite and around:
            around, number = around[:-1], around[-1][1]
        own = f", repetition {number + 1}" if number else ""
        return own + "".join(f", in repetition {n + 1} of {name!r}" for name, n in around if n)

    def _repeat(self, row: Row, children: Children) -> None:
        if not self._make:
            self._price(row)
            return
        modules = [self._build(row, number) for number in range(row.repeat or 1)]
        one = row.repeat is None
        repetitions = OrderedDict((str(n), made) for n, made in enumerate(modules))
        children[row.name] = modules[0] if one else self.chain(repetitions)

    def _place_of(self, head: Row) -> Place:
        """Where the row ended that a side head reads."""
        of = head.settings["of"]
        if len(head.at) > 1:
            raise Misfit(f"of {of!r} is for a row of `network` itself; within rows leave it out")
        if of not in self._places:
            before = [row.name for row in self._rows if row.at < head.at]
            raise Misfit(f"of {of!r} must be the name of a row before it{hint(of, before)}")
        return self._places[of]

    def _price(self, row: Row) -> None:
        tally, times = self._tally, row.repeat or 1
        self._step(row, 0)
        for repetition in range(1, times):
            state, sums = tally.state(), tally.sums()
            self._step(row, repetition)
            if tally.state() == state:
                tally.again(sums, times - repetition - 1)
                break

    def _step(self, row: Row, repetition: int) -> Any:
        """Take the tally through one repetition; returns what `_build` needs of it."""
        operator, settings, tally = row.operator, row.settings, self._tally
        asked = settings.get("channels")
        if asked.__class__ is str or asked.__class__ is Later:
            self._check_own(asked)
            settings["channels"] = settled(asked, tally.channels)
        if repetition:
            _settle(row)
            self._repetition = repetition
        if operator.composite:
            self._within.append((row.name, repetition))
            made = self._composite(operator, settings)
            self._within.pop()
            return made
        if not self._looks_back or operator.aside:
            operator.cost(tally, **settings)
            return settings
        before = tally.place() if self._is_output else None
        operator.cost(tally, **settings)
        if operator.module is Resize and not self._is_output:
            return settings  # still the image
        if not settings.get("skip_input"):
            tally.previous = before
        self._is_output = True
        return settings

    def _check_own(self, asked: str | Later) -> None:
        text = asked.channels if isinstance(asked, Later) else asked
        if isinstance(text, str) and not self._own_width:
            raise Misfit(
                f"channels {text} would be a multiple of the image's channels, which the data "
                "bring along; state a number, such as channels: 16"
            )

    def _composite(self, operator: Operator, settings: dict[str, Any]) -> Any:
        """A row that holds rows, each list of them from the row's input on: its width is its own
        where that of one list is. What looks back within a branch does not see past its start.
        """
        tally, start = self._tally, self._own_width
        apart = self._looks_back and not issubclass(operator.module, Chain)
        before = tally.place() if self._is_output else None
        owns = [start]

        def take(rows: Sequence[Row]) -> nn.Sequential:
            self._own_width = start
            if apart:
                tally.previous, self._is_output = None, False
            children = self.nested(rows)
            owns.append(self._own_width)
            return children

        made = operator.cost(tally, take=take, **settings)
        self._own_width = any(owns)
        if apart:
            tally.previous, self._is_output = before, True
        return made

    def _build(self, row: Row, repetition: int) -> nn.Module:
        tally = self._tally
        if row.settings.get("drop_path"):
            self._unit += 1
        known = {
            "in_channels": tally.channels,
            "size": (tally.height, tally.width),
            "activated": tally.activated,
            "previous": tally.previous and tally.previous[:3],
            "depth": self._unit / max(self._units, 1),
        }
        settings = self._step(row, repetition)
        known["out_channels"] = tally.channels
        context = {key: known[key] for key in row.operator.context}
        return row.operator.make(**context, **settings)


def _settle(row: Row) -> None:
    """Before a second repetition: a row changes size at the first one only.

    So do the rows within it, but for pools, which go on halving: [[conv]*N -> pool]*M.
    """
    if "stride" in row.settings:
        row.settings["stride"] = 1
    if row.operator.composite:
        for rows in row.settings.get("branches") or [row.settings["rows"]]:
            for inner in rows:
                if "pool" not in inner.operator.name:
                    _settle(inner)


def _end(row: Row, rows: Sequence[Row]) -> Row:
    op = OPERATORS.get("norm_act")
    inherited = {key: row.settings.get(key, op.defaults[key]) for key in op.defaults}
    if _order(row) == "relu_only_pre":
        inherited["norm"] = "none"
    return Row(row.at, free(f"{row.name}_end", {r.name for r in rows}), op, inherited, None)


def _order(row: Row) -> object:
    """The order of units that left a raw sum."""
    return row.settings.get("order", "pre")

"""Names to things. A duplicate raises, an unknown name suggests the nearest.

A registry knows its home, the module that fills it, and imports it at the first look-up:
nobody can forget to, and nothing is imported before it is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .errors import UnknownName, hint

T = TypeVar("T")


class Registry(Generic[T]):
    """An ordered table of names. `kind` is the word that errors use ("operator")."""

    def __init__(self, kind: str, home: str = "") -> None:
        self.kind = kind
        self._home = home
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Register `item` under `name`. Raises ValueError where the name is taken."""
        if name in self._items:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._items[name] = item
        return item

    def get(self, name: str, where: str = "") -> T:
        """The item of that name. Raises UnknownName, with `where` (file:line) in front."""
        self._fill()
        if name not in self._items:
            raise UnknownName(self.kind, name, self._items, where)
        return self._items[name]

    def names(self) -> tuple[str, ...]:
        """All names, in the order of their registration."""
        self._fill()
        return tuple(self._items)

    def items(self) -> Iterator[tuple[str, T]]:
        """All pairs, in the order of their registration."""
        self._fill()
        return iter(tuple(self._items.items()))

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._items

    def _fill(self) -> None:
        if self._home:
            home, self._home = self._home, ""
            importlib.import_module(home)


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


@dataclass(frozen=True)
class Setting:
    """One key that an operator or the recipe takes, and what its value may be.

    kinds   of "int", "float" (an int will do), "bool", "str", "pair" (two ints, [h, w]),
            "ints" (a list of ints), "list", "mapping" (its keys are `fields`), "null", and
            "relative" (the `xK` of channels, and their `classes`)
    allowed the values that a "str" may take; empty: any
    low, high  inclusive bounds of numbers (each of a pair's or list's too); `above` an exclusive
            lower bound
    fields  the keys of a "mapping"; those without a default must be there
    items   what a "list" may hold at a position (from 0) of so many: `items(0, len(value))`; None:
            anything
    length  least and most items of a "list"
    """

    kinds: tuple[str, ...]
    default: object = REQUIRED
    allowed: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    fields: Mapping[str, Setting] = field(default_factory=dict)
    about: str = ""
    items: Callable[[int, int], Setting] | None = None
    length: tuple[int, int] | None = None

    def fault(self, value: object) -> str | None:
        """What is wrong with `value`, in words that follow it; None where it is fine."""
        if isinstance(value, bool):
            return None if "bool" in self.kinds else f"must be {self.wanted()}"
        if value is None:
            return None if "null" in self.kinds else f"must be {self.wanted()}"
        if isinstance(value, int | float):
            return self._number_fault(value)
        if isinstance(value, str):
            return self._text_fault(value)
        if isinstance(value, Mapping):
            return self._mapping_fault(value)
        if isinstance(value, list | tuple):
            return self._list_fault(value)
        return f"must be {self.wanted()}"

    def wanted(self) -> str:
        """What is allowed, in words: "a whole number of at least 1"."""
        words = []
        if "int" in self.kinds and "float" not in self.kinds:
            words.append("a whole number" + self._bounds())
        if "float" in self.kinds:
            words.append("a number" + self._bounds())
        if "relative" in self.kinds:
            words.append("xK (K times the row's input) or classes (as many as the data have)")
        if "str" in self.kinds:
            words.append("one of " + ", ".join(self.allowed) if self.allowed else "a word")
        if "bool" in self.kinds:
            words.append("true or false")
        if "pair" in self.kinds:
            words.append("two whole numbers [h, w]")
        if "ints" in self.kinds:
            words.append("a list of whole numbers" + self._bounds())
        if "list" in self.kinds:
            words.append("a list" + self._lengths())
        if "mapping" in self.kinds:
            words.append("a mapping of " + (", ".join(self.fields) or "keys"))
        if "null" in self.kinds:
            words.append("null")
        return " or ".join(words)

    def _bounds(self) -> str:
        low = f" above {self.above:g}" if self.above is not None else ""
        low = f" of at least {self.low:g}" if self.low is not None else low
        if self.high is None:
            return low
        return f"{low} and at most {self.high:g}" if low else f" of at most {self.high:g}"

    def _lengths(self) -> str:
        if self.length is None:
            return ""
        least, most = self.length
        return f" of {least}" if least == most else f" of {least} to {most}"

    def _number_fault(self, value: float) -> str | None:
        whole = isinstance(value, int)
        if not ("float" in self.kinds or ("int" in self.kinds and whole)):
            return f"must be {self.wanted()}"
        too_low = (self.low is not None and not value >= self.low) or (
            self.above is not None and not value > self.above
        )
        if too_low or (self.high is not None and not value <= self.high) or value != value:
            return f"must be {self.wanted()}"
        return None

    def _text_fault(self, value: str) -> str | None:
        if "relative" in self.kinds and value == "classes":
            return None
        if "relative" in self.kinds and value[:1] == "x":
            try:
                good = 0 < float(value[1:]) <= 1000
            except ValueError:
                good = False
            return None if good else "must be xK with K above 0, up to 1000, such as x2 or x0.5"
        words = ("classes",) if "relative" in self.kinds else self.allowed
        if "str" not in self.kinds or (self.allowed and value not in self.allowed):
            near = hint(value, words)
            return f"must be {self.wanted()}{near if 'did you mean' in near else ''}"
        return None

    def _mapping_fault(self, value: Mapping[object, object]) -> str | None:
        if "mapping" not in self.kinds:
            return f"must be {self.wanted()}"
        for key, inner in value.items():
            if key not in self.fields:
                return f"has the unknown key {key!r}{hint(key, self.fields)}"
            fault = self.fields[str(key)].fault(inner)
            if fault:
                return f"has {key} {inner!r}, which {fault}"
        return self.missing_fault(value)

    def missing_fault(self, keys: Container[object]) -> str | None:
        """What is wrong with a mapping of these keys, where one that it needs is not there."""
        for key, inner in self.fields.items():
            if inner.default is REQUIRED and key not in keys:
                return f"lacks the key {key!r}: {inner.wanted()}"
        return None

    def length_fault(self, length: int) -> str | None:
        """What is wrong with a list of so many items."""
        if self.length is None or self.length[0] <= length <= self.length[1]:
            return None
        return f"holds {length}; it must be {self.wanted()}"

    def _list_fault(self, value: list[object] | tuple[object, ...]) -> str | None:
        if "list" in self.kinds:
            fault = self.length_fault(len(value))
            for k, inner in enumerate(value if self.items and not fault else ()):
                assert self.items is not None
                found = self.items(k, len(value)).fault(inner)
                if found:
                    return f"holds {inner!r}, which {found}"
            return fault
        if "ints" not in self.kinds and ("pair" not in self.kinds or len(value) != 2):
            return f"must be {self.wanted()}"
        for inner in value:
            if isinstance(inner, bool) or not isinstance(inner, int):
                return f"must be {self.wanted()}"
            if (self.low is not None and inner < self.low) or (
                self.high is not None and inner > self.high
            ):
                return f"must be {self.wanted()}"
        return None


@dataclass(frozen=True)
class Signature:
    """What a row of that operator may hold, beside `name`, `op`, `repeat` and `untied`."""

    name: str
    settings: Mapping[str, Setting]
    about: str = ""


SIGNATURES: Registry[Signature] = Registry("operator", home="nas.models")
RECIPE: Registry[Setting] = Registry("recipe key", home="nas.train.recipe")

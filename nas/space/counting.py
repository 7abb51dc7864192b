"""How many networks a space holds."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .space import Space
from .template import Decided, Flat, Group, Rows, Run, Series, Template, Untied


def count(space: Space) -> int | None:
    """The exact number of networks; None where a continuous range makes it a continuum.

    Counted is what shapes the network: `network`, `defaults` and `scaling`, not the recipe.
    """
    return _product(section for key, section in space.sections.items() if key != "recipe")


def _product(parts: Iterable[Template | None]) -> int | None:
    counts = [_count(part) for part in parts if part is not None]
    return None if None in counts else math.prod(n for n in counts if n is not None)


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(n for n in known if n is not None)


def _count(template: Template) -> int | None:
    if isinstance(template, Decided):
        points = template.hole.points()
        if not template.contents:
            return points
        return _sum(_inner(template.contents.get(o)) for o in template.hole.options)
    if isinstance(template, Flat):
        return _sum(_inner(inner) for inner in template.contents.values())
    if isinstance(template, Untied):
        return _count_untied(template)
    if isinstance(template, Group):
        return _product(template.items.values())
    if isinstance(template, Series):
        return _product(template.items)
    return _product(template.entries) if isinstance(template, Rows) else 1


def _inner(template: Template | None) -> int | None:
    return 1 if template is None else _count(template)


def _count_untied(template: Untied) -> int | None:
    if not isinstance(template.repeat, Decided):
        times = [len(template.rows)]
    else:
        hole = template.repeat.hole
        times = []
        for index in range(hole.points() or 0):
            value = hole.at(index)
            times.append(template.repeat.fill(Run(lambda _, value=value: value)))  # type: ignore[misc]
    return _sum(_product(template.rows[:n]) for n in times)

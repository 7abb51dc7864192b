"""Keys of a file's recipe that cannot do anything, whatever its holes become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..models.scaling import CLASSIFIERS
from ..space import Architecture, Space
from ..space.document import Mapping as MappingNode
from ..train.recipe import Recipe
from ..train.schedules import LONGEST_WARMUP

Rule = Callable[[Recipe, Architecture], str | None]  # why the key is idle there, if it is


def idle_keys(space: Space, networks: Sequence[Architecture]) -> Iterator[tuple[str, str]]:
    """(`file:line`, sentence) of each key that the file states and none of its networks needs."""
    recipes = [Recipe.from_mapping(network.recipe) for network in networks]
    for key, rule in RULES.items():
        pairs = zip(recipes, networks, strict=True)
        said = [rule(recipe, network) for recipe, network in pairs if key in network.recipe]
        if said and said[0] is not None and None not in said:
            yield _place(space, key), f"recipe.{key} {said[0]}"


def _place(space: Space, key: str) -> str:
    """`file:line` of the key, in an option of another one as well, or else of the recipe."""
    for hole in space.holes:
        if hole.name.startswith("recipe.") and hole.name.endswith(f".{key}"):
            return space.document.where(hole.line)
    section = space.document.root.get("recipe")
    inner = section.get(key) if isinstance(section, MappingNode) else None
    return space.document.where(inner or section or space.document.root)


def _patience(recipe: Recipe, _network: Architecture) -> str | None:
    if not recipe.patience or recipe.patience < recipe.epochs - 1:
        return None
    most = recipe.epochs - 2  # the first epoch is the best so far, and the last one ends anyhow
    lower = f"lower it to {most} or less" if most > 0 else "take 0"
    return f"{recipe.patience} cannot end {_epochs(recipe)} early: {lower}, or train longer"


def _warmup(recipe: Recipe, _network: Architecture) -> str | None:
    if recipe.warmup_epochs <= LONGEST_WARMUP * recipe.epochs:
        return None
    return (
        f"{recipe.warmup_epochs:g} is more than the {LONGEST_WARMUP:.0%} of {_epochs(recipe)} that "
        "a warm-up may take, and is cut to that: lower it, or train longer"
    )


def _nesterov(recipe: Recipe, _network: Architecture) -> str | None:
    if recipe.optimizer != "adamw" and recipe.momentum:
        return None
    return "means nothing to adamw or with momentum 0: take it out"


def _smoothing(recipe: Recipe, _network: Architecture) -> str | None:
    return None if recipe.patience else "means nothing with patience 0: take it out"


def _dropout(recipe: Recipe, network: Architecture) -> str | None:
    if not recipe.dropout or _classifies(network.network):
        return None
    return (
        f"{recipe.dropout:g} is put before the classifier, a row linear without channels, and "
        "there is none: take it out, or write a row {op: dropout}"
    )


def _classifies(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the rows, or of rows within them, is a classifier."""
    inner = [rows for row in rows for rows in (*row.get("branches", ()), row.get("rows", ()))]
    return any(map(_classifies, inner)) or any(
        row["op"] in CLASSIFIERS and row.get("channels") is None for row in rows
    )


def _epochs(recipe: Recipe) -> str:
    return f"{recipe.epochs} epoch{'' if recipe.epochs == 1 else 's'}"


RULES: dict[str, Rule] = {
    "patience": _patience,
    "warmup_epochs": _warmup,
    "nesterov": _nesterov,
    "smoothing": _smoothing,
    "dropout": _dropout,
}

"""Space and Architecture: a file with holes, and the same file with the holes filled."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ..errors import SpaceError, hint
from .compiler import Compiler
from .document import Document, Node, Origins, Value, canonical, compose
from .holes import Hole
from .places import line_of
from .sections import (
    WITH_HOLES,
    check_data,
    check_defaults,
    check_input,
    check_mapping,
    check_recipe,
    check_scaling,
    check_top,
    check_words,
    read_limits,
)
from .settings import check_overlap, check_row
from .template import NOTHING, Choose, Fixed, Group, Run, Template, settle
from .ties import tie
from .writing import filled_text, with_block

Decisions = dict[str, Value]


@dataclass(frozen=True, eq=False)
class Space:
    """A search space: an architecture file with holes.

    document  the file, with its text (after `--set`) and the place of every value
    sections  network, defaults, scaling, recipe, compiled, in file order
    holes     every hole of every branch, in file order
    limits    upper bounds, as absolute numbers
    data      the keys that hold no holes: input, data, found
    """

    name: str
    about: str
    document: Document
    sections: dict[str, Template]
    holes: tuple[Hole, ...]
    limits: dict[str, float]
    data: dict[str, dict[str, Any]]

    @property
    def path(self) -> str:
        """What errors call the file."""
        return self.document.path

    @property
    def text(self) -> str:
        """The source text, constants in place."""
        return self.document.text

    @property
    def input(self) -> dict[str, Any]:
        """`{size, channels, classes}` that `describe` assumes."""
        return self.data["input"]

    @cached_property
    def digest(self) -> str:
        """sha256 of the content: comments and layout do not count."""
        return _sha256(canonical(self.document.root))

    @cached_property
    def by_name(self) -> dict[str, Hole]:
        """The holes by their names."""
        return {hole.name: hole for hole in self.holes}

    def hole(self, name: str) -> Hole:
        """The hole of that name. Raises SpaceError with the nearest one."""
        if name not in self.by_name:
            raise SpaceError(f"no hole is named {name!r}{hint(name, self.by_name)}", self.path)
        return self.by_name[name]

    def default(self) -> Decisions:
        """The decisions of the textbook network: trial 0 of every search."""
        return fill_with(self, _default).decisions or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.text, self.path, self.document.origins)

    def __repr__(self) -> str:
        return f"Space({self.name!r}, {len(self.holes)} holes)"


@dataclass(frozen=True, eq=False)
class Architecture:
    """A file without holes: plain rows and a recipe. Treat what it hands out as read-only.

    decisions  what filled the holes; None where the file had none
    """

    space: Space
    values: dict[str, Any]
    decisions: Decisions | None

    @property
    def network(self) -> list[dict[str, Any]]:
        """The rows in flat form: `op` is a name, `!same` is copied, untied rows are written out."""
        rows: list[dict[str, Any]] = self.values["network"]
        return rows

    @property
    def name(self) -> str:
        """The file's `name`, else its file name."""
        return self.space.name

    @property
    def about(self) -> str:
        """One line for people."""
        return self.space.about

    @property
    def path(self) -> str:
        """What errors call the file."""
        return self.space.path

    @property
    def defaults(self) -> dict[str, Any]:
        """Values for all rows that take such a key."""
        section: dict[str, Any] = self.values.get("defaults", {})
        return section

    @property
    def scaling(self) -> dict[str, Any]:
        """`{phi, alpha, beta, gamma}` or `{depth, width, resolution}`."""
        section: dict[str, Any] = self.values.get("scaling", {})
        return section

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe keys that are set."""
        section: dict[str, Any] = self.values.get("recipe", {})
        return section

    @property
    def input(self) -> dict[str, Any]:
        """`{size, channels, classes}` that `describe` assumes."""
        return self.space.data["input"]

    @property
    def data(self) -> dict[str, Any]:
        """What an export says of the images: size, channels, mean, std, classes."""
        return self.space.data["data"]

    @property
    def found(self) -> dict[str, Any]:
        """Where an export comes from."""
        return self.space.data["found"]

    @property
    def limits(self) -> dict[str, float]:
        """Upper bounds, as absolute numbers."""
        return self.space.limits

    @cached_property
    def text(self) -> str:
        """The filled file: the source with values where the holes were, comments kept."""
        return filled_text(self.space.document, self.space.sections, self.values)

    @cached_property
    def digest(self) -> str:
        """sha256 of network, defaults, input, scaling and recipe; equal for equal ones."""
        return _sha256([self.network, self.defaults, self.input, self.scaling, self.recipe])

    def where(self, *path: int) -> str:
        """`file:line` of a row of `network`, for errors about its shape.

        `path`: the row's number and, for a row within it, those of the branch and of that row.
        """
        line = line_of(self.space.sections["network"], path, self.decisions or {})
        return self.space.document.where(line)

    def section_where(self, key: str) -> str:
        """`file:line` of a section's first value, for errors about what it comes to."""
        return self.space.document.where(self.space.sections[key].node)

    def with_section(self, key: str, value: Any) -> str:
        """The text with the top-level block `key` (name, data, found …) replaced or appended."""
        return with_block(compose(self.text, self.path), key, value)

    def to_dict(self) -> dict[str, Any]:
        """The whole file as plain values, limits as absolute numbers; fit for JSON."""
        whole = {
            "name": self.name,
            "about": self.about,
            "input": self.input,
            "defaults": self.defaults,
            "network": self.network,
            "scaling": self.scaling,
            "recipe": self.recipe,
            "data": self.data,
            "limits": self.limits,
            "found": self.found,
        }
        return {key: copy.deepcopy(value) for key, value in whole.items() if value}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        document = self.space.document
        return _refill, (document.text, document.path, document.origins, self.decisions)

    def __repr__(self) -> str:
        return f"Architecture({self.name!r}, {len(self.network)} rows, {self.digest[:8]})"


def parse(text: str, *, path: str = "space.yaml") -> Space | Architecture:
    """The text of a file to a Space, or to an Architecture where it has no hole.

    Raises SpaceError (file:line, what is wrong, what is allowed, the nearest known name).
    """
    return parse_document(compose(text, path))


def parse_document(document: Document) -> Space | Architecture:
    """A document to a Space, or to an Architecture where it has no hole. Raises SpaceError."""
    space = compile_space(document)
    return space if space.holes else fill_with(space, _default)


def compile_space(document: Document) -> Space:
    """A document, checked against the registries, to a Space (which may have no hole).

    Raises SpaceError; where the document keeps `faults`, they are noted there instead, and what
    is returned is of no use with any.
    """
    with document.going_on():
        check_top(document)
    compiler = Compiler(document)
    sections: dict[str, Template] = {}
    words = {"name": Path(document.path).stem, "about": ""}
    data: dict[str, dict[str, Any]] = {"input": {}, "data": {}, "found": {}}
    limits: dict[str, float] = {}
    for key, entry in document.root.entries.items():
        with document.going_on():
            if key == "network":
                sections[key] = compiler.value(entry.value, key, compiler.rows_of)
            elif key in WITH_HOLES:
                sections[key] = compiler.section(key, entry.value)
            elif key in words:
                words[key] = check_words(document, key, compiler.untagged(key, entry.value))
            elif key == "limits":
                limits = read_limits(document, compiler.untagged(key, entry.value))
            elif key in data:
                data[key] = _CHECKS[key](document, compiler.untagged(key, entry.value))
    tie(compiler)
    _check(document, compiler, sections)
    return Space(
        words["name"], words["about"], document, sections, tuple(compiler.holes), limits, data
    )


_CHECKS: dict[str, Callable[[Document, Node], dict[str, Any]]] = {
    "input": check_input,
    "data": check_data,
    "found": lambda document, node: check_mapping(document, "found", node),
}


def _check(document: Document, compiler: Compiler, sections: dict[str, Template]) -> None:
    """What can be checked once every place is known."""
    defaults = sections.get("defaults")
    assumed = defaults.items if isinstance(defaults, Group) else {}
    for row, later in compiler.rows:
        with document.going_on():
            check_row(document, row, assumed, later=later)
    for choice in compiler.choices:
        with document.going_on():
            if choice.contents:
                check_overlap(document, choice)
    rows = [row for row, _ in compiler.rows]
    for key, section in sections.items():
        with document.going_on():
            if key == "network" and isinstance(section, Fixed):
                raise document.fault("network must be a list of rows", section.node)
            if isinstance(section, Group):
                if key == "defaults":
                    check_defaults(document, section, rows)
                elif key == "recipe":
                    check_recipe(document, section)
                elif key == "scaling":
                    check_scaling(document, section)


def fill_with(space: Space, choose: Choose, within: Mapping[str, Hole] = NOTHING) -> Architecture:
    """Ask `choose` for every active hole, in file order. Raises SpaceError for values outside."""
    run = Run(choose, within)
    values = {key: section.fill(run) for key, section in space.sections.items()}
    if run.late:
        settle(values, run)
    return Architecture(space, values, run.decisions if space.holes else None)


def _default(hole: Hole) -> Value:
    return hole.default


def _sha256(value: Any) -> str:
    text = json.dumps(_whole(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _whole(value: Any) -> Any:
    """1.0 as 1: one network, however its numbers are written."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@lru_cache(maxsize=16)
def _reopened(text: str, path: str, origins: Origins) -> Space:
    # A worker gets many architectures of one space: it compiles the text once.
    return compile_space(compose(text, path, origins))


def _reopen(text: str, path: str, origins: Origins) -> Space:
    return _reopened(text, path, origins)


def _refill(text: str, path: str, origins: Origins, decisions: Decisions | None) -> Architecture:
    space = _reopened(text, path, origins)
    return fill_with(space, lambda hole: (decisions or {})[hole.name])

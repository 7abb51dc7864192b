"""The top-level keys of a file beside its rows: what each may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from dataclasses import replace
from typing import Any

from ..errors import hint
from ..registry import RECIPE, SIGNATURES, Setting
from ..units import parse_amount
from .document import Document, Mapping, Node, Scalar, plain
from .holes import quoted
from .settings import check_value
from .template import Fixed, Flat, Group, Row

SECTIONS = (
    "name", "about", "input", "defaults", "network", "scaling", "recipe", "data", "limits", "found",
)  # fmt: skip
WITH_HOLES = ("defaults", "network", "scaling", "recipe")
LIMITS = ("params", "macs", "memory", "latency")

NAME = r"\w[\w .+-]{0,79}"

POSITIVE = Setting(("int", "float"), above=0)
COMPOUND = {
    "phi": Setting(("int", "float"), low=0, about="how many times the ratios are applied"),
    "alpha": POSITIVE,
    "beta": POSITIVE,
    "gamma": POSITIVE,
    "growth": replace(POSITIVE, about="of the multiply-adds, for each phi; the paper has 2"),
}
EXPLICIT = {
    "depth": POSITIVE,
    "width": POSITIVE,
    "resolution": Setting(("int",), low=1, about="side of the image in pixels"),
}
INPUT = {
    "size": Setting(("int", "pair"), low=1),
    "channels": Setting(("int",), low=1),
    "classes": Setting(("int",), low=1),
}

DATA = {
    "size": Setting(("pair",), low=1),
    "channels": Setting(("int",), low=1),
    "mean": Setting(("list",)),
    "std": Setting(("list",)),
    "classes": Setting(("list",)),
    "pixels": Setting(("str",), allowed=("uint8", "float32")),
}


def check_top(document: Document) -> None:
    """The top-level keys. Raises SpaceError."""
    for key, entry in document.root.entries.items():
        with document.going_on():
            _check_top_key(document, key, entry.key)
    if "network" not in document.root.entries:
        raise document.fault("there is no 'network', the list of rows", document.root)


def _check_top_key(document: Document, key: str, node: Node) -> None:
    if key == "base":
        raise document.fault(
            "a base is looked up where a file is loaded by its name or path; "
            "this text has to stand alone",
            node,
        )
    if key not in SECTIONS:
        known = (*SECTIONS, "base")
        raise document.fault(f"unknown top-level key {key!r}{hint(key, known)}", node)


def check_words(document: Document, key: str, node: Node) -> str:
    """`name` or `about`."""
    if not isinstance(node, Scalar) or node.tag or not isinstance(node.value, str):
        text = document.excerpt(node)
        raise document.fault(f"{key} must be text, not {text}; quote it", node)
    if key == "name" and not re.fullmatch(NAME, node.value):
        raise document.fault(
            f"name is {node.value!r}, which must be at most 80 letters, digits, '_', '-', '.', '+' "
            "or blanks, a letter, a digit or '_' first: run folders are named by it",
            node,
        )
    return node.value


def check_mapping(document: Document, key: str, node: Node) -> dict[str, Any]:
    """A section of data without holes, as plain values."""
    if isinstance(node, Scalar) and node.value is None:
        return {}
    if not isinstance(node, Mapping):
        raise document.fault(f"{key} must be a mapping of keys to values", node)
    value: dict[str, Any] = plain(node)
    return value


def check_input(document: Document, node: Node) -> dict[str, Any]:
    """`input: {size, channels, classes}`, what `describe` assumes."""
    return _check_settings(document, "input", node, INPUT)


def check_data(document: Document, node: Node) -> dict[str, Any]:
    """`data`, how images are fed to an exported network."""
    values = _check_settings(document, "data", node, DATA)
    for key, low in (("mean", None), ("std", 0)):
        with document.going_on():
            _check_per_channel(document, node, values, key, low)
    names = values.get("classes", ("", ""))
    if len(names) < 2 or len({str(name) for name in names}) < len(names):
        raise document.fault(
            "data.classes must name two classes or more, each once", document_value(node, "classes")
        )
    return values


def _check_per_channel(
    document: Document, node: Node, values: AnyMapping[str, Any], key: str, low: float | None
) -> None:
    """A list of `data` with a number for each channel."""
    entry, at = Setting(("float",), above=low), document_value(node, key)
    for value in values.get(key, ()):
        fault = entry.fault(value)
        if fault:
            raise document.fault(f"data.{key} holds {value!r}, which {fault}", at)
    if {key, "channels"} <= set(values) and len(values[key]) != values["channels"]:
        raise document.fault(
            f"data.{key} holds {len(values[key])} numbers, which must be one for each of the "
            f"{values['channels']} channels",
            at,
        )


def _check_settings(
    document: Document, section: str, node: Node, settings: AnyMapping[str, Setting]
) -> dict[str, Any]:
    good: dict[str, Any] = {}
    for key, value in check_mapping(document, section, node).items():
        at = document_value(node, key)
        with document.going_on():
            if key not in settings:
                raise document.fault(
                    f"{section} has the unknown key {key!r}{hint(key, settings)}", at
                )
            fault = settings[key].fault(value)
            if fault:
                raise document.fault(f"{section}.{key} is {value!r}, which {fault}", at)
            good[key] = value
    return good


def read_limits(document: Document, node: Node) -> dict[str, float]:
    """`limits: {params: 5M}` as absolute numbers."""
    limits: dict[str, float] = {}
    for key, value in check_mapping(document, "limits", node).items():
        at = document_value(node, key)
        with document.going_on():
            if key not in LIMITS:
                raise document.fault(f"limits has the unknown key {key!r}{hint(key, LIMITS)}", at)
            try:
                limits[key] = parse_amount(value)
            except ValueError as error:
                raise document.fault(f"limits.{key}: {error}", at) from None
    return limits


def check_scaling(document: Document, section: Group) -> None:
    """Either phi with alpha, beta, gamma (and growth), or depth, width, resolution."""
    known = {**COMPOUND, **EXPLICIT}
    for key, item in section.items.items():
        with document.going_on():
            if key not in known:
                raise document.fault(
                    f"scaling has the unknown key {key!r}{hint(key, known)}", item.node
                )
            check_value(document, known[key], item, f"scaling.{key}")
    compound = [key for key in section.items if key in COMPOUND]
    explicit = [key for key in section.items if key in EXPLICIT]
    if compound and explicit:
        raise document.fault(
            f"scaling has both {compound[0]} and {explicit[0]}; state phi, alpha, beta, gamma "
            "or depth, width, resolution, not both",
            section.items[explicit[0]].node,
        )
    if compound and "phi" not in compound:
        raise document.fault(f"scaling has {compound[0]} without phi", section.node)


def check_recipe(document: Document, section: Group) -> None:
    """Every recipe key against the registry of them, those of a choice's options as well."""
    taken = dict.fromkeys(section.items, "recipe")
    for key, item in section.items.items():
        with document.going_on():
            if key not in RECIPE:
                raise document.fault(
                    f"unknown recipe key {key!r}{hint(key, RECIPE.names())}", item.node
                )
            if isinstance(item, Flat):
                taken.update(_check_brought(document, key, item, taken))
            else:
                check_value(document, RECIPE.get(key), item, f"recipe.{key}")


def _check_brought(
    document: Document, key: str, choice: Flat, taken: AnyMapping[str, str]
) -> dict[str, str]:
    """The keys that the options of a recipe's choice bring along, each with its option's path."""
    brought: dict[str, str] = {}
    for name, inner in choice.contents.items():
        with document.going_on():
            fault = RECIPE.get(key).fault(name)
            if fault:
                raise document.fault(
                    f"recipe.{key} has the option {quoted(name)}, which {fault}", choice.node
                )
        if inner is None:
            continue
        check_recipe(document, inner)
        for other, template in inner.items.items():
            with document.going_on():
                if other in taken:
                    raise document.fault(
                        f"{template.path}: the key {other!r} stands in {taken[other]} as well; "
                        "keep one",
                        template.node,
                    )
                brought[other] = inner.path
    return brought


def check_defaults(document: Document, section: Group, rows: list[Row]) -> None:
    """Every default is a key of some operator, and good for all rows here that take it."""
    used: set[object] = set()
    for row in rows:
        op = row.items["op"]
        used |= {op.value} if isinstance(op, Fixed) else set()
        used |= set(op.contents) if isinstance(op, Flat) else set()
    takers: dict[str, list[tuple[str, Setting]]] = {}
    for name, signature in SIGNATURES.items():
        for key, setting in signature.settings.items():
            takers.setdefault(key, []).append((name, setting))
    for key, item in section.items.items():
        with document.going_on():
            if key not in takers:
                raise document.fault(
                    f"defaults.{key}: no operator takes {key!r}{hint(key, takers)}", item.node
                )
            here = [setting for name, setting in takers[key] if name in used]
            for setting in here or [takers[key][0][1]]:
                check_value(document, setting, item, f"defaults.{key}")


def document_value(node: Node, key: str) -> Node:
    """The node of a key's value, to point at."""
    inner = node.get(key) if isinstance(node, Mapping) else None
    return inner if inner is not None else node

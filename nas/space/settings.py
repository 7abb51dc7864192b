"""Templates against what operators and recipe keys take: the faults of a row, with file:line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import SpaceError, hint
from ..registry import REQUIRED, SIGNATURES, Setting, Signature
from .document import Document, Node
from .document import Mapping as MappingNode
from .document import Sequence as SequenceNode
from .holes import Hole, quoted, show
from .template import (
    Broken,
    Decided,
    Fixed,
    Flat,
    Group,
    Row,
    Rows,
    Same,
    Series,
    Template,
    Untied,
    inside,
)

ROW_KEYS = ("name", "op", "repeat", "untied")
REPEAT = Setting(("int",), low=1, high=1000)  # ResNet-1202, the deepest documented, has 200


def check_value(
    document: Document, setting: Setting, template: Template, label: str, at: Node | None = None
) -> None:
    """Every value this place can take, against `setting`. Raises SpaceError."""
    node = at or template.node
    if isinstance(template, Broken):
        return
    if isinstance(template, Fixed):
        _check_fixed(document, setting, template.value, label, node)
    elif isinstance(template, Decided):
        _check_decided(document, setting, template, label, at)
    elif isinstance(template, Same):
        assert template.target is not None
        check_value(document, setting, template.target, label, template.node)
    elif isinstance(template, Group):
        if "mapping" not in setting.kinds:
            raise document.fault(f"{label} must be {setting.wanted()}", node)
        for key, item in template.items.items():
            if key not in setting.fields:
                raise document.fault(
                    f"{label} has the unknown key {key!r}{hint(key, setting.fields)}", item.node
                )
            check_value(document, setting.fields[key], item, f"{label}.{key}", at)
        missing = setting.missing_fault(template.items)
        if missing:
            raise document.fault(f"{label} {missing}", node)
    elif isinstance(template, Series):
        _check_series(document, setting, template, label, at)
    elif isinstance(template, Flat):
        raise document.fault(f"{label}: !same of an op stands only at an op", node)
    elif "list" not in setting.kinds:
        raise document.fault(f"{label} must be {setting.wanted()}", node)


def _check_fixed(document: Document, setting: Setting, value: Any, label: str, node: Node) -> None:
    fault = setting.fault(value)
    if not fault:
        return
    inside = [part for part in _inside(setting, value, node) if part[1].fault(part[2])]
    for step, part, inner, where in inside:
        with document.going_on():
            _check_fixed(document, part, inner, f"{label}.{step}", where)
    unknown = value.keys() - setting.fields.keys() if isinstance(value, dict) else ()
    if inside and not unknown:
        return
    text = repr(value) if isinstance(value, float) and value.is_integer() else quoted(value)
    shown = "" if isinstance(value, list | dict) else f" is {text}, which"
    raise document.fault(f"{label}{shown} {fault}{_meant(setting, value)}", node)


def _meant(setting: Setting, value: Any) -> str:
    """What a list is that stands where none may: a choice without its tag."""
    if not isinstance(value, list) or len(value) < 2 or any(map(setting.fault, value)):
        return ""
    return f"; for a choice among them write !choice [{', '.join(map(show, value))}]"


def _inside(
    setting: Setting, value: Any, node: Node
) -> Iterator[tuple[object, Setting, Any, Node]]:
    """What a value holds, each with its setting and its own place: (step, setting, value, node)."""
    if isinstance(value, list) and setting.items and not setting.length_fault(len(value)):
        nodes = node.items if isinstance(node, SequenceNode) else (node,) * len(value)
        for k, (inner, where) in enumerate(zip(value, nodes, strict=True)):
            yield k + 1, setting.items(k, len(value)), inner, where
    elif isinstance(value, dict):
        for key, inner in value.items():
            at = node.get(key) if isinstance(node, MappingNode) else None
            if key in setting.fields:
                yield key, setting.fields[key], inner, at or node


def _check_decided(
    document: Document, setting: Setting, template: Decided, label: str, at: Node | None
) -> None:
    hole = template.hole
    ends = [("end", hole.low), ("end", hole.high)]
    values = [("option", o) for o in hole.options] if hole.kind == "choice" else ends
    for word, value in values:
        if word == "option" and value in template.contents:
            continue
        fault = setting.fault(value)
        if fault:
            raise document.fault(
                f"{label} has the {word} {quoted(value)}, which {fault}", at or template.node
            )
    for name, content in template.contents.items():
        check_value(document, setting, content, f"{label}.{name}", at)


def _check_series(
    document: Document, setting: Setting, template: Series, label: str, at: Node | None
) -> None:
    if "list" in setting.kinds:
        fault = setting.length_fault(len(template.items))
        if fault:
            raise document.fault(f"{label} {fault}", at or template.node)
        for k, item in enumerate(template.items if setting.items else ()):
            assert setting.items is not None
            part = setting.items(k, len(template.items))
            check_value(document, part, item, f"{label}.{k + 1}", at)
        return
    if "ints" not in setting.kinds and ("pair" not in setting.kinds or len(template.items) != 2):
        raise document.fault(f"{label} must be {setting.wanted()}", at or template.node)
    part = Setting(("int",), low=setting.low, high=setting.high)
    for k, item in enumerate(template.items, 1):
        check_value(document, part, item, f"{label}.{k}", at)


def check_row(document: Document, row: Row, defaults: Mapping[str, Any], *, later: bool) -> None:
    """A row's op and keys against the signatures of every operator it can have.

    `later`: a further repetition, whose channels are those of the first. Raises SpaceError.
    """
    operators = _operators(document, row)
    signatures = []
    for name, settings in operators:
        with document.going_on():
            signature = _signature(document, row, name)
            signatures.append(signature)
            inner = settings.items if settings is not None else {}
            for key, item in inner.items():
                with document.going_on():
                    _check_inner(document, row, signature, key, item)
            given = {*row.items, *inner, *defaults, *(("channels", "stride") if later else ())}
            if {*row.items, *inner} <= {*signature.settings, *ROW_KEYS}:  # else that is told
                _check_needs(document, row, signature, given)
    for key, item in row.items.items():
        with document.going_on():
            _check_key(document, row, signatures, key, item, len(operators) > 1)
    with document.going_on():
        _check_composite(document, row)


def _check_inner(
    document: Document, row: Row, signature: Signature, key: str, item: Template
) -> None:
    """A key inside an option of the row's op."""
    name = signature.name
    if key in row.items:
        raise document.fault(
            f"{row.path}: the key {key!r} stands in the row and in its option {name}; keep one",
            item.node,
        )
    if key not in signature.settings:
        raise document.fault(
            f"{item.path}: {name} takes no {key!r}{hint(key, signature.settings)}", item.node
        )
    check_value(document, signature.settings[key], item, item.path)


def _check_needs(document: Document, row: Row, signature: Signature, given: set[str]) -> None:
    """The keys that an operator cannot do without."""
    for key, setting in signature.settings.items():
        if setting.default is REQUIRED and key not in given:
            raise document.fault(
                f"{row.path}: {signature.name} needs {key!r}: {setting.wanted()}", row.node
            )


def _check_key(
    document: Document, row: Row, signatures: Sequence[Signature], key: str, item: Template,
    several: bool,
) -> None:  # fmt: skip
    """A key of the row, which every operator that the row can have must take."""
    if key == "repeat":
        check_value(document, REPEAT, item, f"{row.path}.repeat")
    for signature in signatures if key not in ROW_KEYS else ():
        if key in signature.settings:
            check_value(document, signature.settings[key], item, f"{row.path}.{key}")
        elif several and any(key in other.settings for other in signatures):
            raise document.fault(
                f"{row.path}.{key}: not every option of op takes {key!r}: {signature.name} does "
                f"not; write it inside those that do, as {{NAME: {{{key}: …}}}}",
                item.node,
            )
        else:
            known = {*ROW_KEYS}.union(*(other.settings for other in signatures))
            names = "no option of op" if several else signature.name
            raise document.fault(
                f"{row.path}: {names} takes {'' if several else 'no '}{key!r}{hint(key, known)}",
                item.node,
            )


def _check_composite(document: Document, row: Row) -> None:
    for key, kind, words in (("rows", Rows, "rows"), ("branches", Series, "lists of rows")):
        for item in _alternatives(row.items.get(key)):
            if not isinstance(item, (kind, Broken)):
                raise document.fault(f"{row.path}.{key} must be a list of {words}", item.node)


def _alternatives(template: Template | None) -> list[Template]:
    if isinstance(template, Same):
        return _alternatives(template.target)
    if isinstance(template, Decided):
        return [part for inner in template.contents.values() for part in _alternatives(inner)]
    return [] if template is None else [template]


def _operators(document: Document, row: Row) -> list[tuple[object, Group | None]]:
    """Every operator the row can have, with the settings that it brings along."""
    op = row.items["op"]
    target = op.target if isinstance(op, Same) else op
    if isinstance(target, Broken):
        return []
    if isinstance(target, Flat):
        return list(target.contents.items())
    if isinstance(target, Fixed):
        return [(target.value, None)]
    if isinstance(target, Decided) and target.hole.kind == "choice" and not target.contents:
        return [(option, None) for option in target.hole.options]
    raise document.fault(f"{row.path}.op: !same must name the op of a row", op.node)


def _signature(document: Document, row: Row, name: object) -> Signature:
    node = row.items["op"].node
    if not isinstance(name, str):
        choice = (
            "" if not isinstance(name, list) else ", or of several: op: !choice [conv, residual]"
        )
        raise document.fault(f"{row.path}.op must be the name of an operator{choice}", node)
    if name not in SIGNATURES:
        raise document.fault(
            f"{row.path} has the unknown operator {name!r}{hint(name, SIGNATURES.names())} "
            "(one of your own comes with --plugin FILE)",
            node,
        )
    return SIGNATURES.get(name)


def check_overlap(document: Document, choice: Decided) -> None:
    """Refuse options that can spell one value: nobody could read the decision back."""
    if any(isinstance(_followed(part), Broken) for part in inside(choice)):
        return
    spelled: list[tuple[object, Template]] = [
        (o, choice.contents.get(o) or Fixed(choice.node, choice.path, o))
        for o in choice.hole.options
    ]
    for k, (name, template) in enumerate(spelled):
        for earlier, other in spelled[:k]:
            if overlap(other, template):
                raise document.fault(
                    f"{choice.path}: the options {quoted(earlier)} and {quoted(name)} can both be "
                    "the same value; make them differ",
                    choice.node,
                )


def overlap(a: Template, b: Template) -> bool:
    """Whether the two can be filled to equal values (True where that is hard to say)."""
    a, b = _followed(a), _followed(b)
    if isinstance(a, Decided):
        return _overlap_decided(a, b)
    if isinstance(b, Decided):
        return _overlap_decided(b, a)
    if isinstance(a, Fixed) and isinstance(b, Fixed):
        return bool(a.value == b.value)
    if isinstance(a, Rows) and isinstance(b, Rows):
        return _overlap_rows(a, b)
    parts_a, parts_b = _parts(a), _parts(b)
    if parts_a is None or parts_b is None or parts_a.keys() != parts_b.keys():
        return parts_a is parts_b
    return all(overlap(parts_a[key], parts_b[key]) for key in parts_a)


def _overlap_rows(a: Rows, b: Rows) -> bool:
    if a.written_out or b.written_out:
        return False  # told apart by their numbered names; else the first option is read back
    pairs = zip(a.entries, b.entries, strict=False)
    return len(a.entries) == len(b.entries) and all(overlap(x, y) for x, y in pairs)


def _overlap_decided(a: Decided, b: Template) -> bool:
    if a.hole.kind == "choice":
        return any(
            overlap(a.contents.get(o) or Fixed(a.node, a.path, o), b) for o in a.hole.options
        )
    if isinstance(b, Fixed):
        return _admits(a.hole, b.value)
    if isinstance(b, Decided):
        if b.hole.kind == "choice":
            return _overlap_decided(b, a)
        return a.hole.low <= b.hole.high and b.hole.low <= a.hole.high
    return False


def _admits(hole: Hole, value: object) -> bool:
    try:
        hole.admit(value)
    except SpaceError:
        return False
    return True


def _followed(template: Template) -> Template:
    if isinstance(template, Same):
        assert template.target is not None
        return template.target
    return template


def _parts(template: Template) -> dict[Any, Template] | None:
    if isinstance(template, Fixed):
        value = dict(enumerate(template.value)) if template.nested else {}
        value = template.value if isinstance(template.value, dict) else value
        parts: dict[Any, Template] = {}
        for step, inner in value.items():
            parts[step] = Fixed(template.node, template.path, inner)
        return parts if template.nested else None
    if isinstance(template, Group):
        live: dict[Any, Template] = {}
        for key, item in template.items.items():
            if isinstance(item, Flat):  # told apart by the name alone
                named = Fixed(item.node, item.path, item.fixed)
                live[key] = Decided(item.node, item.hole, {}) if item.hole else named
            elif key != "name":
                live[key] = item
        return live
    if isinstance(template, Series):
        return dict(enumerate(template.items))
    assert not isinstance(template, Untied), "rows with untied ones are compared as a whole"
    return None

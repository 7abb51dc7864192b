"""How a hole is written: the nodes behind `!choice`, `!int`, `!float` and `!log`."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import hint
from .document import Document, Mapping, Node, Scalar, Sequence, Value, plain
from .holes import Hole, geometric_middle, middle, quoted, same, show

RANGES = ("!int", "!float", "!log")
LONG_KEYS = ("low", "high", "step", "log", "default")


@dataclass(frozen=True)
class Option:
    """One option of a choice: a scalar, or a name with what stands behind it."""

    value: Value
    node: Node
    content: Node | None = None


@dataclass(frozen=True)
class Choice:
    """A choice as written, its default made explicit."""

    options: tuple[Option, ...]
    default: Value


def read_choice(document: Document, node: Node, path: str) -> Choice:
    """The options behind `!choice`. Raises SpaceError."""
    listed: Node = node
    stated: Node | None = None
    if isinstance(node, Mapping) and set(node.entries) == {"options", "default"}:
        listed, stated = node.entries["options"].value, node.entries["default"].value
    options = _options(document, listed, path)
    for index, option in enumerate(options):
        for earlier in options[:index]:
            if option.value == earlier.value:
                raise document.fault(
                    f"{path} has the equal options {quoted(earlier.value)} and "
                    f"{quoted(option.value)}",
                    option.node,
                )
    if stated is None:
        return Choice(options, options[0].value)
    for option in options:
        if isinstance(stated, Scalar) and not stated.tag and same(option.value, stated.value):
            return Choice(options, option.value)
    wanted = ", ".join(show(option.value) for option in options)
    text = document.excerpt(stated)
    raise document.fault(f"{path} has the default {text}, which is none of {wanted}", stated)


def _options(document: Document, node: Node, path: str) -> tuple[Option, ...]:
    if isinstance(node, Mapping):
        made = [Option(key, e.key, e.value) for key, e in node.entries.items()]
    elif isinstance(node, Sequence):
        made = [_option(document, item, path) for item in node.items]
    else:
        raise document.fault(f"{path}: a choice is written !choice [a, b]", node)
    if not made:
        raise document.fault(f"{path}: a choice needs at least one option", node)
    return tuple(made)


def _option(document: Document, node: Node, path: str) -> Option:
    short = document.excerpt(node)
    if node.tag:
        raise document.fault(
            f"{path}: the option {short} is a hole without a name; write {{some_name: {short}}}",
            node,
        )
    if isinstance(node, Scalar):
        return Option(node.value, node)
    if isinstance(node, Mapping) and len(node.entries) == 1:
        (key, entry), *_ = node.entries.items()
        return Option(key, node, entry.value)
    raise document.fault(
        f"{path}: the option {short} is neither a single value nor a mapping of one key, its name; "
        "write larger options as !choice {small: …, large: …}",
        node,
    )


def read_range(document: Document, node: Node, path: str) -> Hole:
    """The hole behind `!int`, `!float` or `!log`. Raises SpaceError."""
    reader = _RangeReader(document, node, path)
    return reader.hole()


class _RangeReader:
    def __init__(self, document: Document, node: Node, path: str) -> None:
        self.document, self.node, self.path = document, node, path
        self.tag = node.tag or ""
        self.given = self.parts()

    def fault(self, message: str, key: str = "") -> Exception:
        return self.document.fault(f"{self.path} {message}", self.given.get(key, self.node))

    def parts(self) -> dict[str, Node]:
        self.given = {}
        node = self.node
        if isinstance(node, Mapping):
            surplus = ("step", "log") if self.tag == "!log" else ()
            known = [key for key in LONG_KEYS if key not in surplus]
            for key, entry in node.entries.items():
                if key not in known:
                    raise self.document.fault(
                        f"{self.path}: {self.tag} has the unknown key {key!r}{hint(key, known)}",
                        entry.key,
                    )
            if not {"low", "high"} <= set(node.entries):
                raise self.fault(f"needs both ends: {self.tag} {{low: 1, high: 4}}")
            return {key: entry.value for key, entry in node.entries.items()}
        most = 3 if self.tag == "!int" else 2
        if not isinstance(node, Sequence) or not 2 <= len(node.items) <= most:
            shapes = "[low, high] or [low, high, step]" if most == 3 else "[low, high]"
            raise self.fault(f"is written {self.tag} {shapes}, or {self.tag} {{low: …, high: …}}")
        return dict(zip(("low", "high", "step"), node.items, strict=False))

    def number(self, key: str) -> float | None:
        if key not in self.given:
            return None
        node = self.given[key]
        value = plain(node) if not node.tagged else None
        whole = self.tag == "!int"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            kind = "a whole number" if whole else "a number"
            text = self.document.excerpt(node)
            raise self.fault(f"has the {key} {text}, which must be {kind}", key)
        return value if whole else float(value)

    def hole(self) -> Hole:
        low, high, step = self.number("low"), self.number("high"), self.number("step")
        assert low is not None
        assert high is not None
        log = self.tag == "!log" or self.logarithmic()
        if low > high:
            raise self.fault(f"has low {show(low)} above high {show(high)}; swap them", "low")
        if log and low <= 0:
            raise self.fault(
                f"has low {show(low)}; a logarithmic range begins above 0, such as 1e-6", "low"
            )
        self.check_step(low, high, step, log)
        if self.tag == "!int" and step is None:
            step = 1
        kind = "log" if log and self.tag != "!int" else self.tag[1:]
        default = self.number("default")
        if default is None:
            default = geometric_middle(low, high) if log else middle(low, high, step)
            default = round(default) if kind == "int" else default
        hole = Hole(self.path, kind, 0, self.node.line, (), low, high, step, log)  # type: ignore[arg-type]
        try:
            value = hole.admit(default)
        except Exception:
            raise self.fault(
                f"has the default {show(default)}; it is {hole.domain()}", "default"
            ) from None
        return Hole(self.path, hole.kind, value, hole.line, (), low, high, step, log)

    def logarithmic(self) -> bool:
        if "log" not in self.given:
            return False
        node = self.given["log"]
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            raise self.fault("has a 'log' that must be true or false", "log")
        return node.value

    def check_step(self, low: float, high: float, step: float | None, log: bool) -> None:
        if step is None:
            return
        if log:
            raise self.fault("cannot have both a step and a logarithmic scale", "step")
        if step <= 0:
            raise self.fault(f"has the step {show(step)}, which must be above 0", "step")
        steps = (high - low) / step
        if abs(steps - round(steps)) > 1e-6:
            last = low + int(steps) * step
            raise self.fault(
                f"has high {show(high)}, which steps of {show(step)} from {show(low)} never reach; "
                f"write high {show(last)} or {show(last + step)}",
                "high",
            )

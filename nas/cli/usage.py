"""What a command line has wrong, in one sentence: Typer's own words take three lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import UnknownName, UserError

# Typer carries Click inside from 0.22 on and imports it before: its errors are reached both ways.
UsageError: type[Exception] = typer.BadParameter.mro()[1]

WANTED = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}


class Commands(TyperGroup):
    """The commands; an unknown one is answered with the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            raise UnknownName("command", args[0], self.commands, "nas")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Typer leaves silently on Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


def refusal(error: Exception) -> UserError:
    """What Typer refuses, as an error of ours: what is wrong, what is allowed, where to look."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "nas"
    more = f"{command} --help lists what it takes"
    unknown = getattr(error, "option_name", None)
    parameter = getattr(error, "param", None)
    said = " ".join(str(getattr(error, "message", error)).split()).rstrip(".")
    if type(error).__name__ == "NoSuchOption" and context is not None:
        known = [word for entry in context.command.params for word in (*entry.opts, "--help")]
        options = [word for word in known if word.startswith("-")]
        return UnknownName("option", unknown, options, command)
    if parameter is None:
        return UserError(f"{command}: {_small(said)}; {more}")
    name = _name(parameter)
    if type(error).__name__ == "MissingParameter":
        about = _small(str(getattr(parameter, "help", None) or "").rstrip("."))
        return UserError(f"{command}: {name} is missing{f' ({about})' if about else ''}; {more}")
    return UserError(f"{command}: {_bad_value(name, error, said)}; {more}")


def _name(parameter: Any) -> str:
    """`--seed`, or `RUN` of an argument."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    names: Sequence[str] = parameter.opts
    return max(names, key=len)


def _bad_value(name: str, error: Exception, said: str) -> str:
    """Pydantic, behind Typer, tells the value and the rule apart from its sentence."""
    cause: Any = error.__cause__
    found = cause.errors() if hasattr(cause, "errors") else []
    if not found:
        return f"{name}: {_small(said)}"
    value, rule = found[0]["input"], str(found[0]["type"])
    wanted = WANTED.get(rule) or WANTED.get(rule.partition("_")[0])
    if wanted is None:
        return f"{name} {value!r}: {_small(said)}"
    return f"{name} {value} {wanted.format(**found[0].get('ctx', {}))}"


def _small(words: str) -> str:
    """As it goes on inside of a sentence: "PNG" stays."""
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]

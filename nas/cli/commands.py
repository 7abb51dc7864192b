"""The table of commands. Their files import nothing heavy at the top: the help lists them all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from ..errors import UserError
from .dashboard import dashboard
from .describe import describe
from .doctor import doctor
from .plan import plan
from .predict import predict
from .runs import runs
from .scale import scale
from .search import search
from .show import show
from .spaces import spaces
from .stop import stop
from .test import evaluate
from .train import train
from .usage import Commands

COMMANDS: dict[str, Callable[..., None]] = {
    "search": search,
    "plan": plan,
    "train": train,
    "describe": describe,
    "spaces": spaces,
    "scale": scale,
    "runs": runs,
    "show": show,
    "dashboard": dashboard,
    "stop": stop,
    "doctor": doctor,
    "predict": predict,
    "test": evaluate,
}

app = typer.Typer(
    cls=Commands,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes 0.3 s to import: the help would be late
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"nas {__version__}")
        raise typer.Exit()


@app.callback()
def nas(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which this is.")
    ] = False,
) -> None:
    """Find a network and its training recipe for your images, inside a budget that you state.

    Begin with:  nas search --space tiny --data digits --budget 2min
    """
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(UserError.exit_code)


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)

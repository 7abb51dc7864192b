"""`nas train`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from . import plugins
from .plugins import Plugins
from .search import constants
from .streams import console, print_json

if TYPE_CHECKING:
    from rich.console import Console


def train(
    architecture: Annotated[str, typer.Argument(help="A file without holes, or a zoo name.")],
    data: Annotated[
        str | None, typer.Option(help="A name, or a path, as for `nas search`.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Repeatable.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="The recipe's by default.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, order and augmentation (0).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result; ./runs/train-<name> by default.")
    ] = None,
    plugin: Plugins = None,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="A search's trial again, to compare; writes nothing."),
    ] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="A GPU repeats its figures exactly; slower.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the result.")] = False,
) -> None:
    """Train an architecture file in full and test it.

    The same command again goes on where an earlier one was stopped. `--exact` trains
    RUN/trials/<n>/architecture.yaml as the search did and says whether it learned the same.
    """
    screen = console(stderr=as_json)
    view = None if quiet else lambda report: _show_epoch(screen, report)
    if exact:
        fixed = {
            "--epochs": epochs, "--seed": seed, "--device": device, "--set": set_, "--out": out,
            "--plugin": plugin, "--deterministic": deterministic or None,
        }  # fmt: skip
        raise typer.Exit(_reproduce(screen, architecture, data, fixed, view, as_json))
    if data is None:
        raise UserError(
            f"nas train: --data is missing; such as: nas train {architecture} --data digits"
        )
    plugins.load(plugin)
    from ..api import train as train_file

    done = train_file(
        architecture, data=data, out=out, epochs=epochs, seed=seed or 0, device=device,
        constants=constants(set_), deterministic=deterministic, view=view,
    )  # fmt: skip
    found = {
        "architecture": str(done.file),
        "weights": str(done.weights),
        "epochs": done.epochs,
        "validation": done.validation,
        "test": done.test,
        "params": done.params,
        "macs": done.macs,
    }
    _show_result(screen, found, plugin or [])
    if as_json:
        print_json(found)


def _reproduce(
    screen: Console,
    architecture: str,
    data: str | None,
    fixed: Mapping[str, object],
    view: Callable[[Mapping[str, Any]], None] | None,
    as_json: bool,
) -> int:
    """0: the same figures in every epoch; 1: they differ."""
    for option, value in fixed.items():
        if value is not None:
            raise UserError(f"--exact trains as the search did: leave {option} out")
    from ..api.reproduction import reproduce

    done = reproduce(architecture, data=data, view=view)
    if done.equal:
        screen.print(f"trial {done.trial} reproduced: {done.epochs} epochs equal")
    else:
        screen.print(f"trial {done.trial} not reproduced: {done.difference}", soft_wrap=True)
    found = {
        "run": str(done.run), "trial": done.trial, "epochs": done.epochs, "equal": done.equal,
        "difference": done.difference,
    }  # fmt: skip
    if as_json:
        print_json(found)
    return 0 if done.equal else 1


def _show_epoch(screen: Console, report: Mapping[str, Any]) -> None:
    screen.print(
        f"epoch {report['epoch']:>3}  loss {report['train_loss']:.4f}  "
        f"validation {100 * report['validation']:.2f} %  lr {report['lr']:.3g}  "
        f"{report['seconds']:.1f} s"
    )


def _show_result(screen: Console, found: Mapping[str, Any], plugged: Sequence[Path]) -> None:
    from ..report.words import near, percent
    from ..units import show_amount

    file = near(found["architecture"])
    screen.print(
        f"test {percent(found['test'])}, validation {percent(found['validation'])} after "
        f"{found['epochs']} epochs, {show_amount(found['params'])} parameters"
    )
    screen.print(f"saved {file} and its weights beside it", soft_wrap=True)
    options = "".join(f" --plugin {shlex.quote(near(str(path)))}" for path in plugged)
    screen.print(f"next: nas predict {shlex.quote(file)}{options} IMAGE…", soft_wrap=True)

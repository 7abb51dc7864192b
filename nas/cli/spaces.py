"""`nas spaces`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from . import plugins
from .images import ChannelsOption, ClassesOption, SizeOption, asked_image
from .plugins import Plugins
from .search import constants
from .streams import console, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping


def spaces(
    name: Annotated[
        str | None, typer.Argument(help="A name or file, to look into; all are listed without.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Look for faults in the file; exit code 2 with an error."),
    ] = False,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    classes: ClassesOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Repeatable.")
    ] = None,
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the spaces and networks that come along, or look into one.

    With a NAME: its holes, how many networks it holds, and what 2,000 random ones cost.
    """
    image = asked_image("spaces", size, channels, classes)
    from ..search.measuring import apart

    with apart(begin=bool(plugin)):
        plugins.load(plugin)
        if name is None:
            _check_alone(image, check, seed, set_)
            _list(as_json)
        elif check:
            _check(name, image, seed, constants(set_), as_json)
        else:
            _look_into(name, image, seed, constants(set_), as_json)


def _check_alone(image: Mapping[str, Any], check: bool, seed: int, set_: object) -> None:
    """The list takes no options about one space."""
    given = {"--check": check, "--seed": seed, "--set": set_}
    given.update({f"--{key}": value for key, value in image.items()})
    for option, value in given.items():
        if value:
            raise UserError(
                f"nas spaces: {option} is about one space: name it, such as nas spaces "
                f"resnet_cells {'--check' if option == '--check' else option + ' …'}"
            )


def _list(as_json: bool) -> None:
    from ..api.catalogue import catalogue

    found = catalogue()
    if as_json:
        print_json(found)
        return
    from ..report.overview import show_spaces

    screen = console()
    show_spaces(screen, "Search spaces (nas spaces NAME, nas search --space NAME)", found["spaces"])
    drawn = max((space["draws"] for space in found["spaces"]), default=0)
    screen.print(
        f"params: 90 % of {drawn} draws lie between (5 % … 95 %; those that build, within the "
        "limits or not); nas spaces NAME tells more, of 2,000.",
        style="dim",
    )
    if found["zoo"]:
        title = "Documented networks (nas describe NAME, nas train NAME)"
        show_spaces(screen, title, found["zoo"], searchable=False)
    screen.print(
        "A space of your own is one YAML file: nas search --space ./mine.yaml", style="dim"
    )


def _look_into(
    name: str, image: dict[str, Any], seed: int, given: dict[str, str] | None, as_json: bool
) -> None:
    from ..api.surveying import survey

    found = survey(name, image, seed=seed, constants=given)
    if as_json:
        print_json(found)
        return
    from ..report.survey import show_survey

    show_survey(console(), found)


def _check(
    name: str, image: dict[str, Any], seed: int, given: dict[str, str] | None, as_json: bool
) -> None:
    from ..api.checking import check

    found = check(name, image, seed=seed, constants=given)
    if as_json:
        print_json(found)
    else:
        from ..report.survey import show_check

        show_check(console(), found)
    if found["errors"]:
        raise typer.Exit(UserError.exit_code)

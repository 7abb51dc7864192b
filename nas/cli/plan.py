"""`nas plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Budgets, Constants, CpusPerTrial, Device, GpusPerTrial, TrialsAtOnce
from .plugins import Plugins
from .search import Output, constants, look, together
from .streams import console, result_alone


def plan(
    space: Annotated[
        str | None, typer.Option(help="A name (`nas spaces`), or the path of a file.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="As of nas search: digits, cifar10, … or a path.")
    ] = None,
    budgets: Budgets = None,
    set_: Constants = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws that are priced (0).")] = None,
    trials_at_once: TrialsAtOnce = None,
    device: Device = None,
    gpus_per_trial: GpusPerTrial = None,
    cpus_per_trial: CpusPerTrial = None,
    plugin: Plugins = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON object on standard output, all else on standard error."
        ),
    ] = False,
) -> None:
    """Say what a search would do with its budget, before it is spent.

    Trains the default network for some seconds (up to a minute or two for a large one) in as many
    processes as trials would run at once, then searches on a virtual clock at that pace.
    """
    options = {
        "seed": seed, "device": device, "trials_at_once": trials_at_once,
        "gpus_per_trial": gpus_per_trial, "cpus_per_trial": cpus_per_trial,
        "constants": constants(set_), "plugins": plugin,
    }  # fmt: skip
    asked = {key: value for key, value in options.items() if value is not None}
    from ..search.measuring import apart

    with result_alone(as_json) as result, apart(begin=bool(plugin)):
        output = Output(console(stderr=as_json), result, as_json, quiet=False, verbose=False)
        look(output, space, data, together(budgets), asked)

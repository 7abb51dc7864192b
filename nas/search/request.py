"""What a search is asked: every word checked, before a folder is made or a device is touched."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..data import ImageData, locate
from ..data import load as load_data
from ..errors import RunError, SpaceError, UserError
from ..models import cost
from ..plugins import load_plugins
from ..rundir import Request, RunDir
from ..space import Architecture, Space, fill, find, parse, shipped
from ..space import load as load_space
from ..space.constants import set_constants
from ..space.document import compose
from ..train.recipe import Recipe
from ..units import parse_budget, show_bytes
from .journal import open_journal
from .strategies import STRATEGIES


@dataclass(frozen=True)
class Prepared:
    """A request whose every word has been checked, with what it names."""

    request: Request
    space: Space | Architecture
    data: ImageData


def prepare(
    space: str | Path | Space | Architecture,
    data: str,
    budget: str,
    *,
    strategy: str = "tpe",
    seed: int = 0,
    device: str | None = None,
    trials_at_once: int | None = None,
    gpus_per_trial: float | None = None,
    keep: str = "top:20",
    constants: Mapping[str, str] | None = None,
    plugins: Sequence[str | Path] = (),
) -> Prepared:
    """Check everything that was asked, before a folder or a GPU is touched. Raises UserError."""
    load_plugins(plugins)
    parse_budget(budget)
    STRATEGIES.get(strategy)
    parse_keep(keep)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError(f"--seed {seed} must be between 0 and {2**32 - 1}")
    device = pick_device(device)
    check_unit(budget, device)
    gpus = _gpus_per_trial(device, gpus_per_trial)
    file, source, loaded = _space(space, constants or {})
    images = load_data(data, seed=seed)
    check_default(loaded, images, device)
    request = Request(
        space=file,
        space_name=loaded.name,
        space_digest=_digest(loaded.text.encode()),
        source_digest=_digest(source),
        shipped=shipped() in Path(file).parents,
        data=locate(data),
        budget=budget,
        strategy=strategy,
        seed=seed,
        device=device,
        trials_at_once=_trials_at_once(device, gpus, trials_at_once),
        gpus_per_trial=gpus,
        keep=keep,
        constants=dict(constants or {}),
        plugins=_distinct(plugins),
    )
    return Prepared(request, loaded, images)


def reopen(path: str | Path, budget: str | None = None) -> tuple[RunDir, Prepared]:
    """A run to go on with, perhaps under another budget.

    Raises RunError where the folder is no run, or its space was edited since.
    """
    run = RunDir.open(path)
    request = run.request
    if budget is not None:
        parse_budget(budget)
        check_unit(budget, request.device)
        request = replace(request, budget=budget)
    load_plugins(run.plugins)
    _check_unedited(run, request)
    _check_again(run, request)
    loaded = parse(run.space_text, path=str(run.path / "space.yaml"))
    return run, Prepared(request, loaded, load_data(request.data, seed=request.seed))


def check_default(space: Space | Architecture, data: ImageData, device: str) -> None:
    """Trial 0 must run: its recipe, its shapes at the data's size, its limits. Raises UserError."""
    first = fill(space, space.default()) if isinstance(space, Space) else space
    batch = Recipe.from_mapping(first.recipe).batch_size
    classes = len(data.classes)
    price = cost(first, classes=classes, channels=data.channels, size=data.size, batch=batch)
    for name, limit in space.limits.items():
        if name == "latency":
            raise SpaceError(
                "limits.latency is not measured yet; use limits of params, macs or memory",
                str(space.path),
            )
        if price.limited(name) > limit:
            raise SpaceError(
                f"the default network has {name} {price.limited(name):,}, over limits.{name} "
                f"{limit:,.0f}; trial 0 trains it, so raise the limit or make the defaults smaller",
                str(space.path),
            )
    memory = device_memory(device)
    if price.memory > memory:
        raise SpaceError(
            f"the default network has {price.params:,} parameters and takes "
            f"{show_bytes(price.memory)} to train, more than the {show_bytes(memory)} of this "
            f"machine's {device}; make the defaults or recipe.batch_size smaller",
            str(space.path),
        )


def device_memory(device: str) -> int:
    """Bytes that a training can have at the very most: of the GPU, else of the machine."""
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def pick_device(asked: str | None) -> str:
    """`cuda` or `mps` where there is one, else `cpu`; what is asked for must be there."""
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if asked is None:
        return next(name for name in ("cuda", "mps", "cpu") if present[name])
    if asked not in present:
        raise UserError(f"--device {asked!r} must be one of cpu, cuda, mps")
    if not present[asked]:
        there = ", ".join(name for name, here in present.items() if here)
        raise UserError(f"--device {asked}: torch sees none on this machine; it sees {there}")
    return asked


def check_unit(budget: str, device: str) -> None:
    """An hour in the budget is one of a GPU, or of a trial slot where there is none. UserError."""
    if device != "cpu" and "cpu-h" in budget:
        raise UserError(
            f"--budget {budget} is counted in hours of CPU slots, and this search trains on "
            f"{device}: write gpu-h, or add --device cpu"
        )


def parse_keep(keep: str) -> int | None:
    """`top:20` -> 20, `all` -> None. Raises UserError."""
    if keep == "all":
        return None
    word, _, number = keep.partition(":")
    if word != "top" or not re.fullmatch("0*[1-9][0-9]{0,8}", number, re.ASCII):
        raise UserError(f"--keep {keep!r} must be all or top:N with N at least 1, such as top:20")
    return int(number)


def available_cpus() -> int:
    """CPUs that this process may use, not those that the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_unedited(run: RunDir, request: Request) -> None:
    if _digest((run.path / "space.yaml").read_bytes()) != request.space_digest:
        raise RunError(
            f"{run.path / 'space.yaml'} was edited since the run began: its trials belong to the "
            "space as it was; put it back, or start a new search with the edited one"
        )
    source = Path(request.space)
    edited = source.is_file() and _digest(source.read_bytes()) != request.source_digest
    if edited and not request.shipped:
        raise RunError(
            f"{source} was edited since the run began; put it back as it was (the run holds a "
            f"copy: {run.path / 'space.yaml'}), or start a new search with the edited one"
        )


def _check_again(run: RunDir, request: Request) -> None:
    """The run may have moved to a machine with less, or its files may be damaged."""
    try:
        parse_budget(request.budget)
        STRATEGIES.get(request.strategy)
        parse_keep(request.keep)
        pick_device(request.device)
        _gpus_per_trial(request.device, request.gpus_per_trial)
    except UserError as error:
        raise RunError(f"{run.path / 'request.yaml'}: {error}") from None
    open_journal(run.journal, mend=False)


def _gpus_per_trial(device: str, asked: float | None) -> float:
    if device != "cuda":
        if asked:
            raise UserError(f"--gpus-per-trial {asked:g} needs --device cuda, not {device}")
        return 0.0
    gpus = 1.0 if asked is None else asked
    if not 0 < gpus <= torch.cuda.device_count() or (gpus > 1 and gpus != int(gpus)):
        raise UserError(
            f"--gpus-per-trial {gpus:g} must be a fraction above 0, or a whole number up to the "
            f"{torch.cuda.device_count()} GPUs of this machine"
        )
    return gpus


def _trials_at_once(device: str, gpus_per_trial: float, asked: int | None) -> int:
    most = available_cpus()
    if device == "cuda":
        whole = int(torch.cuda.device_count() / gpus_per_trial + 1e-9)
        most = whole if gpus_per_trial >= 1 else torch.cuda.device_count() * int(1 / gpus_per_trial)
    elif device == "mps":
        most = 1
    if asked is None:
        return most
    if asked < 1:
        raise UserError(f"--trials-at-once {asked} must be at least 1")
    if asked > 8 * most:
        raise UserError(
            f"--trials-at-once {asked} is too many for {most} {device} slots: at most {8 * most}"
        )
    if device == "cuda" and asked > most:
        raise UserError(
            f"--trials-at-once {asked}: at {gpus_per_trial:g} GPUs a trial, {most} fit; "
            "lower it, or lower --gpus-per-trial"
        )
    return asked


def _space(
    space: str | Path | Space | Architecture, constants: Mapping[str, str]
) -> tuple[str, bytes, Space | Architecture]:
    """The file's absolute path, its content, and what it holds.

    A Space that was not read from a file has a name in place of the path. Raises UserError.
    """
    if isinstance(space, str | Path):
        file, loaded = find(space), load_space(space, constants=constants)
        return str(file.absolute()), file.read_bytes(), loaded
    if not isinstance(space, Space | Architecture):
        raise UserError(f"a space is a name, a path or what nas.load made, not {space!r}")
    content, file = space.text.encode(), Path(space.path)
    known = file.is_file() and file.read_bytes() == content
    loaded = set_constants(compose(space.text, space.path), constants) if constants else space
    return (str(file.absolute()) if known else f"{space.path} (not a file)"), content, loaded


def is_space_of(request: Request, space: str | Path | Space | Architecture) -> bool:
    """Whether the run searches that space."""
    if isinstance(space, Space | Architecture):
        return _digest(space.text.encode()) in (request.space_digest, request.source_digest)
    return str(find(space).absolute()) == request.space


def _distinct(plugins: Sequence[str | Path]) -> list[str]:
    """Absolute paths. Raises UserError for two of one name: the run folder holds copies."""
    paths = [Path(plugin).absolute() for plugin in plugins]
    names = [path.name for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two plug-ins are called {name}: rename one, or name it once")
    return [str(path) for path in paths]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""What a search is asked: every word checked, before a folder is made or a device is touched."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data import ImageData, locate
from ..data import load as load_data
from ..errors import RunError, SpaceError, UserError
from ..models import cost
from ..plugins import load_plugins
from ..rundir import Request, RunDir
from ..space import Architecture, Decisions, Space, fill, find, parse, shipped
from ..space import load as load_space
from ..space.constants import set_constants
from ..space.document import compose
from ..train.recipe import Recipe
from ..units import parse_budget, parse_seconds, show_bytes
from . import placement as placing
from . import storage as storages
from .disk import refuse_small_files
from .faults import RETRIES, TRIAL_TIMEOUT
from .journal import look_over
from .loadtest import settled_by
from .machine import Node, device_memory, pick_cluster_device, this_machine
from .machine import available_cpus as available_cpus
from .machine import pick_device as pick_device
from .pilots import Starter
from .placement import AUTO, Count, Placement, Share, Wish
from .strategies import STRATEGIES


@dataclass(frozen=True)
class Prepared:
    """A request whose every word has been checked, with what it names.

    first  decisions that are tried before others are drawn, behind trial 0
    """

    request: Request
    space: Space | Architecture
    data: ImageData
    placement: Placement
    first: Sequence[Decisions] = ()


def prepare(
    space: str | Path | Space | Architecture,
    data: str,
    budget: str,
    *,
    strategy: str = "tpe",
    seed: int = 0,
    device: str | None = None,
    trials_at_once: Count = None,
    gpus_per_trial: Share = None,
    cpus_per_trial: Count = None,
    ray_address: str | None = None,
    keep: str = "top:20",
    retries: int = RETRIES,
    trial_timeout: float | str = TRIAL_TIMEOUT,
    constants: Mapping[str, str] | None = None,
    plugins: Sequence[str | Path] = (),
    storage: str = storages.JOURNAL,
    deterministic: bool = False,
    first: Sequence[Decisions] = (),
    starter: Starter | None = None,
) -> Prepared:
    """Check everything that was asked, before a folder or a GPU is touched. Raises UserError.

    first    decisions of the space that are tried before others are drawn, behind trial 0
    starter  of the processes that `auto` measures with, begun already
    """
    load_plugins(plugins)
    _check_words(budget, strategy, keep, seed)
    wish = _wish(trials_at_once, gpus_per_trial, cpus_per_trial)
    address, nodes = _reach(ray_address)
    device = pick_cluster_device(device, nodes) if address else pick_device(device)
    check_unit(budget, device)
    storage = storages.written(storage)
    file, source, loaded = _space(space, constants or {})
    images = load_data(data, seed=seed)
    memory = device_memory(device, nodes)
    check_default(loaded, images, device, memory)
    storages.check(storage)
    place = placing.place(
        wish, device, nodes, address=address, memory=memory,
        settled=_measuring(address, nodes, loaded, images, device, plugins, starter),
    )  # fmt: skip
    check_default(loaded, images, device, place.memory)
    request = Request(
        space=file,
        space_name=loaded.name,
        space_digest=_digest(loaded.text.encode()),
        source_digest=_digest(source),
        shipped=shipped() in Path(file).parents,
        data=locate(data),
        data_digest=images.digest,
        budget=budget, strategy=strategy, seed=seed, device=device, keep=keep,
        trials_at_once=place.trials_at_once, gpus_per_trial=place.gpus_per_trial,
        cpus_per_trial=place.cpus_per_trial if cpus_per_trial or wish.auto else 0,
        auto=wish.auto,
        ray_address=address or "",
        constants=dict(constants or {}),
        plugins=_distinct(plugins),
        storage=storage,
        id=secrets.token_hex(4),
        deterministic=deterministic,
        retries=_retries(retries),
        trial_timeout=parse_timeout(trial_timeout),
    )  # fmt: skip
    return Prepared(request, loaded, images, place, tuple(first))


def _check_words(budget: str, strategy: str, keep: str, seed: object) -> None:
    parse_budget(budget)
    STRATEGIES.get(strategy)
    parse_keep(keep)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError(f"--seed {seed} must be between 0 and {2**32 - 1}")


def reopen(
    path: str | Path, budget: str | None = None, ray_address: str | None = None
) -> tuple[RunDir, Prepared]:
    """A run to go on with, perhaps under another budget, or on another cluster.

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
    place = _check_again(run, request, ray_address)
    request = replace(request, ray_address=place.address or "")
    loaded = parse(run.space_text, path=str(run.path / "space.yaml"))
    return run, Prepared(request, loaded, images_of(request), place)


def images_of(request: Request) -> ImageData:
    """The images that a run was begun with. Raises RunError where others are in their place."""
    images = load_data(request.data, seed=request.seed)
    if not are_images_of(request, images):
        raise RunError(
            f"the images or labels of {request.data} are not those that the run was begun with, "
            "and its figures are no measure for others: put them back, or start a new search"
        )
    return images


def are_images_of(request: Request, images: ImageData) -> bool:
    """Whether a run was begun with them; True where it is too old to know."""
    return request.data_digest in ("", images.digest)


def check_default(
    space: Space | Architecture, data: ImageData, device: str, memory: int | None = None
) -> None:
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
    memory = device_memory(device) if memory is None else memory
    if price.memory > memory:
        raise SpaceError(
            f"the default network has {price.params:,} parameters and takes "
            f"{show_bytes(price.memory)} to train, more than the {show_bytes(memory)} that "
            f"a trial has of this machine's {device}; make the defaults or recipe.batch_size "
            "smaller",
            str(space.path),
        )


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


def parse_timeout(asked: float | str) -> float:
    """Seconds. Raises UserError."""
    try:
        return parse_seconds(asked)
    except ValueError as error:
        raise UserError(f"--trial-timeout {error}") from None


def _retries(asked: int) -> int:
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 0:
        raise UserError(f"--retries {asked!r} must be a whole number, 0 or more")
    return asked


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


def _check_again(run: RunDir, request: Request, ray_address: str | None) -> Placement:
    """The run may have moved to a machine with less, or its files may be damaged."""
    refuse_small_files()
    address, nodes = _reach(ray_address or request.ray_address or None)
    try:
        parse_budget(request.budget)
        STRATEGIES.get(request.strategy)
        parse_keep(request.keep)
        (pick_cluster_device(request.device, nodes) if address else pick_device(request.device))
        place = _placed_again(request, address, nodes)
    except UserError as error:
        raise RunError(f"{run.path / 'request.yaml'}: {error}") from None
    if request.storage == storages.JOURNAL:
        look_over(run.journal)
    else:
        storages.check(request.storage)
    return place


def _placed_again(request: Request, address: str | None, nodes: Sequence[Node]) -> Placement:
    """As before, measured numbers too; on fewer slots where there are fewer now."""
    wish = Wish(
        gpus_per_trial=request.gpus_per_trial or None, cpus_per_trial=request.cpus_per_trial or None
    )
    memory = device_memory(request.device, nodes)
    place = placing.place(wish, request.device, nodes, address=address, memory=memory)
    most = place.trials_at_once
    if request.device != "cuda" and not address:
        most *= placing.OVERSUBSCRIBED
    trials = min(most, request.trials_at_once)
    wish = replace(wish, trials_at_once=trials)
    return placing.place(wish, request.device, nodes, address=address, memory=memory)


def _wish(trials_at_once: object, gpus_per_trial: object, cpus_per_trial: object) -> Wish:
    return Wish(
        trials_at_once=placing.parse_count("--trials-at-once", trials_at_once),
        gpus_per_trial=placing.parse_share("--gpus-per-trial", gpus_per_trial),
        cpus_per_trial=placing.parse_count("--cpus-per-trial", cpus_per_trial),
    )


def _reach(address: str | None) -> tuple[str | None, tuple[Node, ...]]:
    """The cluster's address and nodes; None and this machine without one. Raises UserError."""
    if address in (None, "", "local"):
        return None, (this_machine(),)
    from . import backend  # Ray takes a second to import: not for what never asks for it

    assert address is not None
    backend.check_address(address)
    return address, backend.survey(address)


def _measuring(
    address: str | None, nodes: Sequence[Node], space: Space | Architecture, data: ImageData,
    device: str, plugins: Sequence[str | Path], starter: Starter | None,
) -> placing.Settled:  # fmt: skip
    if address is None:
        return settled_by(space, data, device, plugins=plugins, starter=starter)
    from . import backend

    return backend.settled_there(address, nodes, space, data, device, plugins=plugins)


def is_placed_so(request: Request, name: str, value: object) -> bool:
    """Whether the run was begun with that word for `--trials-at-once` and the like."""
    if value == AUTO:
        return name in request.auto
    parse = placing.parse_share if name == "gpus_per_trial" else placing.parse_count
    return bool(parse(f"--{name.replace('_', '-')}", value) == getattr(request, name))


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

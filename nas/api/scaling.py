"""EfficientNet's procedure: find the ratios of compound scaling, then write the larger networks."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import NasError, RunError, ShapeError, UserError
from ..models import compound
from ..models.compound import Ratios, Scaled
from ..rundir import write_text
from ..search.run import View
from ..space import Architecture, load, parse, require_architecture
from ..train.recipe import Recipe
from ..units import parse_amount, show_amount, show_bytes
from .catalogue import shown_image
from .run import Run
from .searching import search

HEADROOM = 3.0  # times the base's multiply-adds: the most of phi = 1 where no target is named


@dataclass(frozen=True)
class Scaling:
    """A network that is to be scaled; `macs` the most of phi = 1."""

    architecture: Architecture
    image: Mapping[str, Any]  # size [h, w], channels, classes
    batch: int
    base: Scaled
    macs: int


def prepare(
    source: str | Path, image: Mapping[str, Any], *, batch: int | None, macs: str | None
) -> Scaling:
    """`image`: size, channels, classes; what is left out comes from the file. Raises UserError."""
    architecture = compound.base_of(require_architecture(load(source)))
    assumed = shown_image(architecture, image)
    images = batch or Recipe.from_mapping(architecture.recipe).batch_size
    base = compound.scaled(architecture, {"depth": 1.0}, assumed, images)
    return Scaling(architecture, assumed, images, base, _target(macs, base))


def _target(macs: str | None, base: Scaled) -> int:
    if macs is None:
        return int(HEADROOM * base.macs)
    try:
        target = int(parse_amount(macs))
    except ValueError as error:
        raise UserError(f"--macs {macs}: {error}") from None
    if target <= base.macs:
        raise UserError(
            f"--macs {macs} is no more than the {show_amount(base.macs)} of the network itself: "
            f"phi = 1 about doubles them, so name some {show_amount(2 * base.macs)}"
        )
    return target


def plan(work: Scaling, *, trains: bool = True) -> dict[str, Any]:
    """The object of `nas scale --dry-run --json`: nothing is trained or written.

    What cannot be built stands under `unfit`, with its reason. Raises UserError where no point of
    the grid is left, unless the ratios are known (`trains` False).
    """
    grid, grid_unfit = _priced_grid(work)
    if trains:
        _affordable(work)
    phis = range(compound.LARGEST_PHI + 1)
    ratios, ratios_unfit = _series(work, compound.PUBLISHED_RATIOS, phis)
    sizes, sizes_unfit = _published(work)
    return {
        "name": work.architecture.name,
        "base": _row(work.base),
        "macs": work.macs,
        "grid": [{**point._asdict(), "product": point.product, **_row(made)}
                 for point, made in grid if made.macs <= work.macs],
        "grid_points": len(grid),
        "ratios": [{**phi, **_row(made)} for phi, made in ratios],
        "sizes": [{**phi, **_row(made)} for phi, made in sizes],
        "unfit": {"grid": grid_unfit, "ratios": ratios_unfit, "sizes": sizes_unfit},
    }  # fmt: skip


Tried = tuple[list[tuple[dict[str, Any], Scaled]], list[dict[str, Any]]]


def _tried(work: Scaling, asked: Iterable[tuple[dict[str, Any], Mapping[str, float]]]) -> Tried:
    """Of (words, scaling) those that can be built; of the others the words with the reason."""
    fit, unfit = [], []
    for words, scaling in asked:
        try:
            made = compound.scaled(work.architecture, scaling, work.image, work.batch)
        except ShapeError as error:
            unfit.append({**words, "reason": str(error)})
        else:
            fit.append((words, made))
    return fit, unfit


def _by(ratios: Ratios, phi: int) -> dict[str, float]:
    return {"phi": phi, **ratios._asdict()}


def _series(work: Scaling, ratios: Ratios, phis: Iterable[int]) -> Tried:
    return _tried(work, (({"phi": phi}, _by(ratios, phi)) for phi in phis))


def _published(work: Scaling) -> Tried:
    """The network with the widths, depths and pixels of B0 to B7; they mean nothing to a network
    of other images than B0's."""
    if work.image["size"] != list(compound.PUBLISHED_SIZES[0][2:]) * 2:
        return [], []
    sizes = enumerate(compound.PUBLISHED_SIZES)
    return _tried(
        work,
        (
            ({"phi": phi}, {"width": width, "depth": depth, "resolution": pixels})
            for phi, (width, depth, pixels) in sizes
        ),
    )


def train_grid(
    work: Scaling, *, data: str, budget: str, out: str | Path, view: View | None = None,
    **options: Any,
) -> tuple[Run, list[dict[str, Any]]]:  # fmt: skip
    """Train the points of the grid by the search engine; the trained ones, best first.

    `options`: of `nas.search` (seed, device, trials_at_once, gpus_per_trial, plugins).
    """
    folder = _make(Path(out))
    space, grid = folder / "grid.yaml", folder / "grid"
    if grid.exists():  # an earlier call was stopped, or the budget is larger now
        run = search(resume=grid, budget=budget, view=view, started=options.get("started"))
    else:
        write_text(space, _space(work))
        run = search(
            space, data=data, budget=budget, run_dir=grid, strategy="random", view=view,
            first=[_decisions(point) for point, _ in _affordable(work)], **options,
        )  # fmt: skip
    rows = trained(run)
    if not rows:
        raise NasError(
            f"no point of the grid was trained: go on with nas search --resume {grid}, or give a "
            "larger --budget"
        )
    return run, rows


def untrained(work: Scaling, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The points of the grid that are not among `rows` of `trained`."""
    done = {ratios_of(row) for row in rows}
    return [point._asdict() for point, _ in _affordable(work) if point not in done]


def _decisions(point: Ratios) -> dict[str, float]:
    return {f"scaling.{name}": value for name, value in point._asdict().items()}


def ratios_of(row: Mapping[str, Any]) -> Ratios:
    """The ratios of a row of `trained`."""
    return Ratios(row["alpha"], row["beta"], row["gamma"])


def trained(run: Run) -> list[dict[str, Any]]:
    """Each trained point with its validation accuracy, best first.

    Of a point's trainings the longest count, by their mean over so many `runs`: a finalist is
    trained with several seeds. Longer trained points come first.
    """
    told: dict[Ratios, dict[int, list[float]]] = {}
    macs: dict[Ratios, int] = {}
    for row in run.trials.to_dict("records"):
        if not row["epoch"] or not math.isfinite(row["validation"]):
            continue
        point = Ratios(*(float(row[f"scaling.{name}"]) for name in Ratios._fields))
        told.setdefault(point, {}).setdefault(int(row["epoch"]), []).append(row["validation"])
        macs[point] = int(row["macs"])
    rows = []
    for point, lengths in told.items():
        epochs = max(lengths)
        value = statistics.fmean(lengths[epochs])
        runs = len(lengths[epochs])
        figures = {"epochs": epochs, "validation": value, "runs": runs, "macs": macs[point]}
        rows.append({**point._asdict(), **figures})
    return sorted(rows, key=lambda row: (-row["epochs"], -row["validation"], row["macs"]))


def parse_ratios(text: str) -> Ratios:
    """`1.2,1.1,1.15` to Ratios. Raises UserError."""
    words = [word for word in re.split(r"[,\s]+", text.strip()) if word]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(1 <= number <= 4 for number in numbers):
        raise UserError(
            f"--ratios {text!r} must be alpha,beta,gamma, each from 1 to 4, such as 1.2,1.1,1.15"
        )
    ratios = Ratios(*numbers)
    if abs(ratios.product - compound.TARGET) > compound.TOLERANCE:
        raise UserError(
            f"--ratios {text}: alpha · beta² · gamma² is {ratios.product:.3g}, and must be 2 ± 0.1 "
            "(each step of phi doubles the multiply-adds), such as 1.2,1.1,1.15"
        )
    return ratios


def write_files(
    work: Scaling, ratios: Ratios, out: str | Path, largest: int = compound.LARGEST_PHI
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """phi = 1 … `largest` as files NAME_phi<k>.yaml in `out`.

    A row of figures for each file; then each phi that cannot be built, with the reason. Raises
    UserError where none can.
    """
    folder = _make(Path(out))
    made, unfit = _series(work, ratios, range(1, largest + 1))
    if not made:
        raise UserError(f"no phi can be built, phi 1 because: {unfit[0]['reason']}")
    rows = []
    for words, each in made:
        phi = words["phi"]
        file = folder / f"{work.architecture.name}_phi{phi}.yaml"
        write_text(file, _file(work, each, phi))
        rows.append({"phi": phi, **_row(each), "file": str(file.absolute())})
    return rows, unfit


def _file(work: Scaling, made: Scaled, phi: int) -> str:
    height, width = made.resolution
    head = (
        f"# {work.architecture.name} by compound scaling, phi {phi}: depth {made.depth:.4g}, "
        f"width {made.width:.4g}, {height}x{width} pixels;\n"
        f"# {made.params:,} parameters, {made.macs:,} multiply-adds, {show_bytes(made.memory)} to "
        f"train with {made.batch} images.\n"
    )
    text = compound.scaled_text(work.architecture, made.scaling)
    return head + _parsed(text).with_section("name", f"{work.architecture.name}_phi{phi}")


def _space(work: Scaling) -> str:
    """The network with the ratios of phi = 1 as holes; other growths than 2 ± 0.1 are refused."""
    points = [point for point, _ in _affordable(work)]
    published = compound.PUBLISHED_RATIOS
    default = published if published in points else points[0]
    words = {name: f"HOLE_{name}" for name in Ratios._fields}
    section = {"phi": 1, "growth": int(compound.TARGET), **words}
    limits = {**work.architecture.limits, "macs": work.macs}
    text = _parsed(work.architecture.with_section("limits", limits)).with_section(
        "scaling", section
    )
    for place, name in enumerate(Ratios._fields):
        options = ", ".join(f"{value:g}" for value in sorted({point[place] for point in points}))
        hole = f"!choice {{options: [{options}], default: {default[place]:g}}}"
        text = text.replace(words[name], hole)
    return text


def _parsed(text: str) -> Architecture:
    return require_architecture(parse(text))


def _priced_grid(work: Scaling) -> tuple[list[tuple[Ratios, Scaled]], list[dict[str, Any]]]:
    """The points that can be built, and the others with the reason."""
    points = compound.grid()
    made, unfit = _tried(work, ((each._asdict(), _by(each, 1)) for each in points))
    return [(Ratios(**words), each) for words, each in made], unfit


def _affordable(work: Scaling) -> list[tuple[Ratios, Scaled]]:
    """The points of the grid that can be trained. Raises UserError where there is none."""
    made, unfit = _priced_grid(work)
    fit = [(point, each) for point, each in made if each.macs <= work.macs]
    if fit:
        return fit
    if not made:
        first = unfit[0]
        raise UserError(
            f"no point of the grid can be built; alpha {first['alpha']:g}, beta "
            f"{first['beta']:g}, gamma {first['gamma']:g}: {first['reason']}"
        )
    least = min(each.macs for _, each in made)
    raise UserError(
        f"--macs {show_amount(work.macs)}: no point of the grid fits; the smallest takes "
        f"{show_amount(least)}"
    )


def _row(made: Scaled) -> dict[str, Any]:
    return {
        "depth": made.depth, "width": made.width, "resolution": list(made.resolution),
        "params": made.params, "macs": made.macs, "memory_bytes": made.memory,
        "batch": made.batch,
    }  # fmt: skip


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--out {folder} cannot be made: {error.strerror}") from None
    return folder

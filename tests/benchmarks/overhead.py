"""What a trial costs beyond its training, beside Ray Tune with its OptunaSearch at their defaults.

    python -m tests.benchmarks.overhead [--trials 100]

Both train the same network for one epoch of the digits, two trials at once. Overhead is the wall
time from the first trial's start to the last one's end, less the training inside (over the two
slots), a trial: building, reporting, the sampler, the study, and the start of processes. Ray's own
start and end are left out on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from .machine import machine

SLOTS = 2


def ours(trials: int, folder: Path) -> dict[str, float]:
    """`nas search` on the space `tiny`, one epoch a trial."""
    from nas.search.request import prepare
    from nas.search.run import create, search

    constants = {"recipe.epochs": "1"}
    prepared = prepare(
        "tiny", "digits", f"{trials}trials", trials_at_once=SLOTS, constants=constants, device="cpu"
    )
    run = create(prepared, folder / "ours")
    with run.lock():
        search(run, prepared)
    from nas.search.run import open_studies

    studies = open_studies(run)
    spans, trained = [], 0.0
    for name in studies.names():
        if name == "final":
            continue
        for trial in studies.study(name).trials:
            if "trial" in trial.user_attrs and trial.datetime_complete:
                spans.append((trial.datetime_start, trial.datetime_complete))
                trained += _trained(run.trial(trial.user_attrs["trial"]))
    wall = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
    return _figures(wall, trained, len(spans))


def defaults(trials: int, folder: Path) -> dict[str, float]:
    """The same, written with Ray Tune and its OptunaSearch as their guides show."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    from nas.data import load as load_data

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    data = load_data("digits")

    def trainable(config: dict[str, Any]) -> None:
        from nas.models import build
        from nas.space import fill, load
        from nas.train.loop import Trainer
        from nas.train.recipe import Recipe

        space = load("tiny", constants={"recipe.epochs": "1"})
        wanted = {**space.default(), "recipe.lr": config["lr"]}
        architecture = fill(space, wanted)
        model = build(architecture, classes=10, channels=1, size=(8, 8))
        trainer = Trainer(
            model, (data.train.x, data.train.y), (data.validation.x, data.validation.y),
            Recipe.from_mapping(architecture.recipe), mean=data.mean, std=data.std,
        )  # fmt: skip
        report = next(iter(trainer.run()))
        tune.report({"validation": report.validation, "seconds": report.seconds})

    ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        trainable,
        param_space={"lr": tune.loguniform(1e-3, 1.0)},
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(), metric="validation", mode="max", num_samples=trials
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "defaults"), verbose=0),
    )
    started = time.monotonic()
    results = tuner.fit()
    wall = time.monotonic() - started
    trained = sum(result.metrics.get("seconds", 0.0) for result in results)
    ray.shutdown()
    return _figures(wall, trained, len(results))


def _trained(folder: Path) -> float:
    lines = (folder / "metrics.csv").read_text().splitlines()
    at = lines[0].split(",").index("seconds")
    return sum(float(line.split(",")[at]) for line in lines[1:])


def _figures(wall: float, trained: float, trials: int) -> dict[str, float]:
    return {
        "trials": trials,
        "wall_seconds": round(wall, 2),
        "training_seconds_per_trial": round(trained / trials, 4),
        "overhead_seconds_per_trial": round((wall - trained / SLOTS) / trials, 4),
    }


def main() -> None:
    """Both, in one run; prints JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trials", type=int, default=100)
    trials = options.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        own = ours(trials, Path(folder))
        theirs = defaults(trials, Path(folder))
    ratio = theirs["overhead_seconds_per_trial"] / own["overhead_seconds_per_trial"]
    print(
        json.dumps(
            {"nas": own, "defaults": theirs, "ratio": round(ratio, 1), "machine": machine()},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()

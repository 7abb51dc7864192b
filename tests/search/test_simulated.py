"""The simulated backend, and what holds on any schedule of many devices."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from nas.search.simulated import (
    broke,
    died,
    exploded,
    out_of_memory,
    read,
    simulate,
    tabulated,
    trained,
)
from nas.search.strategies import STRATEGIES

from .simulator import Simulation, quadratic


def tenfold(ask):
    return 10 ** random.Random(ask.seed).random()


def test_the_same_seed_is_the_same_search(tmp_path):
    runs = [Simulation(tmp_path / name, "40trials", slots=8, strategy="tpe") for name in "ab"]
    states = [run.go() for run in runs]
    assert states[0]["finalists"] == states[1]["finalists"]
    assert runs[0].clock.now == runs[1].clock.now
    first, second = ([ask.architecture for ask in run.asked] for run in runs)
    assert first == second


def test_a_shipped_space_with_its_own_prices(tmp_path):
    def curve(ask, recipe, epoch):
        return trained(epoch, 1 / (1 + abs(math.log10(recipe["lr"]))))

    found = simulate("tiny", curve, budget="12trials", gpus=4, folder=tmp_path / "run")
    assert found.state["trials"]["total"] >= 12
    assert found.state["finalists"][0]["params"] > 0


def test_tabulated_curves_are_replayed(tmp_path):
    table = {8: [0.5, 0.6, 0.7], 16: [0.4, 0.45], 32: [0.1, 0.2, 0.3, 0.9]}
    curve = tabulated(table, lambda network: network.network[0]["channels"])
    found = Simulation(tmp_path / "run", "20trials", curve=curve)
    found.go()
    for ask in found.asked:
        row, values = found.table.rows[ask.number], table[read(ask).network[0]["channels"]]
        assert row["validation"] == values[min(row["epoch"], len(values)) - 1]


def test_every_way_to_end_is_counted(tmp_path):
    ways = {1: broke("Traceback\nValueError: 1"), 2: out_of_memory(), 3: exploded(1, 5.0)}
    ways |= {4: exploded(1, math.nan), 5: trained(1, math.nan)}

    def curve(ask, recipe, epoch):
        return ways.get(ask.number) or quadratic(ask, {}, epoch)

    found = Simulation(tmp_path / "run", "30trials", curve=curve)
    counts = found.go()["trials"]
    assert [counts[cause] for cause in ("failed", "out_of_memory", "exploded")] == [1] * 3
    assert counts["nan"] == 2 and found.table.rows[5]["cause"] == "nan"


def test_a_dead_worker_goes_on_from_its_checkpoint(tmp_path):
    deaths = iter([True])

    def curve(ask, recipe, epoch):
        if ask.number == 0 and epoch == 3 and next(deaths, False):
            return died()
        return quadratic(ask, recipe, epoch)

    found = Simulation(tmp_path / "run", "10trials", curve=curve)
    found.go()
    assert found.epochs[0] == [1, 2, 3]
    assert found.table.rows[0]["device_seconds"] == 4.0  # the lost epoch was paid too


def test_pauses_within_an_epoch_end_it_on_time(tmp_path):
    found = Simulation(
        tmp_path / "run", "300s", slots=3, epoch_seconds=lambda _: 40.0, interval=1.0
    )
    found.go()
    assert found.ledger.wall_seconds <= 300


# --- asynchrony -------------------------------------------------------------------------------


def test_candidates_are_drawn_while_the_devices_are_busy(tmp_path):
    found = Simulation(tmp_path / "run", "60trials", slots=8)
    found.go(lambda s: len(s.asked) >= 30)
    assert len(found.core._proposer._ready) >= 1


def test_with_one_slot_nothing_is_drawn_ahead(tmp_path):
    found = Simulation(tmp_path / "run", "20trials", slots=1)
    found.go(lambda s: bool(s.core._proposer._ready))
    assert found.core.over


def test_what_was_drawn_and_not_begun_is_begun_after_a_kill(tmp_path):
    first = Simulation(tmp_path / "run", "60trials", slots=8)
    first.go(lambda s: len(s.asked) >= 30 and len(s.core._proposer._ready) >= 3)
    drawn = [dict(candidate.decisions) for candidate in first.core._proposer._ready]
    second = Simulation(tmp_path / "run", "60trials", slots=8)
    state = second.go()
    after = [row for row in second.table.rows.values() if row["trial"] >= len(first.asked)]
    begun = [second.table.decisions(row["trial"]) for row in after]
    assert begun[: len(drawn)] == drawn
    assert state["trials"]["total"] == 60 + state["trials"]["infeasible"]


def test_what_was_drawn_for_nothing_is_told(tmp_path):
    found = Simulation(tmp_path / "run", "60s", slots=8)
    found.go()
    trials = [t for n in found.studies.names() for t in found.studies.study(n).trials]
    assert any(t.user_attrs.get("cause") == "unused" for t in trials)
    assert not any(t.state.name == "RUNNING" for t in trials)


# --- no slot waits for another ----------------------------------------------------------------


@pytest.mark.parametrize("budget", ["150trials", "0.5gpu-h"])
def test_no_slot_is_idle_while_the_search_goes_on(tmp_path, budget):
    ends: list[float] = []

    def searching(s):
        if s.core.stopped is None:
            ends.append(s.clock.now)
        return False

    found = Simulation(tmp_path / "run", budget, slots=16, epoch_seconds=tenfold)
    state = found.go(searching)
    assert len(state["stages"]) >= 3
    assert found.utilisation(ends[-1]) >= 0.97


def test_final_trainings_begin_while_the_last_trials_run(tmp_path):
    begun: list[int] = []

    def finals(s):
        running = [live.ask for live in s.core._live.values()]
        if {ask.stage == "final" for ask in running} == {True, False}:
            begun.extend(ask.number for ask in running if ask.stage == "final")
        return False

    found = Simulation(tmp_path / "run", "60trials", slots=8, epoch_seconds=tenfold)
    state = found.go(finals)
    assert begun
    candidates = {entry["candidate"] for entry in state["finalists"]}
    best = [row["trial"] for row in found.table.ranked(3)]
    assert candidates <= {0, *best}, "none was trained in full that the search did not want"
    seeds = [(row["candidate"], row["seed_index"]) for row in found.table.final_rows()]
    assert len(seeds) == len(set(seeds))


def test_a_kill_while_both_run_repeats_no_final_training(tmp_path):
    def both(s):
        return len({live.ask.stage == "final" for live in s.core._live.values()}) == 2

    folder: Path = tmp_path / "run"
    first = Simulation(folder, "60trials", slots=8, epoch_seconds=tenfold)
    assert first.go(both) is None
    second = Simulation(folder, "60trials", slots=8, epoch_seconds=tenfold)
    state = second.go()
    seeds = [(row["candidate"], row["seed_index"]) for row in second.table.final_rows()]
    assert len(seeds) == len(set(seeds))
    assert state["trials"]["total"] == 60 + state["trials"]["infeasible"]
    assert all(entry["complete"] for entry in state["finalists"])


# --- strategies -------------------------------------------------------------------------------

DEPENDS = {"tpe"}  # on what had ended when a suggestion was made, after its plain draws


@pytest.mark.parametrize("strategy", STRATEGIES.names())
def test_the_first_stage_suggests_the_same_to_any_number_of_workers(tmp_path, strategy):
    drawn = {}
    for workers in (1, 2, 4, 8):
        found = Simulation(tmp_path / str(workers), "50trials", slots=workers, strategy=strategy)
        found.go(lambda s: s.core.stage != "coarse")
        rows = [row for row in found.table.rows.values() if row["stage"] == "coarse"]
        drawn[workers] = [found.table.decisions(row["trial"]) for row in rows]
    same = 10 if strategy in DEPENDS else min(map(len, drawn.values()))
    assert same >= 10
    for workers in (2, 4, 8):
        assert drawn[workers][:same] == drawn[1][:same]


def test_the_excerpt_is_the_study_while_it_is_small_and_keeps_its_best(tmp_path):
    import optuna

    from nas.search.strategies.excerpt import BEST, MOST, Excerpt, _rank

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler())
    excerpt, source = Excerpt(), random.Random(0)
    for n in range(600):
        trial = study.ask()
        value = trial.suggest_float("x", 0, 1) + source.random()
        if n % 7 == 0:
            trial.report(value, 1 + n % 5)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif n % 50:  # the others stay running
            study.tell(trial, value)
        if n % 90 == 0 or n > 590:
            shown = excerpt.of(study).get_trials(deepcopy=False)
            all_ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
            ended = [t for t in shown if t.state.is_finished()]
            running = [t for t in study.get_trials(deepcopy=False) if not t.state.is_finished()]
            assert len(ended) == min(MOST, len(all_ended))
            assert [t.number for t in shown if not t.state.is_finished()] == [
                t.number for t in running
            ]
            best = sorted(all_ended, key=lambda t: (_rank(t), t.number))[:BEST]
            assert {t.number for t in best} <= {t.number for t in ended}
            if len(all_ended) <= MOST:
                assert ended == all_ended

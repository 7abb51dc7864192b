"""The search itself, on a virtual clock: counts, budgets, stages, resume."""

from __future__ import annotations

import itertools
import math
import shutil

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.search.study import Record
from nas.search.table import CAUSES
from nas.search.work import Ask, Signal

from .simulator import TEXT, Price, Simulation, quadratic


def simulate(folder, budget, **changes):
    simulation = Simulation(folder, budget, **changes)
    state = simulation.go()
    assert state is not None
    return simulation, state


def records(simulation: Simulation) -> list[Record]:
    return [r for name in simulation.studies.names() for r in simulation.studies.records(name)]


@pytest.mark.parametrize("strategy", ["tpe", "random"])
def test_trials_are_counted_and_their_ends_sum_to_the_total(tmp_path, strategy):
    simulation, state = simulate(tmp_path / "run", "30trials", strategy=strategy)
    counts = state["trials"]
    assert counts["total"] == 30 + counts["infeasible"]
    assert sum(counts[cause] for cause in CAUSES) == counts["total"]
    assert state["stopped"] == "budget"
    searched = {ask.number for ask in simulation.asked if ask.stage != "final"}
    assert searched == set(range(30))


def test_trial_0_is_the_default_and_runs_to_its_end(tmp_path):
    simulation, _ = simulate(tmp_path / "run", "20trials")
    row = simulation.table.rows[0]
    assert row["cause"] == "finished"
    assert (row["recipe.lr"], row["network.stem.channels"]) == (0.1, 8)


def test_nothing_is_left_running_or_untold(tmp_path):
    simulation, _ = simulate(tmp_path / "run", "25trials")
    assert not [r for r in records(simulation) if r.running]
    for record in records(simulation):
        assert record.cause is not None or record.carried_from is not None


def test_stages_follow_one_another_and_narrow(tmp_path):
    simulation, state = simulate(tmp_path / "run", "60trials")
    names = [stage["name"] for stage in state["stages"]]
    assert names == ["coarse", "fine-1", "fine-2", "final"]
    epochs = [stage["epochs"] for stage in state["stages"]]
    assert epochs == sorted(epochs) and epochs[-1] == 18
    for before, after in itertools.pairwise(state["stages"][:3]):
        for name, (low, high) in after["ranges"].items():
            was = before["ranges"][name]
            assert math.log(high / low) < math.log(was[1] / was[0])
    low, high = state["stages"][1]["ranges"]["recipe.lr"]
    assert low <= 0.1 <= high


def test_earlier_trials_inside_the_narrowed_ranges_are_carried_over(tmp_path):
    simulation, _ = simulate(tmp_path / "run", "60trials")
    carried = [r for r in simulation.studies.records("fine-1") if r.carried_from is not None]
    assert carried
    low, high = simulation.core._proposer.stages[1].ranges()["recipe.lr"]
    assert all(low <= r.decisions["recipe.lr"] <= high for r in carried)


def test_an_exploded_trial_is_pruned_with_a_constraint_and_not_sampled_round(tmp_path):
    wide = TEXT.replace("low: 1e-4, high: 10", "low: 1e-4, high: 1e4")
    simulation, state = simulate(tmp_path / "run", "60trials", text=wide, strategy="tpe")
    assert state["trials"]["exploded"] > 0
    exploded = [
        trial
        for trial in simulation.studies.study("coarse").trials
        if trial.user_attrs.get("cause") == "exploded"
    ]
    for trial in exploded:
        assert trial.state == optuna.trial.TrialState.PRUNED
        assert trial.constraints["diverged"] > 0
    rates = [simulation.table.rows[n]["recipe.lr"] for n in range(60)]
    last = rates[45:]
    assert sum(rate > 3 for rate in last) <= 1, "the exploding region is left alone"


def test_duplicates_cost_nothing_and_exhaust_a_small_space(tmp_path):
    text = TEXT.replace("!log {low: 1e-4, high: 10, default: 0.1}", "0.1")
    text = text.replace("!log {low: 1e-6, high: 1e-2, default: 1e-4}", "1e-4")
    simulation, state = simulate(tmp_path / "run", "500trials", text=text)
    assert state["stopped"] == "done"
    assert state["trials"]["duplicates"] >= 100
    assert "exhausted" in state["notes"][0]
    trained = [(ask.architecture, ask.epochs) for ask in simulation.asked if ask.stage != "final"]
    assert len(trained) == len(set(trained)) <= 12


def test_an_architecture_without_holes_is_trained_once_and_in_full(tmp_path):
    rows = ("{op: conv, channels: 8}", "{op: global_pool}", "{op: linear}")
    text = "name: one\nnetwork:\n" + "".join(f"  - {row}\n" for row in rows)
    simulation, state = simulate(
        tmp_path / "run", "10trials", text=text, price=lambda _: Price(1, 1, 1)
    )
    assert state["trials"]["finished"] == 1
    assert state["finalists"][0]["candidate"] == 0


def test_candidates_over_a_limit_never_get_a_device(tmp_path):
    text = TEXT.replace("params: 1M", "params: 20k")
    simulation, state = simulate(tmp_path / "run", "30trials", text=text)
    assert state["trials"]["infeasible"] > 0
    assert all(row["params"] <= 20_000 for row in simulation.table.rows.values())
    refused = [r for r in records(simulation) if r.cause == "infeasible"]
    assert refused and all(r.number is None and r.device_seconds == 0 for r in refused)


def test_where_only_the_default_fits_the_search_stops_and_says_so(tmp_path):
    def price(architecture):
        default = architecture.recipe["lr"] == 0.1
        return Price(10 if default else 10**9, 1, 1)

    simulation, state = simulate(tmp_path / "run", "30trials", price=price)
    assert state["stopped"] == "done"
    assert "0.0% of 1000 plain draws fit" in state["notes"][0]
    assert "limits.params" in state["notes"][0]
    assert state["finalists"][0]["candidate"] == 0


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    budget=st.sampled_from(["300s", "600s,40trials", "0.1gpu-h", "200epochs", "0.1gpu-h,400s"]),
    slots=st.integers(1, 5),
    seconds=st.floats(2, 12),
    seed=st.integers(0, 1000),
)
def test_no_bound_is_passed_by_more_than_one_interval_a_slot(
    tmp_path_factory, budget, slots, seconds, seed
):
    folder = tmp_path_factory.mktemp("budget") / "run"
    simulation, state = simulate(
        folder, budget, slots=slots, seed=seed, epoch_seconds=lambda _: seconds
    )
    ledger, bounds = simulation.ledger, simulation.ledger.budget
    if bounds.wall_seconds:
        assert ledger.wall_seconds <= bounds.wall_seconds + seconds
    if bounds.device_seconds:
        assert ledger.device_seconds <= bounds.device_seconds + slots * seconds
    if bounds.epochs:
        assert ledger.epochs <= bounds.epochs
    if bounds.trials:
        assert ledger.trials <= bounds.trials
    assert state["finalists"], "the reserve leaves room for a final training"
    assert all(entry["final"] for entry in state["finalists"])
    told = sum(row["device_seconds"] for row in simulation.table.rows.values())
    assert told == pytest.approx(ledger.device_seconds, rel=1e-3, abs=0.1)


def test_the_finalists_are_trained_in_full_on_several_seeds_beside_trial_0(tmp_path):
    simulation, state = simulate(tmp_path / "run", "40trials")
    entries = {entry["candidate"]: entry for entry in state["finalists"]}
    assert 0 in entries and len(entries) >= 2
    assert all(entry["epochs"] == 18 and entry["seeds"] >= 2 for entry in entries.values())
    assert all(entry["complete"] for entry in entries.values())
    values = [entry["validation"] for entry in state["finalists"]]
    assert values == sorted(values, reverse=True)
    assert values[0] >= entries[0]["validation"], "never below the textbook"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 60), min_size=1, max_size=3), st.integers(0, 100))
def test_after_a_kill_at_any_moment_nothing_finished_runs_again(tmp_path_factory, kills, seed):
    folder = tmp_path_factory.mktemp("kill") / "run"
    finished: dict[int, float] = {}
    spent = 0.0
    for steps in kills:
        session = Simulation(folder, "16trials", seed=seed)
        counter = itertools.count()
        ended = session.go(lambda _, c=counter, n=steps: next(c) >= n)
        again = set(session.trained) & set(finished)
        assert not again, "a finished trial ran again"
        for number, row in session.table.rows.items():
            if row["cause"] in ("finished", "pruned", "exploded"):
                finished[number] = row["validation"]
        spent = max(spent, session.ledger.device_seconds)
        if ended:
            break
    last, state = simulate(folder, "16trials", seed=seed)
    assert state["trials"]["total"] == 16 + state["trials"]["infeasible"]
    for number, value in finished.items():
        assert last.table.rows[number]["validation"] == pytest.approx(value, nan_ok=True)
    numbers = [r.number for r in records(last) if r.number is not None]
    assert len(numbers) == len(set(numbers)), "a number twice"
    assert sorted(numbers) == list(range(len(numbers))), "a number lost"


def test_a_resumed_trial_goes_on_from_the_epoch_that_is_known(tmp_path):
    folder = tmp_path / "run"
    first = Simulation(folder, "8trials", slots=1)
    first.go(lambda s: s.trained.get(0) == [1, 2])
    second = Simulation(folder, "8trials", slots=1)
    assert second.core.next().known_epoch == 2


def test_a_running_trial_whose_folder_was_deleted_is_trained_again(tmp_path):
    folder = tmp_path / "run"
    first = Simulation(folder, "8trials")
    first.go(lambda s: len(s.trained) >= 4)
    lost = min(first.core._live)
    shutil.rmtree(folder / "trials" / str(lost))
    second, state = simulate(folder, "8trials")
    assert lost in {ask.number for ask in second.asked}
    assert second.table.rows[lost]["cause"] in ("finished", "pruned", "exploded")
    assert state["trials"]["total"] == 8 and state["trials"]["failed"] == 0


def test_a_larger_budget_goes_on_where_the_smaller_one_ended(tmp_path):
    folder = tmp_path / "run"
    simulate(folder, "10trials")
    more, state = simulate(folder, "25trials")
    assert state["trials"]["total"] == 25
    assert min(ask.number for ask in more.asked) > 9


def test_an_interrupted_search_keeps_its_running_trials_for_a_resume(tmp_path):
    folder = tmp_path / "run"
    first = Simulation(folder, "20trials")
    first.go(lambda s: len(s.trained) >= 6)
    first.core.interrupt()
    state = first.go()
    assert state["stopped"] == "interrupted"
    running = [r for r in records(first) if r.running]
    assert running
    second, state = simulate(folder, "20trials")
    assert {r.number for r in running} <= {ask.number for ask in second.asked}
    assert state["trials"]["total"] == 20


def test_a_stop_asked_from_outside_is_seen(tmp_path):
    simulation = Simulation(tmp_path / "run", "20trials")
    simulation.go(lambda s: len(s.trained) >= 4)
    simulation.run.ask_to_stop()
    assert simulation.go()["stopped"] == "interrupted"


def test_the_same_failure_three_times_stops_the_search(tmp_path):
    def broken(ask, recipe, epoch):
        return {"kind": "failed", "cause": "failed", "error": "Traceback\nTypeError: no"}

    simulation, state = simulate(tmp_path / "run", "50trials", curve=broken)
    assert state["stopped"] == "error"
    assert state["trials"]["failed"] <= 5
    assert "TypeError: no" in state["notes"][0]
    assert not state["finalists"]


def test_out_of_memory_is_the_candidates_and_infeasible_to_the_sampler(tmp_path):
    def hungry(ask, recipe, epoch):
        if "channels: 32" in ask.architecture:
            return {"kind": "failed", "cause": "out_of_memory", "error": "OutOfMemoryError: x"}
        return quadratic(ask, recipe, epoch)

    simulation, state = simulate(tmp_path / "run", "30trials", curve=hungry)
    assert state["stopped"] == "budget"
    assert state["trials"]["out_of_memory"] > 0
    told = [t for t in simulation.studies.study("coarse").trials if "memory" in t.constraints]
    assert told


def test_a_dead_workers_trial_is_retried_then_failed(tmp_path):
    core = Simulation(tmp_path / "run", "5trials", slots=1).core
    for _ in range(3):
        ask = core.next()
        assert ask.number == 0
        core.on_death(0, "the worker died")
    assert core.table.rows[0]["cause"] == "failed"
    assert core.next().number == 1


def test_checkpoints_outside_the_best_are_dropped(tmp_path):
    simulation = Simulation(tmp_path / "run", "30trials", keep=3)
    simulation.go(lambda s: _write_checkpoints(s))
    _, state = simulate(tmp_path / "run", "30trials", keep=3)
    kept = list(simulation.run.path.glob("trials/*/checkpoint.pt"))
    ended = {n for n, row in simulation.table.rows.items() if row["cause"] and n != 0}
    assert len([p for p in kept if int(p.parent.name) in ended]) <= 3


def _write_checkpoints(simulation: Simulation) -> bool:
    for number in simulation.trained:
        row = simulation.table.rows[number]
        if row["cause"] is None and row["stage"] != "final":
            (simulation.run.trial(number) / "checkpoint.pt").touch()
    return len(simulation.trained) > 20


def test_a_budget_that_ends_within_the_first_epoch_says_how_long_one_takes(tmp_path):
    simulation = Simulation(tmp_path / "run", "60s")
    core, clock = simulation.core, simulation.clock
    ask = core.next()
    assert isinstance(ask, Ask) and ask.number == 0
    core.on_start(0)
    clock.now = 30.0
    assert not core.on_report(0, {"kind": "pause", "share": 0.125})
    clock.now = 59.0
    assert core.on_report(0, {"kind": "pause", "share": 0.25})
    assert core.next() is Signal.DONE
    notes = core.finish()["notes"]
    assert any("which takes about 3 min 56 s here" in note for note in notes), notes
    assert not any("networks are those of the search" in note for note in notes)


def test_where_everything_breaks_down_the_search_ends_early(tmp_path):
    def explodes(ask, recipe, epoch):
        return {"stop": "exploded", "violation": 1.0, "epoch": 1, "validation": math.nan}

    simulation = Simulation(tmp_path / "run", "2000trials", curve=explodes)
    state = simulation.go()
    assert state["trials"]["exploded"] in (30, 31)  # the 31st ran already
    assert state["finalists"] == []
    assert any("broke down in their first epoch" in note for note in state["notes"])
    assert any("lower recipe.lr" in note for note in state["notes"])


def test_a_trial_that_the_budgets_end_cut_off_can_be_a_finalist(tmp_path):
    def last_is_best(ask, recipe, epoch):
        return {"epoch": epoch, "validation": 0.5 + 0.01 * ask.number + 0.001 * epoch}

    simulation = Simulation(
        tmp_path / "run", "60s", curve=last_is_best, epoch_seconds=lambda ask: 0.7
    )
    state = simulation.go()
    cut = [row for row in simulation.table.rows.values() if row["cause"] == "budget"]
    cut = [row for row in cut if row["stage"] != "final" and row["epoch"]]
    assert cut and state["finalists"]
    best = max(simulation.table.rows.values(), key=lambda r: (r["stage"] != "final", r["trial"]))
    assert simulation.table.ranked()[0]["validation"] >= max(row["validation"] for row in cut)
    assert best["trial"] in {row["trial"] for row in simulation.table.ranked()}


def test_a_final_training_that_was_cut_off_goes_on_with_a_larger_budget(tmp_path):
    folder = tmp_path / "run"
    text = TEXT.replace("!choice [8, 16, 32]", "8").replace("!int [1, 4]", "2")
    text = text.replace("!log {low: 1e-4, high: 10, default: 0.1}", "0.1")
    text = text.replace("!log {low: 1e-6, high: 1e-2, default: 1e-4}", "0")

    def slower_than_forecast(ask):
        return 3.0 if ask.stage == "final" else 1.0

    def write_checkpoints(s):  # as the worker does
        for row in s.table.rows.values():
            if row["stage"] == "final" and row["epoch"]:
                (folder / "trials" / str(row["trial"]) / "checkpoint.pt").write_bytes(b"state")
        return False

    first = Simulation(folder, "50s", text=text, slots=1, epoch_seconds=slower_than_forecast)
    first.go(write_checkpoints)
    (cut,) = [row for row in first.table.rows.values() if row["cause"] == "budget"]
    assert cut["stage"] == "final" and 0 < cut["epoch"] < cut["epochs"]
    second, state = simulate(folder, "400s", text=text, slots=1)
    after = [row for row in second.table.rows.values() if row["trial"] > cut["trial"]]
    (again,) = [row for row in after if row["seed_index"] == cut["seed_index"]]
    assert again["epochs"] == cut["epochs"] and again["cause"] == "finished"
    assert (folder / "trials" / str(again["trial"]) / "checkpoint.pt").read_bytes() == b"state"
    (entry,) = state["finalists"]
    assert entry["seeds"] == len({row["seed_index"] for row in [cut, *after]})


def test_the_starts_of_sessions_do_not_count_as_searching(tmp_path):
    folder = tmp_path / "run"
    first = Simulation(folder, "200s")
    first.clock.now = 20.0  # what Ray takes to start
    first.go(lambda s: len(s.trained) >= 30)
    first.core.interrupt()
    first.go()
    spent = first.ledger.wall_seconds - 20.0
    second = Simulation(folder, "200s")
    second.clock.now = 30.0
    second.core.next()
    second.core.on_start(second.core.table.next_number() - 1)
    assert second.ledger.starting_seconds == pytest.approx(50.0, abs=0.01)
    assert second.ledger._searching(second.ledger.wall_seconds) == pytest.approx(spent, abs=0.01)


def test_epoch_seconds_survive_a_resume(tmp_path):
    folder = tmp_path / "run"

    def timed(ask, recipe, epoch):
        return {**quadratic(ask, recipe, epoch), "seconds": 0.25}

    first, _ = simulate(folder, "10trials", curve=timed)
    second = Simulation(folder, "20trials", curve=timed)
    for number, row in first.table.rows.items():
        assert second.table.rows[number]["epoch_seconds"] == row["epoch_seconds"]


def test_many_refused_draws_are_told_at_the_end(tmp_path):
    text = TEXT.replace("[8, 16, 32]", "[8, 300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 310]")
    simulation = Simulation(tmp_path / "run", "9trials", text=text.replace("1M", "32k"))
    notes = " ".join(simulation.go()["notes"])
    assert "draws were refused untrained" in notes and "limits.params" in notes


def test_the_table_tells_what_an_open_trial_has_cost_in_the_middle_of_its_first_epoch(tmp_path):
    simulation = Simulation(
        tmp_path / "run", "12trials", slots=1, interval=1.0, epoch_seconds=lambda _: 20.0
    )
    simulation.go(lambda s: s.ledger.device_seconds >= 5)
    simulation.table.save(force=True)
    (row,) = simulation.run.trials()
    assert row["cause"] == "" and row["epoch"] == "0" and 5 <= float(row["device_seconds"]) < 20

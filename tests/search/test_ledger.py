from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.search.ledger import CLOSING_SECONDS, MARGIN, RESERVE_LEAST, SAFETY, FinalCost, Ledger
from nas.units import parse_budget


def ledger(budget: str, *, slots: int = 2, devices: float = 1.0, now: float = 0.0) -> Ledger:
    return Ledger(
        parse_budget(budget), slots=slots, devices_per_trial=devices, clock=lambda: now, started=0.0
    )


def test_fractions_of_a_gpu_are_charged_as_fractions():
    quarter = ledger("1gpu-h", devices=0.25)
    assert quarter.charge(3600) == 900
    assert quarter.device_seconds == 900


def test_whichever_bound_is_reached_first_ends_the_search():
    both = ledger("1gpu-h,10trials")
    both.trials = 10
    assert both.search_over()
    assert not both.time_is_up_for_search(), "a bound on trials lets running ones finish"
    both.trials, both.device_seconds = 1, 3600
    assert both.search_over() and both.time_is_up_for_search() and both.spent()


def test_wall_time_of_earlier_sessions_counts():
    later = Ledger(
        parse_budget("100s"), slots=1, devices_per_trial=1, clock=lambda: 50.0, started=40.0,
        wall_before=30.0,
    )  # fmt: skip
    assert later.wall_seconds == 40


def test_the_time_left_is_that_of_the_trials_to_come_whatever_the_wall_clock_lost():
    """A hang, a resume, a slow start: 3 trials of 40 begun, 2 of them running, 10 minutes gone."""
    book = ledger("40trials", now=600.0)
    book.trials, book.epochs_under_way = 3, 2
    for _ in range(3):
        book.charge(2.0)
    assert book.seconds_left(5.0) == pytest.approx(38 * 3.0 / 2 + 5.0)
    epochs = ledger("100epochs", now=600.0)
    epochs.epochs = 20
    epochs.charge(40.0)
    assert epochs.seconds_left(5.0) == pytest.approx(80 * 1.0)


def test_final_trainings_share_the_slots():
    two = ledger("1000s")
    finals = [FinalCost(100, 10)] * 4
    assert two.fits(finals)  # 200 s on two slots, with margin
    assert not ledger("217s").fits(finals)
    left = 217 - CLOSING_SECONDS
    assert ledger("217s").shrink(finals) == pytest.approx(left / (200 * MARGIN))
    running = [FinalCost(1000, 3)]  # holds its slot to the end; the others share the one beside it
    assert ledger("217s").shrink(finals, running) == pytest.approx(left / (400 * MARGIN))


@given(
    st.lists(st.tuples(st.floats(0.1, 1e5), st.integers(1, 500)), max_size=12),
    st.sampled_from(["10min", "1gpu-h", "500epochs", "10min,1gpu-h,100trials"]),
    st.integers(1, 8),
)
def test_the_reserve_never_takes_more_than_its_share(finals, budget, slots):
    book = ledger(budget, slots=slots)
    book.reserve([FinalCost(seconds, epochs) for seconds, epochs in finals])
    bounds = book.budget
    for name, reach in (("device_seconds", bounds.device_seconds), ("epochs", bounds.epochs)):
        if reach:
            setattr(book, name, type(getattr(book, name))(reach * (1 - RESERVE_LEAST) - 1))
    assert not book.time_is_up_for_search()


@pytest.mark.parametrize(("start", "kept"), [(5.0, CLOSING_SECONDS), (30.0, 6.0)])
def test_a_machine_that_starts_slowly_has_more_time_to_end(start, kept):
    book = ledger("10min", now=start)
    book.begin_search()
    assert book.wall_left == pytest.approx(600 - kept - start)


def test_what_running_trials_take_until_their_next_word_is_not_the_final_training_s():
    book = ledger("1000gpu-h", slots=256)
    book.reserve([FinalCost(300.0, 10)])
    book.device_seconds = 1000 * 3600 - 300 * SAFETY - 1000
    book.under_way(256, [2.0] * 256)
    assert not book.search_over()
    book.under_way(256, [5.0] * 256)
    assert book.search_over() and book.time_is_up_for_search() and not book.spent()


def test_a_busy_machine_s_hand_overs_are_reserved_for_in_wall_clock_alone():
    now = 0.0
    book = Ledger(
        parse_budget("10min,1gpu-h"), slots=2, devices_per_trial=1.0, clock=lambda: now, started=0.0
    )
    book.begin_search()
    now, book.trials = 100.0, 20
    book.charge(2 * 100.0 - 20 * 0.4)  # hand-overs as quick as ever
    finals = [FinalCost(10.0, 12)] * 4
    book.measure_overhead()
    quick = book.shrink(finals)
    book.device_seconds -= 20 * 4.0  # each took 4 s more
    book.measure_overhead()
    assert book.shrink(finals) < 0.75 * quick
    book.reserve(finals)
    assert book.reserved_device_seconds == pytest.approx(40 * SAFETY)

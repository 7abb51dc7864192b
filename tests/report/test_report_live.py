"""The live view, and the lines where there is no terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from nas.report import live
from nas.report.live import LiveView, PlainView, Tail, line_of, picture, watching
from nas.rundir import Status

STATUS = Status(
    stage="coarse", budget="3min", spent_share=0.43, device_seconds=100.0, wall_seconds=77.0,
    seconds_left=95.0, running=((22, "coarse", 3, 5, 0.912), (23, "coarse", 0, 5, None)),
    counts={"total": 19, "finished": 9, "pruned": 8, "exploded": 2, "nan": 0},
    best=(17, 0.9653), reference=0.9444,
)  # fmt: skip


def drawn(thing, width=80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(thing)
    return console.file.getvalue()


def test_a_line_says_it_all():
    line = line_of(STATUS)
    for needed in (
        "coarse: 43 % of 3min", "2 running, 9 finished, 8 pruned, 2 exploded",
        "96.53 % by trial 17", "trial 0 (default) 94.44 %", "1 min 35 s left",
    ):  # fmt: skip
        assert needed in line


def test_the_first_seconds_of_a_search():
    early = replace(
        STATUS, best=None, reference=None, seconds_left=None, running=(), counts={"total": 0}
    )
    assert "none yet" in line_of(early) and "left" not in line_of(early)
    assert "gone" in drawn(picture(early))


def test_picture_fits_and_counts_on_between_looks():
    text = drawn(picture(STATUS, age=5.0))
    assert "1 min 22 s gone" in text and "1 min 30 s left" in text
    assert "#22" in text and "epoch 3/5" in text and "91.20 %" in text
    assert max(map(len, text.splitlines())) <= 80


def test_many_running_trials_do_not_fill_the_screen():
    crowd = replace(STATUS, running=tuple((n, "coarse", 1, 5, 0.5) for n in range(64)))
    text = drawn(picture(crowd))
    assert "and 56 more" in text and len(text.splitlines()) < 20


def test_best_of_trial_0_is_said_once():
    assert line_of(replace(STATUS, best=(0, 0.9444))).count("94.44") == 1


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_on_change_and_not_too_often(clock):
    console = Console(file=io.StringIO(), width=80)
    view = PlainView(console)
    lines = lambda: len(console.file.getvalue().splitlines())  # noqa: E731
    view(STATUS)
    assert lines() == 1
    clock[0] += live.LINE_SECONDS + 1
    view(STATUS)
    assert lines() == 1, "nothing changed"
    view(replace(STATUS, stage="fine-1"))
    assert lines() == 2
    view(replace(STATUS, stage="final"))
    assert lines() == 2, "too soon"


def test_verbose_lines_show_running_trials_and_the_log(clock, tmp_path: Path):
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    console = Console(file=io.StringIO(), width=80)
    with watching(console, log, verbose=True) as view:
        log.write_text("before\nstage coarse begins [x]\nhalf a li")
        view(STATUS)
    text = console.file.getvalue()
    assert "stage coarse begins [x]" in text and "before" not in text and "half" not in text
    assert "trial 22: epoch 3 of 5, 91.20 %" in text


def test_quiet_has_no_view(tmp_path: Path):
    with watching(Console(), tmp_path / "log.txt", quiet=True) as view:
        assert view is None


def test_live_view_on_a_terminal(tmp_path: Path):
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with watching(console, tmp_path / "log.txt") as view:
        assert isinstance(view, LiveView)
        first = drawn(view._render())
        view(STATUS)
        second = drawn(view._render())
    assert "starting the workers" in first and "trial 17" in second


def test_tail_gives_whole_lines_once(tmp_path: Path):
    file = tmp_path / "log.txt"
    file.write_text("old\n")
    tail = Tail(file)
    with file.open("a") as log:
        log.write("one\ntwo\nthr")
    assert tail.lines() == ["one", "two"]
    with file.open("a") as log:
        log.write("ee\n")
    assert tail.lines() == ["three"] and tail.lines() == []

"""What people read: nothing cut off, nothing missing, at common widths."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from nas.report.describe import show_holes, show_network
from nas.report.evaluation import show_evaluation
from nas.report.overview import many, run_row, show_plan, show_runs, show_spaces
from nas.report.summary import summary
from nas.report.survey import bars, show_check, show_survey
from nas.report.tables import budget, next_commands, show_result, show_summary

from .conftest import RESULTS, ended, finalist


@pytest.fixture
def screen(request):
    width = getattr(request, "param", 80)
    return Console(width=width, file=io.StringIO(), record=True, highlight=False)


@pytest.mark.parametrize("screen", [80, 100], indirect=True)
def test_summary_of_a_finished_run(make_run, screen):
    show_summary(screen, summary(make_run(ended(results=RESULTS))))
    text = screen.export_text()
    for needed in (
        "finished, its budget is spent", "96.53 % ± 0.42 (3)", "97.22 %", "0 (default)", "23.2k",
        "353k", "31 s", "Trials: 9", "1  exploded", "0.001 … 1", "0.01 … 0.4", "0.1 … 0.2",
        "Budget 3min", "2 min 59 s", "best.yaml",
    ):  # fmt: skip
        assert needed in text, needed
    tables = [line for line in text.splitlines() if "nas " not in line]
    assert max(map(len, tables)) <= screen.width
    assert not re.search(r"\w…", text.replace("IMAGE…", "")), "a word was cut off"


def test_commands_are_never_broken_over_lines(make_run, screen):
    found = summary(make_run(ended(results=RESULTS)))
    show_summary(screen, found)
    lines = [line.strip() for line in screen.export_text().splitlines()]
    for command, _ in next_commands(found):
        assert command in lines


def test_paths_with_spaces_are_quoted(make_run):
    found = summary(make_run(ended(results=RESULTS), name="my run", data="/data/my set"))
    commands = [command for command, _ in next_commands(found)]
    assert any("'/data/my set'" in command for command in commands)
    assert all("my run" not in command or "'" in command for command in commands)


def test_next_command_fits_the_state(make_run):
    def commands(state):
        found = summary(make_run(state, name=f"r{len(state or {})}{(state or {}).get('stopped')}"))
        return " ".join(command for command, _ in next_commands(found))

    assert "--budget" in commands(ended(results=RESULTS))
    interrupted = commands(ended(stopped="interrupted", ended=False))
    assert "--resume" in interrupted and "--budget" not in interrupted
    assert "predict" not in interrupted


@pytest.mark.parametrize(
    ("rooms", "words"),
    [
        (None, "over 2 trials at once"),
        ([2], "over 2 trials at once"),
        ([2, 1], "over 2 trials at once (later 1),"),
        ([1], "over 1 trial at once"),
        ([4, 3, 2, 1, 4, 3], "over 4 trials at once (later 3, 2, 1, …),"),
    ],
)
def test_how_many_trials_ran_at_once_is_what_it_was(make_run, rooms, words):
    state = ended(results=RESULTS)
    state["budget"] = {**state["budget"], "trials_at_once": rooms}
    assert words in budget(summary(make_run(state))).plain


def test_a_run_in_which_nothing_survived(make_run, screen):
    note = "nothing survived (3 exploded); lower the upper end of recipe.lr"
    found = summary(make_run(ended(finalists=[], notes=[note])))
    show_summary(screen, found)
    text = " ".join(screen.export_text(clear=False).split())
    assert note in text and "nothing survived  (" not in text and "Finalists" not in text
    show_result(screen, found)
    assert note in " ".join(screen.export_text().split())


def test_interrupted_before_the_final_training(make_run, screen):
    entries = [finalist(2, 0.9, final=False, complete=False, seeds=1)]
    state = ended(stopped="interrupted", ended=False, finalists=entries)
    show_summary(screen, summary(make_run(state)))
    text = screen.export_text()
    assert "Best so far  no final training yet" in text and "±" not in text.splitlines()[3]


@pytest.mark.parametrize("screen", [100], indirect=True)
def test_lists(make_run, screen):
    run = make_run(ended(results=RESULTS), name="2026-11-21-resnet_cells-12")
    show_runs(screen, [run_row(run)])
    space = {"name": "tiny", "about": "Small. " * 20, "architectures": 18, "params": [1440, 93546],
             "macs": 7}  # fmt: skip
    show_spaces(screen, "Spaces", [space])
    text = screen.export_text()
    for needed in ("2026-11-21-resnet_cells-12", "finished", "96.53 %", "1.44k … 93.5k"):
        assert needed in text
    assert max(map(len, text.splitlines())) <= 100


def test_counts_of_architectures():
    assert (many(18), many(None)) == ("18", "a continuum of")
    assert many(12_288) == "12,288" and many(10**18) == "1e+18"


def test_plan(screen):
    plan = {
        "space": "tiny", "file": "/s/tiny.yaml", "architectures": 18, "holes": 5,
        "limits": {"params": 5e5}, "data": "digits: 1,293 train",
        "default": {"params": 5178, "macs": 83264, "memory_bytes": 2 * 2**20}, "device": "cpu",
        "drawn": {"number": 200, "fitting": 150, "mean_macs": 3.4e5, "most_memory_bytes": 2**23},
        "pilot": [{"memory_bytes": 3 * 2**20}], "trials_at_once": 2, "gpus_per_trial": 0.0,
        "budget": "1gpu-h", "epoch_seconds": 0.2, "trials": 1100, "wall_seconds": 60.0,
        "starting_seconds": 7.0, "auto": ["trials_at_once"],
        "stages": [{"name": "coarse", "epochs": 2, "trials": 1000},
                   {"name": "fine-1", "epochs": 1, "trials": 100}],
        "final": {"trainings": 12, "candidates": 4, "seeds": 3, "epochs": 12, "seconds": 9.0,
                  "shortened": False},
    }  # fmt: skip
    show_plan(screen, plan)
    text = " ".join(screen.export_text().split())
    for needed in (
        "18 architectures", "params 500k", "5.18k", "about 1,100 trials", "one trial slot",
        "coarse 1,000 of up to 2 epochs", "fine-1 100 of up to 1 epoch",
        "12 trainings (4 networks, up to 3 seeds) of 12 epochs", "2.0 MiB (3.0 MiB measured)",
        "150 of 200 plain draws", "1 min of wall clock, 7.0 s of it before the first trial",
        "what auto measures", "the default's tensors",
    ):  # fmt: skip
        assert needed in text


NETWORK = {
    "name": "resnet50", "input": {"size": [224, 224], "channels": 3, "classes": 1000},
    "params": 25_557_032, "macs": 4_089_184_256, "activations": 11_113_984, "batch": 32,
    "memory_bytes": {"parameters": 102_228_128, "forward": 12_000_000, "training": 400_000_000,
                     "batch": 3_500_000_000},
    "receptive_field": [483, 427], "weight_layers": 50,
    "rows": [{
        "name": "stage1", "op": "bottleneck", "shape": [256, 56, 56], "params": 215_808,
        "macs": 680_000_000, "activations": 3_000_000, "forward_bytes": 9_633_792,
        "receptive_field": [35, 35], "jump": [4, 2],
    }],
    "share": {"conv1x1": {"params": 0.7459, "macs": 0.94861}},
    "largest": {
        "params": {"name": "fc", "params": 2_049_000},
        "macs": {"name": "stem", "macs": 118_013_952},
        "forward_bytes": {"name": "stem", "forward_bytes": 3_211_264},
    },
}  # fmt: skip


def test_describe(screen):
    show_network(screen, NETWORK)
    show_holes(screen, [{"name": "recipe.lr", "domain": "a number", "default": 0.1}])
    text = screen.export_text()
    for needed in (
        "256x56x56", "216k", "680M", "9.2 MiB", "4x2", "total", "recipe.lr", "50 weight layers",
        "483x427 pixels", "94.86 %", "74.59 %", "25,557,032", "on 224x224x3, 1000 classes",
    ):  # fmt: skip
        assert needed in text
    # 31 images more take 3.1 GB more: the rest of one image's training is by the parameters
    assert "train on 32 images: 3.0 GiB of activations" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


SURVEY = {
    "name": "mine", "about": "Of one's own.", "file": "/s/mine.yaml",
    "input": {"size": [28, 28], "channels": 1, "classes": 10}, "architectures": None,
    "holes": [{"name": "network.a.channels", "domain": "one of 8, 16", "default": 8},
              {"name": "recipe.lr", "domain": "a number", "default": 0.1}],
    "limits": {"params": 5e6, "memory": 4e9}, "draws": 2000, "seed": 3, "builds": 0.9985,
    "within_limits": 0.4, "misfits": [{"where": "mine.yaml:4", "message": "row 'b': too small",
                                       "share": 0.0015, "by_rule": False},
                                      {"where": "mine.yaml:9", "message": "scaling: 2.5",
                                       "share": 0.5, "by_rule": True}],
    "distribution": {
        key: {"quantiles": [{"share": s, "value": 10**9 * (1 + s)} for s in (0, 0.05, 0.5, 1)],
              "histogram": [0, 1, 500, 1000]}
        for key in ("params", "macs", "memory")
    },
    "default": {"params": 812, "macs": 9000, "memory": 1, "resolution": [28, 28],
                "decisions": {"network.a.channels": 8, "recipe.lr": 0.1}},
    "smallest": {"params": 700, "macs": 9000, "memory": 1, "resolution": [28, 28],
                 "decisions": {"recipe.lr": 0.1}},
    "largest": None,
}  # fmt: skip


def test_survey(screen):
    show_survey(screen, SURVEY)
    text = screen.export_text()
    for needed in (
        "a continuum of architectures, 2 holes", "28x28x1, 10 classes", "99.85 % of 2,000 draws",
        "(seed 3)", "0.15 % do not: mine.yaml:4: row 'b': too small", "40 % of the draws",
        "50 % are refused by the file's growth: mine.yaml:9: scaling: 2.5",
        "memory 4G",
        "median", "1.5G", "1.4 GiB", " ▁▄█", "812", "700", "–",
    ):  # fmt: skip
        assert needed in text, needed
    assert "largest" not in text.replace("the largest draw", "")
    assert max(map(len, text.splitlines())) <= 80


def test_survey_of_a_space_that_does_not_build(screen):
    nothing = {key: {"quantiles": [], "histogram": []} for key in SURVEY["distribution"]}
    show_survey(
        screen,
        {**SURVEY, "distribution": nothing, "smallest": None, "default": None, "limits": {},
         "builds": 0.0, "within_limits": 0.0},
    )  # fmt: skip
    text = screen.export_text()
    assert "0 % of 2,000 draws" in text and "none stated" in text and "median" not in text


def test_bars():
    assert bars([0, 1, 1000, 8000]) == " ▁▁█"
    assert bars([0, 0]) == "  " and bars([]) == ""


def test_check(screen):
    finding = {"level": "error", "where": "/s/mine.yaml:7", "message": "too tight " + "x" * 90}
    found = {"file": "/s/mine.yaml", "input": SURVEY["input"], "holes": 2, "draws": 2000,
             "findings": [finding]}  # fmt: skip
    show_check(screen, found)
    show_check(screen, {**found, "findings": [{**finding, "level": "info", "message": "so"}]})
    first, told, second = screen.export_text().splitlines()
    assert told == "/s/mine.yaml:7: info: so"
    assert first == f"/s/mine.yaml:7: error: too tight {'x' * 90}"
    assert second == (
        "/s/mine.yaml: nothing is wrong (2,000 draws of 2 holes on 28x28x1, 10 classes)"
    )


def _evaluation(names):
    n = len(names)
    confusion = [[9 if true == called else 0 for called in range(n)] for true in range(n)]
    confusion[1][0] = 4
    return {
        "accuracy": 0.9, "images": 9 * n + 4, "data": "digits", "classes": names,
        "per_class": dict.fromkeys(names, 1.0) | {names[1]: None}, "confusion": confusion,
    }  # fmt: skip


def test_evaluation(screen):
    show_evaluation(screen, _evaluation(["Sandal", "Sandbag", "Coat"]))
    text = screen.export_text()
    assert "90.00 %" in text and "Sanda" in text and "Sandb" in text and "–" in text


def test_evaluation_of_many_classes_shows_the_worst(screen):
    show_evaluation(screen, _evaluation([f"class {k}" for k in range(100)]))
    text = screen.export_text()
    assert re.search(r"4 +class 1 +class 0", text)

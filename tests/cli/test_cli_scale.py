"""`nas scale`: EfficientNet's procedure in figures, its files, and a grid that is trained."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from types import SimpleNamespace

import pandas
import pytest

import nas as toolkit
from nas.api.scaling import trained
from nas.units import show_amount

GOLDEN = Path(__file__).parents[1] / "golden" / "reference_models.csv"
SMALL = """\
name: small
input: {size: 8, channels: 1, classes: 10}
network:
  - {name: stem, op: conv, channels: 16}
  - {name: body, op: mbconv, channels: 16, expansion: 2, repeat: 1} # one unit
  - {op: global_pool}
  - {op: linear}
recipe: {lr: 0.1, epochs: 6, batch_size: 64}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


def test_the_published_networks_come_out(nas):
    found = nas("scale", "efficientnet_b0", "--dry-run", "--json").json
    rows = csv.DictReader(GOLDEN.read_text().splitlines())
    published = {row["file"]: int(row["params"]) for row in rows}
    eight = [published[f"efficientnet_b{number}"] for number in range(8)]
    assert [row["params"] for row in found["sizes"]] == eight
    assert [row["params"] for row in found["ratios"][:3]] == [eight[0], eight[2], eight[3]]
    assert found["sizes"][2]["resolution"] == [260, 260]
    assert found["ratios"][2]["resolution"] == [296, 296]
    assert all(1.9 <= row["product"] <= 2.1 for row in found["grid"])
    assert all(row["macs"] <= found["macs"] for row in found["grid"])
    assert {(1.2, 1.1, 1.15)} <= {(r["alpha"], r["beta"], r["gamma"]) for r in found["grid"]}


def test_known_ratios_write_files_that_are_what_the_table_says(nas, small, tmp_path):
    words = ("--ratios", "1.2,1.1,1.15", "--phi", "3", "--out", tmp_path / "out", "--json")
    told = nas("scale", small, *words)
    assert told.code == 0, told.err
    assert [row["phi"] for row in told.json["files"]] == [1, 2, 3]
    for row in told.json["files"]:
        described = nas("describe", row["file"], "--json").json
        assert (described["params"], described["macs"]) == (row["params"], row["macs"])
        assert described["input"]["size"] == row["resolution"]
        loaded = toolkit.load(row["file"])
        assert loaded.name == f"small_phi{row['phi']}"
        assert loaded.scaling == {"phi": row["phi"], "alpha": 1.2, "beta": 1.1, "gamma": 1.15}
        assert "# one unit" in loaded.text


def test_the_grid_is_trained_and_the_best_point_written(nas, small, tmp_path):
    words = ("scale", small, "--data", "digits", "--phi", "1", "--out", tmp_path / "out", "--json")
    told = nas(*words, "--budget", "3trials")
    assert told.code == 0, told.err
    best, rows = told.json["trained"][0], told.json["trained"]
    assert rows == sorted(rows, key=lambda row: (-row["epochs"], -row["validation"], row["macs"]))
    point = {key: best[key] for key in ("alpha", "beta", "gamma")}
    assert toolkit.load(told.json["files"][0]["file"]).scaling == {"phi": 1, **point}
    grid = len(told.json["grid"])
    assert len(rows) == 3 and len(told.json["untrained"]) == grid - 3
    assert best["runs"] > 1, "a finalist: one training for each seed"
    exported = toolkit.load(tmp_path / "out" / "grid" / "best.yaml")
    side = round(8 * best["gamma"])
    resizes = [row["size"] for row in exported.network if row["op"] == "resize"]
    assert resizes == ([[side, side]] if side != 8 else [])
    assert f"trained 3 of {grid} points; not " in " ".join(told.err.split())
    again = nas(*words, "--budget", "3trials")  # finished: nothing is trained again
    assert again.code == 0 and again.json["trained"] == rows


@pytest.mark.slow
def test_a_larger_budget_trains_the_rest_of_the_grid(nas, small, tmp_path):
    words = ("scale", small, "--data", "digits", "--phi", "1", "--out", tmp_path / "out", "--json")
    grid = len(nas(*words, "--budget", "3trials").json["grid"])
    whole = nas(*words, "--budget", f"{grid}trials")  # goes on
    assert len(whole.json["trained"]) == grid and whole.json["untrained"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lenet5_modern", "--dry-run"), "has no row with a repeat"),
        (("efficientnet_b1", "--dry-run"), "has a scaling of its own"),
        (("resnet_cells", "--dry-run"), "an architecture without holes is wanted"),
        (("efficientnet_b0", "--macs", "300M", "--dry-run"), "is no more than the 386M"),
        (("efficientnet_b0", "--macs", "401M", "--dry-run"), "no point of the grid fits"),
        (("efficientnet_b0", "--macs", "much", "--dry-run"), "--macs much"),
        (("efficientnet_b0", "--ratios", "1.2,1.1"), "must be alpha,beta,gamma"),
        (("efficientnet_b0", "--ratios", "2,2,2"), "is 32, and must be 2 ± 0.1"),
        (("efficientnet_b0",), "give --data and --budget"),
    ],
)
def test_what_cannot_be_scaled_is_said(nas, words, message):
    told = nas("scale", *words)
    assert told.code == 2 and message in told.err, told.err
    assert "Traceback" not in told.err


DENSE = """\
name: dense
input: {size: 8, channels: 1, classes: 10}
network:
  - {name: stem, op: conv, channels: 24}
  - {name: block, op: dense_block, layers: 2, growth: 12}
  - {name: mixed, op: conv, channels: 48, groups: 16}
  - {name: deep, op: conv, channels: 48, repeat: REPEAT}
  - {op: global_pool}
  - {op: linear}
"""


def test_what_cannot_be_built_is_named_and_the_others_go_on(nas, tmp_path):
    file = tmp_path / "dense.yaml"
    file.write_text(DENSE.replace("REPEAT", "500"))
    told = nas("scale", file, "--dry-run", "--json")
    assert told.code == 0, told.err
    whole, unfit = told.json["grid"], told.json["unfit"]
    assert whole and {row["beta"] for row in unfit["grid"]} == {1.0}, "where no width can follow"
    for row in unfit["grid"]:
        assert "dense.yaml:6: row 'mixed' (conv): groups 16 must divide its 60" in row["reason"]
        assert f"(scaling: {{depth: {row['alpha']:g}, width: 1}})" in row["reason"]
    assert [row["phi"] for row in told.json["ratios"]] == [0, 1, 2, 3]
    assert [row["phi"] for row in unfit["ratios"]] == [4, 5, 6, 7]
    assert all("dense.yaml:7: row 'deep'" in row["reason"] for row in unfit["ratios"])
    assert "alpha 1.2, beta 1, gamma 1.3 cannot be built: " in " ".join(told.err.split())


def test_the_phis_that_can_be_built_are_written(nas, tmp_path):
    file = tmp_path / "dense.yaml"
    file.write_text(DENSE.replace("REPEAT", "500"))
    words = ("scale", file, "--ratios", "1.2,1.1,1.15", "--out", tmp_path / "out", "--json")
    told = nas(*words)
    assert told.code == 0, told.err
    assert [row["phi"] for row in told.json["files"]] == [1, 2, 3]
    assert [row["phi"] for row in told.json["unfit"]["files"]] == [4, 5, 6, 7]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        f"dense_phi{phi}.yaml" for phi in (1, 2, 3)
    ]


def test_a_grid_without_any_point_names_the_first(nas, tmp_path):
    file = tmp_path / "dense.yaml"
    text = DENSE.replace("REPEAT", "1000").replace("24}", "2}")
    text = text.replace("48, groups: 16", "3, connections: [[0], [1], [0, 1]]")
    block = "  - {name: block, op: dense_block, layers: 2, growth: 12}\n"
    file.write_text(text.replace(block, ""))
    told = nas("scale", file, "--dry-run")
    assert told.code == 2, told.out
    said = " ".join(told.err.split())
    assert "no point of the grid can be built; alpha 1, beta 1.1, gamma 1.3: " in said
    assert "row 'mixed' (conv): connections has 3 lists" in said


def test_each_figure_says_of_how_many_runs_it_is_the_mean():
    point = {"scaling.alpha": 1.2, "scaling.beta": 1.1, "scaling.gamma": 1.15, "macs": 7}
    other = {**point, "scaling.alpha": 1.3}
    told = [
        {**point, "epoch": 3, "validation": 0.4}, {**point, "epoch": 6, "validation": 0.5},
        {**point, "epoch": 6, "validation": 0.7}, {**other, "epoch": 3, "validation": 0.9},
        {**other, "epoch": 0, "validation": math.nan},
    ]  # fmt: skip
    rows = trained(SimpleNamespace(trials=pandas.DataFrame(told)))
    assert [(row["runs"], row["epochs"], row["validation"]) for row in rows] == [
        (2, 6, pytest.approx(0.6)), (1, 3, 0.9)
    ]  # fmt: skip


def test_amounts_are_rounded_before_their_unit_is_chosen():
    numbers = (999, 999.6, 1000, 999_499, 999_500, 1_000_000, 5_288_548, 999_999_999, 2e12)
    shown = ["999", "1k", "1k", "999k", "1M", "1M", "5.29M", "1G", "2000G"]
    assert [show_amount(number) for number in numbers] == shown

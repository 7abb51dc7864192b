"""Operators of a user's own: one file, no cost needed, and clear words where it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.errors import ShapeError, SpaceError, UserError
from nas.models import build, cost
from nas.models.measured import measured_cost
from nas.models.operators import OPERATORS, Operator
from nas.models.recording import record
from nas.models.tally import Tally
from nas.plugins import load_plugins
from nas.registry import REQUIRED
from nas.space import parse

from ..contracts.test_operators import LISTS

CELL = '''
from __future__ import annotations

import torch
from torch import nn
from typing import Literal

from nas.models import operator


@operator("{name}")
class Cell(nn.Module):
    """Two branches, added; a cell that no library has."""

    def __init__(self, in_channels: int, channels: int, kernel: int = 3, stride: int = 1,
                 mode: Literal["mean", "max"] = "mean"):
        super().__init__()
        self.a = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=False)
        self.b = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1, stride), nn.BatchNorm2d(channels), nn.ReLU())
        self.mode = mode

    def forward(self, x):
        if {refuse}:
            raise ValueError("a height of 7 is too odd for me")
        return torch.relu(self.a(x) + self.b(x))
'''


def cell(folder: Path, name: str, refuse: str = "False") -> Path:
    path = folder / f"{name}.py"
    path.write_text(CELL.format(name=name, refuse=refuse))
    return path


def network(op: str, **settings: Any) -> Any:
    row = {"name": "own", "op": op, "channels": 12, **settings}
    rows = [{"op": "conv", "channels": 6}, row, {"op": "global_pool"}, {"op": "linear"}]
    return parse(json.dumps({"network": rows}), path="own.yaml")


def test_an_operator_without_cost_is_built_and_measured(tmp_path: Path) -> None:
    load_plugins([cell(tmp_path, "own_cell")])
    for settings in ({}, {"kernel": 5, "stride": 2}):
        architecture = network("own_cell", **settings)
        price = cost(architecture, classes=5, channels=3, size=16)
        model = build(architecture, classes=5, channels=3, size=16)
        assert price.params == sum(p.numel() for p in model.parameters())
    own = price.rows[1]
    assert own.shape == (12, 8, 8)
    assert own.macs == (25 + 1) * 6 * 12 * 64
    assert own.activations == 2 * 12 * 64
    assert own.receptive_field == (7, 7)  # 3 of the convolution before, 4 more
    assert own.jump == (2, 2)


def test_the_layers_of_one_without_cost_are_told_one_by_one(tmp_path: Path) -> None:
    load_plugins([cell(tmp_path, "own_layered")])
    found = record(network("own_layered"), classes=5, channels=3, size=16)
    assert found.weight_layers == 3  # the stem, either branch, the classifier
    named = {layer.name: layer for layer in found.layers}
    assert named["own.conv3x3"].weights == 9 * 6 * 12
    assert named["own.conv1x1"].params == 6 * 12 + 12
    assert set(found.share()) == {"conv3x3", "conv1x1", "linear"}
    assert sum(layer.params for layer in found.layers) == found.price.params


SHARING = """
import torch
from torch import nn
from torch.nn import functional as F
from nas.models import operator


@operator("{name}")
class Cell(nn.Module):
    def __init__(self, in_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(in_channels)
        self.one, self.other = nn.Linear(in_channels, in_channels), nn.Linear(in_channels, 12)
        self.both = nn.Parameter(torch.ones(2 * in_channels, in_channels, 1, 1))

    def forward(self, x):
        return {forward}
"""
FLAT = "x.flatten(2).transpose(1, 2)"


@pytest.mark.parametrize(
    ("forward", "layers"),
    [
        # kind, weights, whole parameters, multiply-adds a place
        (
            "self.conv(self.conv(x))",
            [("conv3x3", 1296, 1296), ("conv3x3", 0, 1296)],
        ),
        (
            "self.other(self.one(self.one(x.movedim(1, -1)))).movedim(-1, 1)",
            [("linear", 144, 144), ("linear", 0, 144), ("linear", 144, 144)],
        ),
        (
            "F.conv2d(x, self.both[:12]) * F.conv2d(x, self.both[12:])",
            [("conv1x1", 144, 144), ("conv1x1", 144, 144)],
        ),
        (
            "F.conv2d(x, self.conv.weight / self.conv.weight.norm(), self.conv.bias, padding=1)",
            [("conv3x3", 1296, 1296)],
        ),
        (
            f"(torch.softmax({FLAT} @ x.flatten(2), -1) @ {FLAT}).transpose(1, 2).view(x.shape)",
            [("product", 0, 256 * 12), ("product", 0, 256 * 12)],
        ),
    ],
)
def test_each_weight_is_one_layers_and_all_add_up(
    tmp_path: Path, forward: str, layers: list[tuple[str, int, int]]
) -> None:
    path = tmp_path / f"own_sharing_{len(forward)}.py"
    path.write_text(SHARING.format(name=path.stem, forward=forward))
    load_plugins([path])
    rows = [{"op": "conv", "channels": 12}, {"name": "own", "op": path.stem}]
    file = parse(json.dumps({"network": [*rows, {"op": "global_pool"}, {"op": "linear"}]}))
    found = record(file, classes=5, channels=3, size=16)
    for total in ("params", "macs", "activations"):
        assert getattr(found.price, total) == sum(getattr(layer, total) for layer in found.layers)
    own = [each for each in found.layers if each.name.startswith("own.") or each.name == "own"]
    assert [(each.kind, each.weights, each.macs // 256) for each in own if each.macs] == layers
    depth = sum(kind != "product" for kind, *_ in layers)
    assert found.weight_layers == 2 + (1 if "both" in forward else depth)


def test_its_settings_are_checked_like_any_other(tmp_path: Path) -> None:
    load_plugins([cell(tmp_path, "own_checked")])
    with pytest.raises(
        SpaceError, match=r"own\.yaml:1: .*mode is 'mode', which must be one of mean"
    ):
        network("own_checked", mode="mode")


def test_a_forward_that_fails_is_a_misfit_of_that_shape(tmp_path: Path) -> None:
    load_plugins([cell(tmp_path, "own_fussy", "x.shape[2] == 7")])
    architecture = network("own_fussy")
    assert cost(architecture, classes=5, channels=3, size=8).params
    with pytest.raises(ShapeError, match=r"row 'own' \(own_fussy\): it fails on an input of 6x7x7"):
        cost(architecture, classes=5, channels=3, size=7)


def test_lazy_layers_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = cell(tmp_path, "own_lazy")
    path.write_text(
        path.read_text().replace("nn.Conv2d(in_channels, channels, k", "nn.LazyConv2d(channels, k")
    )
    load_plugins([path])
    with pytest.raises(ShapeError, match=r"\(own_lazy\): it has lazy layers, .* take in_channels"):
        cost(network("own_lazy"), classes=5, channels=3, size=16)


STATED = """
from torch import nn

from nas.models import operator


@operator("{name}")
class Stated(nn.Module):
    def __init__(self, in_channels: int, channels: int = 8):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x)

    @staticmethod
    def cost(tally, channels):
        tally.conv(channels, {cost})
"""


def test_a_cost_that_its_module_does_not_bear_out_is_refused(tmp_path: Path) -> None:
    for name, words in (
        ("3, bias=True", None),
        ("3", "states 648 parameters and an output of 12x16x16, but its module has 660"),
        (
            "3, 2, bias=True",
            "an output of 12x8x8, but its module has 660 and 12x16x16: mend `cost`",
        ),
    ):
        path = tmp_path / f"own_stated{len(name)}.py"
        path.write_text(STATED.format(name=path.stem, cost=name))
        load_plugins([path])
        architecture = network(path.stem)
        if words is None:
            assert cost(architecture, classes=5, channels=3, size=16).rows[1].params == 660
        else:
            with pytest.raises(ShapeError, match=words):
                cost(architecture, classes=5, channels=3, size=16)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("macs = 'many'", "macs at 'many'"),
        ("macs += 0.5", r"macs at \d+\.5, where it was \d+ before"),
        ("macs -= 10**9", r"macs at -\d+, where it was \d+ before: .* whole numbers of at least 0"),
        ("kept = -1", r"kept at -1, where it was \d+"),
        ("activations = True", "activations at True"),
        ("view_h = 0", "view_h at 0: it is a whole number of at least 1"),
        ("jump_w = 0.5", "jump_w at 0.5: it is a whole number of at least 1"),
    ],
)
def test_a_cost_leaves_whole_numbers(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "own_figures.py"
    text = STATED.format(name=f"own_figures_{sum(map(ord, line))}", cost="3, bias=True")
    path.write_text(text + f"        tally.{line}\n")
    load_plugins([path])
    architecture = network(f"own_figures_{sum(map(ord, line))}")
    for asked in (cost, record):  # by its values, and by its layers
        with pytest.raises(ShapeError, match=rf"its cost \(.*own_figures\.py:16\) leaves {words}"):
            asked(architecture, classes=5, channels=3, size=16)


def test_a_cost_that_fails_is_not_blamed_on_the_module(tmp_path: Path) -> None:
    path = tmp_path / "own_failing.py"
    path.write_text(STATED.format(name="own_failing", cost="3 / 0"))
    load_plugins([path])
    for asked in (cost, record):
        with pytest.raises(ShapeError, match=r"its cost fails on an input of 6x16x16: ZeroDiv"):
            asked(network("own_failing"), classes=5, channels=3, size=16)


def test_a_setting_without_annotation_is_told_so(tmp_path: Path) -> None:
    path = cell(tmp_path, "own_untold")
    path.write_text(path.read_text().replace("kernel: int = 3", "kernel=3"))
    with pytest.raises(UserError, match=r"Cell\.kernel has no annotation: .* such as kernel: int"):
        load_plugins([path])


def test_the_same_text_is_loaded_once_and_a_taken_name_refused(tmp_path: Path) -> None:
    path = cell(tmp_path, "own_twice")
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "own_twice.py"
    copy.write_text(path.read_text())
    load_plugins([path, path, copy])
    path.write_text(path.read_text() + "# edited\n")
    with pytest.raises(UserError, match="'own_twice' is registered twice"):
        load_plugins([path])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:", r"bad\.py:1: the plug-in fails with SyntaxError"),
        ("a = 1\nb = a / 0\n", r"bad\.py:2: the plug-in fails with ZeroDivisionError"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=words):
        load_plugins([path])


def test_an_installed_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    cell(tmp_path, "installed_cell")
    info = tmp_path / "installed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nas.operators]\ncells = installed_cell\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from nas.registry import SIGNATURES; print(SIGNATURES.get('installed_cell').about)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "Two branches, added; a cell that no library has.", done.stderr


MEASURABLE = [
    pytest.param(op, id=name)
    for name, op in OPERATORS.items()
    if not op.composite and not name.startswith("own_")
]


@pytest.mark.parametrize("op", MEASURABLE)
def test_a_measurement_agrees_with_the_arithmetic(op: Operator) -> None:
    needed = {"channels": 16, "classes": 10}  # 16: a pool may pass the input's 8 on
    chosen: dict[str, Any] = {
        key: needed.get(key, 8) if default is REQUIRED else default
        for key, default in op.defaults.items()
    }
    chosen.update({key: LISTS[key][-1] for key in LISTS if chosen.get(key) == 8})
    counted, measured = Tally(8, 12, 12), Tally(8, 12, 12)
    if op.name in ("linear", "rbf", "dropconnect"):  # they take vectors
        counted, measured = Tally(8, 1, 1), Tally(8, 1, 1)
        chosen["channels"] = 10
    op.cost(counted, **chosen)
    if op.name == "dropconnect":
        counted.buffers = 0  # its draw of a batch, which no module holds
    context = tuple(name for name in op.context if name != "out_channels")
    if op.make is not op.module:  # a gate that is put behind it
        chosen.pop("se")
    measured_cost(op.module, context)(measured, **chosen)
    for name in ("channels", "height", "width", "params", "buffers", "macs", "activations"):
        assert getattr(measured, name) == getattr(counted, name), name
    assert (measured.jump_h, measured.jump_w) == (counted.jump_h, counted.jump_w)


def test_its_channels_may_be_relative(tmp_path: Path) -> None:
    load_plugins([cell(tmp_path, "own_relative")])
    architecture = network("own_relative", channels="x2")
    assert cost(architecture, classes=5, channels=3, size=16).rows[1].shape == (12, 16, 16)

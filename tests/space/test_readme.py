"""The page on the grammar says what the code does."""
# ruff: noqa: E501  (files and messages are compared whole, one to a line)

import re

from nas.registry import SIGNATURES
from nas.space import Space, fill, match, parse, shipped

PAGE = (shipped() / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]


def test_the_example_is_a_space():
    space = parse(EXAMPLE)
    assert isinstance(space, Space)
    assert match(space, fill(space, space.default())) == space.default()


def test_the_names_of_holes_are_those_of_the_page():
    space = parse(
        "network:\n"
        "  - {name: stage1, op: !choice [residual, {bottleneck: {expansion: !choice [4, 2]}}], channels: 8}\n"
        "  - {name: a, op: conv, channels: 8, kernel: !choice [3, {wide: !int [5, 7, 2]}]}\n"
        "  - {name: b, op: conv, channels: 8, kernel: [1, !choice [3, 5]]}\n"
        "  - {name: cell, branches: [[{op: conv, channels: !choice [8, 16]}]], join: add}\n"
        "  - {name: more, rows: [{op: conv, channels: !choice [8, 16]}]}\n"
        "  - {name: stage2, op: conv, channels: 8, kernel: !choice [1, 3], repeat: 2, untied: true}\n"
        "recipe: {lr: !log [1e-3, 1], optimizer: !choice [{sgd: {momentum: !float [0, 0.9]}}, adamw]}\n"
    )
    assert [hole.name for hole in space.holes] == [
        "network.stage1.op",
        "network.stage1.bottleneck.expansion",
        "network.a.kernel",
        "network.a.kernel.wide",
        "network.b.kernel.2",
        "network.cell.1.conv.channels",
        "network.more.conv.channels",
        "network.stage2.1.kernel",
        "network.stage2.2.kernel",
        "recipe.lr",
        "recipe.optimizer",
        "recipe.sgd.momentum",
    ]


def test_every_operator_is_named():
    ours = [name for name in SIGNATURES.names() if not name.startswith("own_")]  # other tests' own
    assert [name for name in ours if f"`{name}`" not in PAGE] == []

"""The rules of the file format, one test a rule."""
# ruff: noqa: E501  (files and messages are compared whole, one to a line)

import math
import pickle
import random

import pytest

from nas.errors import SpaceError
from nas.space import Architecture, Space, draw, fill, match, parse

TAIL = "  - {op: global_pool}\n  - {op: linear}\n"


def net(*rows, rest=""):
    return "network:\n" + "".join(f"  - {row}\n" for row in rows) + TAIL + rest


def conv(rest):
    return net("{name: a, op: conv, channels: 8, " + rest + "}")


def only(text):
    space = parse(text)
    assert isinstance(space, Space)
    assert len(space.holes) == 1
    return space.holes[0]


def test_example_of_the_design():
    space = parse(
        """name: resnet_cells
network:
  - {name: stem,   op: conv, channels: !choice [16, 32, 64], kernel: 3}
  - {name: stage1, op: !choice [residual, {bottleneck: {expansion: !choice [4, 2]}}], channels: x1, repeat: !int [1, 4], se: !choice [0, 0.25]}
  - {op: global_pool}
  - {op: linear}
recipe:
  lr: !log {low: 1e-4, high: 1.0, default: 0.1}
  weight_decay: !log [1e-6, 1e-2]
limits: {params: 5M, macs: 600M}
"""
    )
    assert [hole.name for hole in space.holes] == [
        "network.stem.channels",
        "network.stage1.op",
        "network.stage1.bottleneck.expansion",
        "network.stage1.repeat",
        "network.stage1.se",
        "recipe.lr",
        "recipe.weight_decay",
    ]
    assert space.limits == {"params": 5e6, "macs": 6e8}
    assert space.default() == {
        "network.stem.channels": 16,
        "network.stage1.op": "residual",
        "network.stage1.repeat": 2,
        "network.stage1.se": 0,
        "recipe.lr": 0.1,
        "recipe.weight_decay": 0.0001,
    }
    decisions = {**space.default(), "network.stage1.op": "bottleneck"}
    filled = fill(space, {**decisions, "network.stage1.bottleneck.expansion": 2})
    assert filled.network[1] == {
        "name": "stage1", "op": "bottleneck", "expansion": 2, "channels": "x1", "repeat": 2, "se": 0
    }  # fmt: skip
    assert filled.where(1) == "space.yaml:4"


@pytest.mark.parametrize(
    ("written", "default"),
    {
        "!choice [3, 5]": 3,
        "!choice {options: [3, 5], default: 5}": 5,
        "!choice {options: {a: 3, b: 5}, default: b}": "b",
        "!choice {a: 3, b: 5}": "a",
        "!int [1, 4]": 2,
        "!int [1, 5]": 3,
        "!int [1, 7, 2]": 3,
        "!int {low: 1, high: 7, step: 2, default: 7}": 7,
        "!int {low: 1, high: 64, log: true}": 8,
        "!int [3, 3]": 3,
    }.items(),
)
def test_default_of_a_whole_number(written, default):
    hole = only(conv(f"kernel: {written}"))
    assert hole.default == default
    assert type(hole.default) is type(default)


@pytest.mark.parametrize(
    ("written", "kind", "default"),
    [
        ("!float [0, 1]", "float", 0.5),
        ("!float {low: 0, high: 1, step: 0.25}", "float", 0.5),
        ("!float {low: 0, high: 0.3, step: 0.1}", "float", 0.1),
        ("!float {low: 0.01, high: 1, log: true}", "log", 0.1),
        ("!log [1e-5, 2e-2]", "log", 0.000447),
        ("!log [0.12345, 0.12346]", "log", 0.12345),
        ("!log [0.1, 10]", "log", 1.0),
    ],
)
def test_default_of_a_number(written, kind, default):
    hole = only(conv("kernel: 3") + f"recipe: {{weight_decay: {written}}}\n")
    assert (hole.kind, hole.default) == (kind, default)
    assert isinstance(hole.default, float)


def test_grid_of_floats_is_readable():
    hole = only(conv("kernel: 3") + "recipe: {lr: !float {low: 0.1, high: 0.7, step: 0.1}}\n")
    assert [hole.at(k) for k in range(hole.points())] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert hole.admit(0.1 + 0.2) == 0.3
    with pytest.raises(
        SpaceError, match=r"recipe\.lr cannot be 0\.35; it is a number from 0\.1 to"
    ):
        hole.admit(0.35)


def test_log_draws_are_uniform_on_their_scale():
    hole = only(conv("kernel: 3") + "recipe: {lr: !log [1e-6, 1]}\n")
    rng = random.Random(0)
    logs = [math.log10(hole.draw(rng)) for _ in range(4000)]
    for low in range(-6, 0):
        share = sum(low <= value < low + 1 for value in logs) / len(logs)
        assert share == pytest.approx(1 / 6, abs=0.03)


def test_yaml_is_1_2():
    file = parse(net("{name: a, op: conv, channels: 0x10}", rest="about: no\nrecipe: {lr: 1e-3}\n"))
    assert file.about == "no"
    assert file.recipe == {"lr": 0.001}
    assert file.network[0]["channels"] == 16


def test_dates_stay_text():
    assert parse(conv("kernel: 3") + "found: {day: 2025-01-31}\n").found == {"day": "2025-01-31"}


def test_a_list_is_a_list():
    assert isinstance(parse(conv("kernel: [1, 3]")), Architecture)


def test_holes_stand_inside_lists_and_mappings():
    space = parse(conv("kernel: [1, !choice [3, 5]], norm: {kind: batch, eps: !log [1e-5, 1e-3]}"))
    assert [hole.name for hole in space.holes] == ["network.a.kernel.2", "network.a.norm.eps"]
    filled = fill(space, {"network.a.kernel.2": 5, "network.a.norm.eps": 1e-3})
    assert filled.network[0]["kernel"] == [1, 5]
    assert filled.network[0]["norm"] == {"kind": "batch", "eps": 1e-3}


def test_named_options_are_whole_values():
    space = parse(conv("kernel: !choice {wide: [1, 7], high: [7, 1]}"))
    assert space.holes[0].options == ("wide", "high")
    assert fill(space, {"network.a.kernel": "high"}).network[0]["kernel"] == [7, 1]


def test_long_and_flat_form_of_an_op_are_one():
    flat = parse(net("{name: a, op: bottleneck, expansion: 4, channels: 8}"))
    long = parse(net("{name: a, op: {bottleneck: {expansion: 4}}, channels: 8}"))
    assert flat.network == long.network
    assert flat.digest == long.digest


def test_a_hole_in_the_long_form_is_filled_flat():
    space = parse(net("{name: a, op: {bottleneck: {expansion: !choice [4, 2]}}, channels: 8}"))
    assert [hole.name for hole in space.holes] == ["network.a.bottleneck.expansion"]
    assert (
        "{name: a, op: bottleneck, expansion: 4, channels: 8}" in fill(space, space.default()).text
    )


def test_unnamed_rows_take_their_operators_name():
    space = parse(net("{op: conv, channels: !choice [8, 16]}"))
    assert space.holes[0].name == "network.conv.channels"


def test_several_unnamed_rows_need_no_name_without_holes():
    assert len(parse(net("{op: conv, channels: 8}", "{op: conv, channels: 8}")).network) == 4


# Ties


def test_same_copies_earlier_and_later_values_and_holes():
    space = parse(
        net(
            "{name: a, op: conv, channels: !same network.b.channels, kernel: !choice [1, 3]}",
            "{name: b, op: conv, channels: !choice [x2, 16], kernel: !same network.a.kernel}",
            "{name: c, op: conv, channels: !same network.a.channels, kernel: !same network.d.kernel}",
            "{name: d, op: conv, channels: 8, kernel: [1, 5]}",
        )
    )
    assert len(space.holes) == 2
    filled = fill(space, {"network.b.channels": "x2", "network.a.kernel": 3})
    assert [row["channels"] for row in filled.network[:3]] == ["x2", "x2", "x2"]
    assert [row["kernel"] for row in filled.network[:3]] == [3, 3, [1, 5]]
    assert match(space, parse(filled.text)) == filled.decisions


@pytest.mark.parametrize("first", [True, False])
def test_same_of_an_op_copies_its_settings(first):
    hole = (
        "{name: a, op: !choice [residual, {bottleneck: {expansion: !choice [4, 2]}}], channels: 8}"
    )
    tie = "{name: b, op: !same network.a.op, channels: 8}"
    space = parse(net(*([hole, tie] if first else [tie, hole])))
    filled = fill(space, {"network.a.op": "bottleneck", "network.a.bottleneck.expansion": 2})
    assert [row["expansion"] for row in filled.network[:2]] == [2, 2]
    assert parse(filled.text).network == filled.network
    assert match(space, parse(filled.text)) == filled.decisions


def test_a_file_with_ties_alone_is_an_architecture_without_tags():
    file = parse(net("{name: a, op: conv, channels: 8}", "{name: b, op: conv, channels: !same network.a.channels}"))  # fmt: skip
    assert isinstance(file, Architecture)
    assert file.decisions is None
    assert "!" not in file.text
    assert file.network[1]["channels"] == 8


# Anchors


def test_anchors_and_merge_keys_are_expanded():
    file = parse(
        "network:\n  - &base {name: a, op: conv, channels: &c 8, kernel: 3}\n"
        "  - {<<: *base, name: b, channels: 16}\n  - {name: d, <<: [{kernel: 5}, *base], stride: *c}\n"
        + TAIL
    )
    assert file.network[1] == {"name": "b", "channels": 16, "op": "conv", "kernel": 3}
    assert file.network[2] == {"name": "d", "stride": 8, "kernel": 5, "op": "conv", "channels": 8}


def test_anchors_survive_beside_holes():
    space = parse(
        net(
            "{name: a, op: conv, channels: &c 8, kernel: !choice [1, 3]}",
            "{name: b, op: conv, channels: *c}",
        )
    )
    assert parse(fill(space, {"network.a.kernel": 3}).text).network[1]["channels"] == 8


# Repetitions


UNTIED = net(
    "{name: s, op: !choice [conv, {residual: {se: !choice [0, 0.25]}}], channels: !choice [x2, 16], "
    "stride: !choice [1, 2], act: !choice [relu, silu], repeat: !int [1, 3], untied: true}"
)


def test_tied_repetitions_share_their_holes():
    space = parse(UNTIED.replace(", untied: true", ""))
    assert "network.s.repeat" in space.by_name
    assert not any(".1." in hole.name for hole in space.holes)


def test_untied_repetitions_are_numbered_and_written_out():
    space = parse(UNTIED)
    names = [hole.name for hole in space.holes]
    assert names[:3] == ["network.s.repeat", "network.s.1.op", "network.s.1.residual.se"]
    assert "network.s.3.act" in names
    # channels and stride are those of the first repetition, so they are one decision
    assert {"network.s.channels", "network.s.stride"} <= set(names)
    assert not any(name.endswith(("2.stride", "2.channels")) for name in names)
    decisions = {
        "network.s.repeat": 2,
        "network.s.1.op": "residual",
        "network.s.1.residual.se": 0.25,
        "network.s.channels": "x2",
        "network.s.stride": 2,
        "network.s.1.act": "silu",
        "network.s.2.op": "conv",
        "network.s.2.act": "relu",
    }
    filled = fill(space, decisions)
    assert filled.network[:2] == [
        {"name": "s_1", "op": "residual", "channels": "x2", "stride": 2, "act": "silu", "se": 0.25},
        {"name": "s_2", "op": "conv", "channels": "x1", "act": "relu"},
    ]
    assert filled.where(1) == filled.where(0) == "space.yaml:2"
    assert filled.where(2) == "space.yaml:3"
    again = parse(filled.text)
    assert again.network == filled.network
    assert match(space, again) == match(space, filled) == decisions


def test_untied_rows_keep_absolute_channels():
    space = parse(UNTIED)
    rng = random.Random(0)
    for _ in range(50):
        filled = fill(space, {**draw(space, rng)})
        rows = [row for row in filled.network if row.get("name", "").startswith("s_")]
        wanted = "x1" if rows[0]["channels"] == "x2" else 16
        assert all(row["channels"] == wanted for row in rows[1:])
        assert all("stride" not in row for row in rows[1:])


def test_same_inside_an_untied_row_means_its_own_repetition():
    space = parse(
        net(
            "{name: s, op: conv, channels: 8, kernel: !choice [1, 3], stride: 1, dilation: !same network.s.kernel, repeat: 2, untied: true}"
        )
    )
    filled = fill(space, {"network.s.1.kernel": 1, "network.s.2.kernel": 3})
    assert [row["dilation"] for row in filled.network[:2]] == [1, 3]


# Rows within rows


def test_holes_inside_branches_and_rows_are_named_by_their_path():
    space = parse(
        net(
            "{name: cell, join: !choice [concat, add], branches: [[{name: b, op: conv, channels: !choice [8, 16]}], "
            "[{op: flatten}, {name: c, repeat: !int [1, 2], rows: [{op: pointwise, channels: !choice [8, 16]}]}]]}"
        )
    )
    assert [hole.name for hole in space.holes] == [
        "network.cell.join",
        "network.cell.1.b.channels",
        "network.cell.2.c.repeat",
        "network.cell.2.c.pointwise.channels",
    ]
    filled = fill(space, space.default())
    assert filled.network[0]["op"] == "branches"
    assert filled.network[0]["branches"][1][1]["rows"] == [{"op": "pointwise", "channels": 8}]
    assert parse(filled.text).network == filled.network


def test_the_rows_themselves_may_be_a_choice():
    space = parse(
        "network: !choice\n  small: [{name: a, op: conv, channels: !choice [8, 16]}, {op: linear}]\n"
        "  large:\n    - {op: flatten}\n    - {op: linear}\n"
    )
    assert [hole.name for hole in space.holes] == ["network", "network.small.a.channels"]
    filled = fill(space, {"network": "large"})
    assert filled.where(1) == "space.yaml:5"
    assert parse(filled.text).network == filled.network == [{"op": "flatten"}, {"op": "linear"}]
    assert match(space, filled) == {"network": "large"}


def test_an_option_of_the_recipe_may_bring_its_own_keys():
    space = parse(
        conv("kernel: 3")
        + "recipe:\n  optimizer: !choice [{sgd: {momentum: !float [0, 0.9]}}, adamw]\n  lr: 0.1\n"
    )
    assert [hole.name for hole in space.holes] == ["recipe.optimizer", "recipe.sgd.momentum"]
    assert fill(space, {"recipe.optimizer": "adamw"}).recipe == {"optimizer": "adamw", "lr": 0.1}
    filled = fill(space, {"recipe.optimizer": "sgd", "recipe.sgd.momentum": 0.5})
    assert filled.recipe == {"optimizer": "sgd", "momentum": 0.5, "lr": 0.1}
    assert parse(filled.text).recipe == filled.recipe


# What people carry around


def test_digest_ignores_layout_names_of_numbers_and_other_sections():
    first = parse(net("{name: a, op: conv, channels: 8}", rest="recipe: {lr: 1}\n"))
    second = parse("about: b\nrecipe: {lr: 1.0}\n" + net("{op: conv, channels: 8, name: a}  # c"))
    assert first == second
    assert hash(first) == hash(second)
    assert first != parse(net("{name: a, op: conv, channels: 9}", rest="recipe: {lr: 1}\n"))


def test_digest_of_a_space_is_of_its_content():
    one, two = parse(UNTIED), parse("# comment\n" + UNTIED.replace("conv, ", "conv,  "))
    assert one.digest == two.digest != parse(UNTIED.replace("[1, 3]", "[1, 2]")).digest


def test_pickles():
    space = parse(UNTIED)
    filled = fill(space, space.default())
    assert pickle.loads(pickle.dumps(space)).digest == space.digest
    assert pickle.loads(pickle.dumps(filled)) == filled
    assert pickle.loads(pickle.dumps(filled)).decisions == filled.decisions


def test_to_dict_is_the_file():
    file = parse(conv("kernel: 3") + "limits: {params: 5M}\n", path="b/c.yaml")
    assert file.name == "c"
    whole = file.to_dict()
    assert set(whole) == {"name", "network", "limits"}
    whole["network"][0]["kernel"] = 5
    assert file.network[0]["kernel"] == 3


def test_fillings_share_no_mutable_values():
    space = parse(conv("kernel: [3, 3], stride: !choice [1, 2]"))
    first = fill(space, space.default())
    first.network[0]["kernel"][0] = 9
    assert fill(space, space.default()).network[0]["kernel"] == [3, 3]


def test_a_comment_glued_to_a_hole_stays_a_comment():
    text = "network:\n  - name: a\n    op: conv\n    channels: !choice {one: 8, two: 16}# note\n"
    space = parse(text)
    filled = fill(space, space.default())
    assert filled.network[0]["channels"] == 8
    assert parse(filled.text).network[0]["channels"] == 8 and "# note" in filled.text

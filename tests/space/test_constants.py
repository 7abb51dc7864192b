"""`--set path=value`: constants in the place of values and holes."""
# ruff: noqa: E501  (files and messages are compared whole, one to a line)

import pytest

from nas.errors import ShapeError, SpaceError, UserError
from nas.models import cost
from nas.space import Architecture, Space, load, parse

SPACE = """\
network:
  - {name: stem, op: conv, channels: !choice [8, 16], kernel: 3}   # tail
  - name: stage1
    op: !choice [residual, {bottleneck: {expansion: !choice [4, 2]}}]
    channels: x2   # relative
    se: {ratio: 0.25}
  - {name: cell, branches: [[{op: pointwise, channels: 8}], [{op: flatten}]], join: concat}
  - {name: twice, op: conv, channels: 8, repeat: 2, untied: true}
  - {op: linear}
recipe:
  lr: !log [1e-3, 1]   # rate
  epochs: 30
# foot
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPACE)
    return path


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("recipe.epochs", "20", "  epochs: 20\n"),
        ("recipe.epochs", 20, "  epochs: 20\n"),
        ("recipe.lr", "5", "  lr: 5   # rate\n"),  # outside of the hole's range
        ("recipe.batch_size", "64", "  epochs: 30\n  batch_size: 64\n"),
        ("network.stem.channels", "12", "channels: 12, kernel: 3}   # tail\n"),
        ("network.stem.kernel", "[1, 3]", "kernel: [1, 3]}   # tail\n"),
        ("network.stem.stride", "2", "kernel: 3, stride: 2}   # tail\n"),
        ("network.stage1.stride", "2", "    se: {ratio: 0.25}\n    stride: 2\n"),
        ("network.stage1.op", "bottleneck", "    op: bottleneck\n"),
        ("network.stage1.op", "{bottleneck: {expansion: 8}}", "op: {bottleneck: {expansion: 8}}\n"),
        ("network.stage1.bottleneck.expansion", "8", "{bottleneck: {expansion: 8}}]\n"),
        ("network.stage1.bottleneck.groups", "2", "expansion: !choice [4, 2], groups: 2}}]\n"),
        ("network.stage1.se.ratio", "0.5", "    se: {ratio: 0.5}\n"),
        ("network.stage1.se.act", "silu", "    se: {ratio: 0.25, act: silu}\n"),
        ("network.stage1.se", "0", "    se: 0\n"),
        ("network.cell.1.pointwise.channels", "4", "channels: 4}]"),
        ("network.cell.join", "add", "join: add}\n"),
        ("network.linear.channels", "10", "  - {op: linear, channels: 10}\n"),
        ("limits.params", "3M", '  epochs: 30\nlimits:\n  params: "3M"\n# foot\n'),
        ("scaling.depth", "2", "scaling:\n  depth: 2\n"),
        ("about", "some words", 'about: "some words"\n'),
        ("name", "mine", "name: mine\n"),
    ],
)
def test_a_constant_is_written_into_the_text(file, name, value, line):
    space = load(file, constants={name: value})
    assert line in space.text
    assert space.text.replace("# foot", "").count("#") == SPACE.replace("# foot", "").count("#")
    again = parse(space.text, path=str(file))
    assert again.digest == space.digest
    assert again.text == space.text


def test_many_constants_fill_the_file(file):
    filled = load(
        file,
        constants={
            "network.stem.channels": "8",
            "network.stage1.op": "residual",
            "recipe.lr": "0.1",
        },
    )
    assert isinstance(filled, Architecture)
    assert filled.recipe == {"lr": 0.1, "epochs": 30}


def test_a_constant_holds_for_the_default(file):
    space = load(file, constants={"recipe.lr": "0.3"})
    assert isinstance(space, Space)
    assert "recipe.lr" not in space.default()


def test_an_empty_section_takes_a_key(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("network: [{op: linear}]\nrecipe:\nabout: x\n")
    assert load(path, constants={"recipe.lr": "0.1"}).recipe == {"lr": 0.1}
    path.write_text("network: [{op: linear}]\nrecipe:   # nothing: yet\n\n# more\nabout: x\n")
    assert (
        load(path, constants={"recipe.lr": "0.1"}).text.count("recipe: {lr: 0.1}   # nothing") == 1
    )
    path.write_text("network: [{op: linear}]\nrecipe: {}\n")
    assert load(path, constants={"recipe.lr": "0.1"}).recipe == {"lr": 0.1}


def test_a_merged_key_is_overridden_in_its_row(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("network:\n- &a {name: a, op: conv, channels: 8}\n- {<<: *a, name: b}\n- {op: linear}\n")  # fmt: skip
    filled = load(path, constants={"network.b.channels": "16"})
    assert [row.get("channels") for row in filled.network] == [8, 16, None]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("recipe.epoch", "20", r"--set recipe\.epoch=20: .*unknown recipe key 'epoch'; did you mean 'epochs'"),
        ("recipe.epochs", "many", r"--set recipe\.epochs=many: .*recipe\.epochs is 'many', which must be"),
        ("recipe.lr", "!log [1, 2]", r"a constant is wanted, not a hole"),
        ("recipe.lr", "[1", r"--set recipe\.lr.*not YAML"),
        ("recpie.lr", "1", r"--set recpie\.lr: unknown path; did you mean 'recipe\.lr'"),
        ("network.stge1.op", "conv", r"--set network\.stge1\.op: unknown path; did you mean 'network\.stage1\.op'"),
        ("network.stem.kernle", "3", r"conv takes no 'kernle'; did you mean 'kernel'"),
        ("network.stage1.op", "residul", r"unknown operator 'residul'; did you mean 'residual'"),
        ("network.stage1.bottle.expansion", "4", r"unknown path; did you mean 'network\.stage1\.bottleneck\.expansion'"),
        ("network.cell.3.flatten.x", "4", r"unknown path"),
        ("network.twice.1.channels", "4", r"repetition 1 of an untied row cannot be set alone"),
        ("network.stem.channels.few", "4", r"unknown path; did you mean 'network\.stem\.channels'"),
        ("", "4", r"unknown path"),
    ],
)  # fmt: skip
def test_a_wrong_constant_is_refused_with_the_nearest(file, name, value, message):
    with pytest.raises(UserError, match=message):
        load(file, constants={name: value})


def test_a_fault_of_the_file_itself_is_not_blamed_on_the_constant(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("network: [{op: convv}]\n")
    with pytest.raises(SpaceError, match=r"^(?!--set).*unknown operator 'convv'"):
        load(path, constants={"recipe.lr": "0.1"})


def test_errors_name_lines_of_the_file_and_not_of_the_text_with_constants(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "network:\n  - name: a\n    op: conv\n    channels: 8\n"
        "  - {name: b, op: conv, channels: 9, groups: 2}\n  - {op: global_pool}\n  - {op: linear}\n"
    )
    known = {"classes": 10, "channels": 3, "size": 32}
    with pytest.raises(ShapeError, match=r"s\.yaml:5: row 'b'"):
        cost(load(path), **known)
    with pytest.raises(ShapeError, match=r"s\.yaml:5: row 'b'"):
        cost(load(path, constants={"network.a.kernel": "3", "network.a.stride": "2"}), **known)
    with pytest.raises(ShapeError, match=r"^--set scaling\.phi=1000: scaling: .* \*\* phi 1000"):
        cost(load(path, constants={"scaling.phi": "1000"}), **known)

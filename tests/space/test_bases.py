"""`base: NAME`: a file that states what it changes of another one."""

import pickle
import random

import pytest

from nas.errors import ShapeError, SpaceError, UnknownName
from nas.models import cost
from nas.space import Architecture, Space, draw, fill, load, match, parse

BASE = """\
# the base's comment
name: lower
about: A network to stand on.
input: {size: 32, channels: 3, classes: 10}
defaults:
  act: relu # as it was
  norm: batch

network:
  - {name: stem, op: conv, channels: 8}
  - {name: stage1, op: conv, channels: 16, stride: 2}
  - {op: global_pool}
  - {op: linear}

recipe: {optimizer: sgd, lr: 0.1, epochs: 30}
"""
DEFAULTS = "defaults:\n  act: relu # as it was\n  norm: batch\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes files into the working folder; returns the last one's path."""
    monkeypatch.chdir(tmp_path)

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path / f"{name}.yaml"

    return write


def upper(files, text, base=BASE):
    return load(files(lower=base, upper=text))


def test_what_is_stated_stands_in_place_of_the_bases(files):
    made = upper(
        files,
        "name: higher\nbase: lower\nscaling: {depth: 1.5}\n"
        "input: {size: 48}\ndefaults: {act: silu}\nrecipe:\n  lr: 0.2\n  momentum: 0.8\n",
    )
    assert isinstance(made, Architecture)
    assert made.name == "higher"
    assert made.about == "A network to stand on."
    assert made.input == {"size": 48, "channels": 3, "classes": 10}
    assert made.defaults == {"act": "silu", "norm": "batch"}
    assert made.recipe == {"optimizer": "sgd", "lr": 0.2, "epochs": 30, "momentum": 0.8}
    assert made.scaling == {"depth": 1.5}
    assert [row.get("name") for row in made.network] == ["stem", "stage1", None, None]


def test_the_filled_file_stands_alone_and_keeps_the_comments(files):
    made = upper(files, "name: higher\nbase: lower\ndefaults: {norm: none}\nlimits: {params: 1M}\n")
    assert "base:" not in made.text
    assert "# the base's comment" in made.text
    assert "act: relu # as it was" in made.text
    alone = parse(made.text)
    assert alone == made
    assert alone.name == "higher"
    assert alone.limits == {"params": 1e6}
    found = parse(made.with_section("found", {"run": "r"}))
    assert found.network == made.network


def test_name_and_provenance_are_never_the_bases(files):
    made = upper(files, "base: lower\n", BASE + "found: {run: some-run, trial: 3}\n")
    assert made.name == "upper"
    assert made.found == {}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "text",
    [
        "base: lower\ndefaults:\n  norm:\n    kind: batch\n    eps: 1e-3\n  act: silu\n",
        "base: lower\ndefaults: {norm: {kind: batch,\n eps: 1e-3}, act: silu}\n",
        "base: lower\ndefaults:\n    act: silu # c\n    norm: {kind: batch,\n      eps: 1e-3}",
        '{"base": "lower", "defaults": {"act": "silu", "norm": {"kind": "batch", "eps": 1e-3}}}',
    ],
)
@pytest.mark.parametrize(
    "base",
    [
        BASE,
        BASE.replace(DEFAULTS, ""),
        BASE.replace(DEFAULTS, "defaults:\n"),
        BASE.replace(DEFAULTS, "defaults: {act: relu}\n"),
        BASE.replace("  norm: batch\n", "  norm:\n    kind: batch\n    momentum: 0.5 # c\n"),
    ],
)
def test_blocks_and_flow_are_joined_alike(files, base, text, end):
    made = upper(files, text.replace("\n", end), base.replace("\n", end))
    assert made.defaults == {"act": "silu", "norm": {"kind": "batch", "eps": 1e-3}}
    assert made.recipe == {"optimizer": "sgd", "lr": 0.1, "epochs": 30}
    assert parse(made.text) == made


def test_a_base_may_have_a_base_and_holes(files):
    files(
        ground=BASE.replace("channels: 16", "channels: !choice [16, 24]"),
        lower="base: ground\nrecipe: {lr: !log [0.01, 1]}\n",
    )
    made = load(files(upper="base: lower\nrecipe: {epochs: !int [5, 10]}\n"))
    assert isinstance(made, Space)
    holes = ["network.stage1.channels", "recipe.lr", "recipe.epochs"]
    assert [hole.name for hole in made.holes] == holes
    decisions = draw(made, random.Random(0))
    filled = fill(made, decisions)
    assert match(made, filled) == decisions
    assert match(made, parse(filled.text)) == decisions


def test_a_word_is_a_file_beside_it_then_a_shipped_one(files, tmp_path):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "upper.yaml").write_text("base: lower\n")
    (tmp_path / "nets" / "lower.yaml").write_text(BASE.replace("lr: 0.1", "lr: 0.7"))
    files(lower=BASE)
    assert load("nets/upper.yaml").recipe["lr"] == 0.7
    (tmp_path / "nets" / "upper.yaml").write_text("base: ../lower.yaml\n")
    assert load("nets/upper.yaml").recipe["lr"] == 0.1
    assert load(files(upper="base: efficientnet_b0\n")).network[1]["op"] == "mbconv"


# ------------------------------------------------------------------------------------- places
def test_errors_name_the_file_and_line_that_the_fault_stands_in(files):
    with pytest.raises(SpaceError, match=r"/upper\.yaml:4: recipe\.lr is -1"):
        upper(files, "\nbase: lower\nrecipe:\n  lr: -1\n")
    with pytest.raises(SpaceError, match=r"/lower\.yaml:11: .*'strid'"):
        upper(files, "base: lower\nrecipe: {lr: 0.5}\n", BASE.replace("stride", "strid"))
    with pytest.raises(SpaceError, match=r"/lower\.yaml:15: .*'epoch'"):
        upper(files, "base: lower\nrecipe: {lr: 0.5}\n", BASE.replace("epochs", "epoch"))
    # an alias whose anchor the upper file has replaced
    base = BASE.replace("act: relu", "act: &a relu").replace(
        "op: conv, ch", "op: conv, act: *a, ch"
    )
    with pytest.raises(SpaceError, match=r"/lower\.yaml:10: the alias \*a has no anchor"):
        upper(files, "base: lower\ndefaults: {act: silu}\n", base)


def test_errors_of_shape_name_the_bases_row(files):
    made = upper(
        files, "base: lower\ndefaults: {act: silu}\n", BASE.replace("stride: 2", "groups: 3")
    )
    for architecture in (made, pickle.loads(pickle.dumps(made))):
        with pytest.raises(ShapeError, match=r"/lower\.yaml:11: row 'stage1'"):
            cost(architecture, classes=10, channels=3)


def test_places_stay_right_after_a_constant_that_adds_lines(files):
    path = files(
        lower=BASE.replace("stride: 2", "connections: [[0], [1]]"),
        upper="base: lower\nscaling: {phi: 1, gamma: 0.01}\n",
    )
    made = load(path, constants={"defaults.bias": True, "recipe.epochs": 3})
    with pytest.raises(ShapeError, match=r"/lower\.yaml:11: row 'stage1'"):
        cost(made, classes=10, channels=3, size=1024)
    with pytest.raises(ShapeError, match=r"/upper\.yaml:2: scaling"):
        cost(made, classes=10, channels=3, size=32)


# ------------------------------------------------------------------------------------- faults
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base: [a]\n", "upper.yaml:1: base must be the name or the path of a file"),
        ("base: 3\n", "upper.yaml:1: base must be the name or the path of a file"),
        ("base: !choice [a, b]\n", "upper.yaml:1: base must be the name or the path of a file"),
        ("base: lower\nnetwork: []\n", "upper.yaml:2: a file with a base has its rows from there"),
        ("base: ./none.yaml\n", "upper.yaml:1: its base './none.yaml' is no file: there is no"),
        ("base: upper\n", "upper.yaml:1: the bases lead back to where they began: upper -> upper"),
        ("base: lower\nrecip: {}\n", "upper.yaml:2: unknown top-level key 'recip'"),
        ("base: lower\ninput: &a {size: 3}\nlimits: *a\n", "upper.yaml:3: anchors and merge keys"),
        ("base: {}\n", "base must be the name"),
    ],
)
def test_faults_are_said_with_their_place(files, text, said):
    with pytest.raises(SpaceError) as caught:
        upper(files, text)
    assert said in str(caught.value)


def test_an_unknown_base_is_said_with_the_nearest_name(files):
    with pytest.raises(UnknownName, match=r"upper\.yaml:1: unknown base 'lowr'.*'lower'"):
        upper(files, "base: lowr\n")


def test_bases_in_a_circle(files):
    files(a="base: b\n", b="base: c\n", c="base: a\n")
    with pytest.raises(SpaceError, match=r"c\.yaml:1: .*: a -> b -> c -> a"):
        load("a")


def test_a_base_in_one_brace_is_refused(files):
    with pytest.raises(SpaceError, match=r"upper\.yaml:1: its base is written as one"):
        upper(files, "base: lower\n", '{"network": [{"op": "linear"}]}')


def test_a_text_alone_has_no_base():
    with pytest.raises(SpaceError, match=r"s\.yaml:1: a base is looked up where a file is loaded"):
        parse("base: tiny\n", path="s.yaml")

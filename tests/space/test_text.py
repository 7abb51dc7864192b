"""Filling a file: values go into the source text, and everything else stays as it was."""
# ruff: noqa: E501  (files and messages are compared whole, one to a line)

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from nas.space import fill, parse
from nas.space.writing import block_text, flow_text

SPACE = """\
# head
network:   # rows

  - {name: stem, op: conv, channels: !choice [8, 16], kernel: 3}   # tail of stem
  - name: stage1        # a block row
    op: !choice         # the cell
      - residual
      - bottleneck:
          expansion: !choice [4, 2]   # inside the hole
    # before channels
    channels: !choice {few: 8,
                       many: !int [16, 32]}  # behind
    repeat:
      !int [1, 3]
  - {op: global_pool}
  - {op: linear}
recipe:
    lr: !log {low: 1e-6, high: 1.0, default: 0.1} # rate

    optimizer: "sgd"
# foot"""

FILLED = """\
# head
network:   # rows

  - {name: stem, op: conv, channels: 16, kernel: 3}   # tail of stem
  - name: stage1        # a block row
    op: bottleneck
    expansion: 2   # inside the hole
    # before channels
    channels: 24  # behind
    repeat:
      2
  - {op: global_pool}
  - {op: linear}
recipe:
    lr: 1.0e-05 # rate

    optimizer: "sgd"
# foot"""

DECISIONS = {
    "network.stem.channels": 16,
    "network.stage1.op": "bottleneck",
    "network.stage1.bottleneck.expansion": 2,
    "network.stage1.channels": "many",
    "network.stage1.channels.many": 24,
    "network.stage1.repeat": 2,
    "recipe.lr": 1e-5,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_comments_and_layout_survive(newline):
    space = parse(SPACE.replace("\n", newline))
    assert fill(space, DECISIONS).text == FILLED.replace("\n", newline)


def test_untied_rows_are_written_out_in_a_block():
    space = parse(
        "network:\n- name: a\n  op: conv\n  channels: x2\n  stride: 2\n  kernel: !choice [1, 3]\n"
        "  repeat: 2\n  untied: true   # each its own\n- {op: linear}   # end\n"
    )
    assert fill(space, {"network.a.1.kernel": 3, "network.a.2.kernel": 1}).text == (
        "network:\n- {name: a_1, op: conv, channels: x2, stride: 2, kernel: 3}\n"
        "- {name: a_2, op: conv, kernel: 1, channels: x1}   # each its own\n- {op: linear}   # end\n"
    )


def test_untied_rows_are_written_out_in_a_list():
    text = "network: [{name: a, op: conv, channels: 8, repeat: 2, untied: true}, {op: linear}]"
    assert parse(text).text == (
        "network: [{name: a_1, op: conv, channels: 8}, {name: a_2, op: conv, channels: 8}, "
        "{op: linear}]"
    )


def test_a_json_file_with_holes_filled_is_json_again():
    text = (
        '{"network": [{"name": "a", "op": "conv", "channels": !choice [8, 16]}, {"op": "linear"}]}'
    )
    filled = fill(parse(text), {"network.a.channels": 16})
    assert filled.text == text.replace("!choice [8, 16]", "16")
    assert parse(filled.with_section("found", {"run": "a b"})).found == {"run": "a b"}


FOUND = {"run": "runs/2025-01-31", "metrics": {"test": 0.9, "bad": float("nan")}, "seeds": [0, 1]}


@pytest.mark.parametrize(
    "old",
    [
        "",
        "found:\n",
        "found: {run: old}  # kept\n",
        "found:\n  run: old\n  more:\n  - 1\n  - 2\n# between\nabout: x\n",
        "about: |\n  text\n\n",
        "about: x\n...\n",
    ],
)
def test_with_section_replaces_or_appends(old):
    file = parse(FILLED + "\n" + old)
    again = parse(file.with_section("found", FOUND))
    assert again.found == {**FOUND, "metrics": {"test": 0.9, "bad": None}}
    assert again.network == file.network
    assert again.about == file.about
    assert "# foot" in again.text
    data = {"mean": [0.5], "classes": ["no", "ein Wort", "1", "x: y", "Ä\n\u2028😀"]}
    twice = parse(again.with_section("data", data))
    assert (twice.data, twice.found) == (data, again.found)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcno: #-?", min_size=1), inner)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_written_reads_back_equal(value):
    reader = YAML(typ="safe", pure=True)
    assert reader.load(f"a: {flow_text(value)}")["a"] == value
    assert reader.load(f"[{flow_text(value)}, 1]")[0] == value
    assert reader.load(block_text("a", value, "\n"))["a"] == value

"""Whatever is done to a file, the answer is a space, an architecture or one clear sentence."""
# ruff: noqa: E501

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.errors import SpaceError, UserError
from nas.space import Space, draw, faults_of, fill, load, match, parse
from nas.space.constants import set_constants
from nas.space.document import compose

from .spaces import space_texts

PIECES = [
    "", " ", "\n", "\n  ", ":", ": ", ",", "[", "]", "{", "}", "- ", "#", " # ", "'", '"', "&a ", "*a", "<<: ",
    "!choice ", "!int ", "!same ", "!log ", "null", "true", "0", "-1", "1e400", "x2", "op", "name: ", "untied: true",
    "repeat: 2", "network", ".", "|", ">\n", "\t", "? ", "---\n", "...\n", "%YAML 1.2\n", "\u00e9", "\ufeff", "\r\n",
]  # fmt: skip
PACE = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


def lines_of(path, error):
    said = str(error)
    assert said.startswith((path, "--set", "unknown")), said
    assert "\n" not in said, said


@st.composite
def spoilt_texts(draw_, most=3):
    text = draw_(space_texts())
    for _ in range(draw_(st.integers(1, most))):
        start = draw_(st.integers(0, len(text)))
        end = min(len(text), start + draw_(st.integers(0, 12)))
        text = text[:start] + draw_(st.sampled_from(PIECES)) + text[end:]
    return text


@PACE
@given(spoilt_texts(most=6))
def test_a_linter_goes_on_after_what_a_load_stops_at(tmp_path, text):
    file = tmp_path / "s.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    stops_at = []
    try:
        load(file)
    except SpaceError as error:
        stops_at = [str(error)]
    told = [str(fault) for fault in faults_of(file)]
    assert bool(told) == bool(stops_at) and {*stops_at} <= {*told}


@PACE
@given(spoilt_texts())
def test_a_spoilt_file_is_read_or_refused(text):
    try:
        made = parse(text, path="s.yaml")
    except UserError as error:
        lines_of("s.yaml", error)
        return
    if isinstance(made, Space):
        filled = fill(made, draw(made, random.Random(0)))
        assert parse(filled.text).network == filled.network
        assert match(made, filled) == filled.decisions
    else:
        assert parse(made.text).text == made.text


@PACE
@given(space_texts(), st.data())
def test_any_constant_is_taken_or_refused(text, data):
    space = parse(text)
    names = [hole.name for hole in space.holes]
    name = data.draw(
        st.sampled_from(
            [*names, "recipe.epochs", "network.r0.se", "network.r0", "network", "about"]
        )
    )
    if data.draw(st.booleans()):
        name = name[: data.draw(st.integers(0, len(name)))]
    value = data.draw(
        st.sampled_from(
            ["8", "0.5", "null", "residual", "{a: 1}", "[1, 3]", "!choice [1]", "[", ""]
        )
    )
    try:
        made = set_constants(compose(text, "s.yaml"), {name: value})
    except UserError as error:
        lines_of("s.yaml", error)
        return
    assert parse(made.text, path="s.yaml").digest == made.digest

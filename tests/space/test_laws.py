"""The laws of `fill` and `match`, over random spaces and the shipped ones."""
# ruff: noqa: E501  (files and messages are compared whole, one to a line)

import functools
import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from nas.errors import SpaceError
from nas.space import (
    Architecture,
    Space,
    count,
    draw,
    fill,
    load,
    match,
    neighbours,
    parse,
    shipped,
)

from .spaces import space_texts

SHIPPED = sorted(path.stem for path in shipped().glob("*.yaml"))
PACE = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32)


def check_laws(space, seed):
    rng = random.Random(seed)
    decisions = draw(space, rng)
    architecture = fill(space, decisions)
    assert architecture.decisions == decisions
    assert json.loads(json.dumps(decisions)) == decisions
    assert fill(space, json.loads(json.dumps(decisions))).digest == architecture.digest
    assert match(space, architecture) == decisions
    check_filled_file(space, architecture, decisions)
    for name, value in decisions.items():
        assert space.hole(name).admit(value) == value
    check_neighbour(space, decisions, rng)


def check_filled_file(space, architecture, decisions):
    text = architecture.text
    again = parse(text, path="filled.yaml")
    assert isinstance(again, Architecture)
    assert again.text == text
    assert fill(again, {}) is again
    assert again.network == architecture.network
    assert again.recipe == architecture.recipe
    assert again.digest == architecture.digest
    assert match(space, again) == decisions
    places = [architecture.where(row) for row in range(len(architecture.network))]
    assert all(place.startswith(f"{architecture.path}:") for place in places)
    content = YAML(typ="safe", pure=True).load(text)
    assert json.loads(json.dumps(content)) == content
    for line in space.text.splitlines():
        if line.strip().startswith("#"):
            assert line in text


def check_neighbour(space, decisions, rng):
    other = neighbours(space, decisions, rng)
    shared = [name for name in other if name in decisions]
    changed = [name for name in shared if other[name] != decisions[name]]
    assert len(changed) == 1
    if set(other) == set(decisions):
        return
    replayed = fill(space, other)  # opened and closed ones fit the change
    assert replayed.decisions == other


@PACE
@given(space_texts(), seeds)
def test_laws_hold_in_random_spaces(text, seed):
    space = parse(text)
    assert isinstance(space, Space)
    check_laws(space, seed)


@pytest.mark.parametrize("name", SHIPPED)
@settings(deadline=None, max_examples=60)
@given(seed=seeds)
def test_laws_hold_in_shipped_spaces(name, seed):
    check_laws(shipped_space(name), seed)


@functools.cache
def shipped_space(name):
    return load(name)


@PACE
@given(space_texts(), seeds)
def test_only_active_holes_are_asked_in_file_order(text, seed):
    space = parse(text)
    rng = random.Random(seed)
    asked = []

    def choose(hole):
        asked.append(hole)
        return hole.draw(rng)

    decisions = fill(space, choose).decisions
    assert [hole.name for hole in asked] == list(decisions)
    assert len(set(asked)) == len(asked)
    order = {hole.name: position for position, hole in enumerate(space.holes)}
    assert [order[hole.name] for hole in asked] == sorted(order[hole.name] for hole in asked)


@PACE
@given(space_texts())
def test_default_is_inside_and_is_what_defaults_say(text):
    space = parse(text)
    decisions = space.default()
    assert all(space.hole(name).default == value for name, value in decisions.items())
    assert fill(space, decisions).decisions == decisions


def enumerate_all(space, limit):
    """Every filling, depth first over the holes as they open; None where there are more."""
    open_, found = [()], []
    while open_:
        prefix = open_.pop()
        taken = []

        def choose(hole, prefix=prefix, taken=taken):
            if len(taken) < len(prefix):
                index = prefix[len(taken)]
            else:
                index = 0
                open_.extend((*taken, k) for k in range(1, hole.points()))
            taken.append(index)
            return hole.at(index)

        found.append(fill(space, choose))
        if len(found) > limit:
            return None
    return found


@PACE
@given(space_texts())
def test_count_equals_enumeration(text):
    head, _, _ = text.partition("recipe:")
    space = parse(head + "recipe: {lr: 0.1}\n")
    if isinstance(space, Architecture):
        return
    number = count(space)
    if number is None:
        assert any(hole.points() is None for hole in space.holes)
    elif number <= 400:
        found = enumerate_all(space, 400)
        assert len(found) == number
        assert len({architecture.digest for architecture in found}) == number


def test_match_says_where_an_architecture_leaves_the_space():
    space = parse(
        "network:\n  - {name: a, op: conv, channels: !choice [8, 16], kernel: 3}\n  - {op: linear}\n"
    )
    good = "network: [{op: conv, channels: 16, kernel: 3, stride: 1}, {op: linear}]\n"
    assert match(space, parse(good)) == {"network.a.channels": 16}
    for text, message in {
        "[{op: conv, channels: 9}, {op: linear}]": r"s\.yaml:1: .*network\.a\.channels is 9, where the space has one of 8, 16",
        "[{op: conv, channels: 8, kernel: 5}, {op: linear}]": r"network\.a\.kernel is 5, where the space has 3",
        "[{op: conv, channels: 8, stride: 2}, {op: linear}]": r"network\.a has stride 2, and the space has none",
        "[{op: pointwise, channels: 8}, {op: linear}]": r"network\.a\.op is 'pointwise', where the space has 'conv'",
        "[{op: conv, channels: 8}]": r"the row network\.linear is missing",
        "[{op: conv, channels: 8}, {op: linear}, {op: flatten}]": r"the row flatten has no place in network",
        "[{op: conv, channels: 8}, {op: linear}]\nrecipe: {lr: 9}": r"recipe has lr 9, and the space has none",
    }.items():  # fmt: skip
        with pytest.raises(SpaceError, match=message):
            match(space, parse("network: " + text, path="s.yaml"))


def test_match_refuses_what_a_tie_forbids():
    space = parse(
        "network:\n  - {name: a, op: conv, channels: !choice [8, 16]}\n"
        "  - {name: b, op: conv, channels: !same network.a.channels}\n"
    )
    other = "network: [{name: a, op: conv, channels: 8}, {name: b, op: conv, channels: 16}]"
    with pytest.raises(SpaceError, match=r"network\.b\.channels is 16, and network\.a\.channels"):
        match(space, parse(other))

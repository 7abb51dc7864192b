"""Files whose groups fit unscaled, scaled: widths follow the groups wherever they come from."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import ShapeError
from nas.models import build, cost
from nas.models.resolving import resolved
from nas.models.scaling import scale_channels
from nas.space import parse

HEAD: list[dict[str, Any]] = [{"op": "global_pool"}, {"op": "linear"}]
KNOWN: dict[str, Any] = {"classes": 10, "channels": 3, "size": 12}
WIDTHS = (0.5, 1.1, 1.2, 1.37, 2)


def conv(channels: int | str, groups: int = 1, **more: Any) -> dict[str, Any]:
    return {"op": "conv", "channels": channels, "groups": groups, **more}


def network(rows: list[dict[str, Any]], **scaling: float) -> Any:
    text = {"name": "t", "network": [*rows, *HEAD]}
    return parse(json.dumps({**text, "scaling": scaling} if scaling else text))


NODES = [[{"op": "conv_3x3", "from": "input"}], [{"op": "conv_3x3", "from": "input"}]]
SPLIT: dict[str, Any] = {"branches": [[conv(10)], [conv("x2")]]}
GROUPED = {
    "a relative row before": [conv(16), conv("x1.5"), conv(24, 3)],
    "a relative row itself": [conv(32), conv("x1.5", 16)],
    "relative rows in a chain": [conv(16), conv("x3"), conv("x1", 3), conv("x2", 6, repeat=2)],
    "a dense block": [conv(24), {"op": "dense_block", "layers": 3, "growth": 12}, conv(30, 15)],
    "a transition": [
        conv(24), {"op": "dense_block", "layers": 2, "growth": 12}, {"op": "transition"},
        conv(24, 12),
    ],
    "a graph": [conv(24), {"op": "dag", "width": 10, "nodes": NODES}, conv(20, 5)],
    "a concatenation": [conv(20), SPLIT, conv(25, 5)],
    "a concatenation with its input": [
        conv(20), {"branches": [[conv(10)], [{"op": "identity"}]]}, conv(30, 15)
    ],
    "a sum": [
        conv(12), {"branches": [[conv(12, 3)], [conv(12)], [{"op": "identity"}]], "join": "add"},
        {"op": "residual", "channels": 12, "groups": 4},
    ],
    "rows within rows": [
        conv(40), {"repeat": 2, "rows": [{"op": "max_pool"}, conv("x1", 5), conv(40)]},
    ],
    "a maxout": [conv(24), {"op": "maxout", "pieces": 3}, conv(8, 4)],
    "a depthwise row that multiplies": [
        conv(15), {"op": "depthwise", "channels": 30}, conv(9, 3)
    ],
    "a shuffle unit": [
        conv(24), {"op": "shuffle_unit", "channels": 240, "groups": 3, "stride": 2},
        {"op": "shuffle_unit", "channels": 240, "groups": 3}, conv(20, 5),
    ],
    "a bottleneck": [conv(24), {"op": "bottleneck", "channels": "x2", "groups": 3}, conv(32, 16)],
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPED)
def test_what_builds_unscaled_builds_at_every_width(name: str) -> None:
    assert cost(network(GROUPED[name]), **KNOWN).params > 0
    for width in WIDTHS:
        scaled = network(GROUPED[name], width=width)
        price = cost(scaled, **KNOWN)
        assert cost(resolved(scaled, 12, classes=10, channels=3), **KNOWN) == price
        model = build(scaled, **KNOWN).eval()
        assert model(torch.rand(1, 3, 12, 12)).shape == (1, 10)
        assert price.params == sum(each.numel() for each in model.parameters())


sizes = st.sampled_from([6, 10, 12, 15, 20, 24, 30, 36, 48, 60])
groups = st.sampled_from([1, 2, 3, 4, 5, 6, 8])
channels = st.one_of(sizes, st.sampled_from(["x1", "x2", "x1.5", "x3"]))
rows = st.one_of(
    st.builds(conv, channels, groups),
    st.builds(conv, channels, groups, repeat=st.just(2)),
    st.builds(lambda c, g: {"op": "residual", "channels": c, "groups": g}, channels, groups),
    st.builds(lambda n, g: {"op": "dense_block", "layers": n, "growth": g}, groups, sizes),
    st.just({"op": "transition"}),
    st.builds(lambda a, b: {"branches": [[conv(a)], [conv(b)]]}, channels, sizes),
    st.builds(lambda a, g: {"rows": [conv(a, g), {"op": "identity"}]}, channels, groups),
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(sizes, st.lists(rows, min_size=1, max_size=4), st.sampled_from(WIDTHS))
def test_groups_that_fit_fit_scaled(stem: int, behind: list[dict[str, Any]], width: float) -> None:
    plain = [conv(stem), *behind]
    try:
        cost(network(plain), **KNOWN)
    except ShapeError:
        return  # its groups do not fit in the first place
    cost(network(plain, width=width), **KNOWN)


def test_equal_channels_stay_equal() -> None:
    plain = [conv(24, name="a"), conv(24, 3, name="b"), conv(24, name="c"), conv(24, 8, name="d")]
    found = cost(network(plain, width=1.4), **KNOWN).rows
    assert len({row.shape[0] for row in found[:4]}) == 1


@pytest.mark.parametrize(
    ("channels", "width", "groups", "expected"),
    [
        (30, 1.1, 15, 30),  # 120 is the next multiple of 8 and 15
        (36, 1.0, 3, 36),
        (24, 1.1, 3, 24),
        (20, 1.5, 15, 30),
        (20, 1.8, 15, 45),  # 30 would be under 90 % of 36
        (128, 1.1, 3, 144),  # a multiple of 24 lies within a tenth of 140.8
        (12, 1.1, 4, 16),  # multiples of 8 are the paper's own
    ],
)
def test_widths_do_not_jump_to_multiples_of_8_and_the_groups(
    channels: int, width: float, groups: int, expected: int
) -> None:
    assert scale_channels(channels, width, groups) == expected
    assert expected % groups == 0 and expected >= 0.9 * channels * width


def test_scaled_widths_stay_near_what_is_asked() -> None:
    for number in range(1, 40):
        for multiple in (3, 5, 6, 7, 12, 15):
            channels = number * multiple
            for width in WIDTHS:
                found, exact = scale_channels(channels, width, multiple), channels * width
                assert found % multiple == 0 and found >= 0.9 * exact
                assert found < max(1.1 * exact, exact + 1.1 * multiple, multiple + 0.1)
                assert found == channels * width or math.lcm(8, multiple) != multiple


def test_depth_alone_leaves_widths() -> None:
    rows = [conv(16, name="a", repeat=1), conv("x1.5", name="b"), conv(24, 3, name="c", repeat=2)]
    plain, deeper = cost(network(rows), **KNOWN), cost(network(rows, depth=2), **KNOWN)
    assert [row.shape for row in plain.rows] == [row.shape for row in deeper.rows]


def test_what_cannot_follow_says_row_and_scaling() -> None:
    rows = [conv(3), {**conv(4), "name": "c", "connections": [[0], [1], [2], [0, 1]]}]
    with pytest.raises(ShapeError, match=r"row 'c' .*4 lists.*\(scaling: \{width: 1\.2\}\)"):
        cost(network(rows, width=1.2), **KNOWN)


def test_a_width_that_would_fit_is_named() -> None:
    block = {"op": "dense_block", "layers": 2, "growth": 12}
    rows = [conv(24), block, conv(32, 16, name="g")]
    with pytest.raises(ShapeError) as caught:
        cost(network(rows, depth=1.5), **KNOWN)
    said = re.search(
        r"row 'g' \(conv\): groups 16 must divide its 60 input .*; width ([\d.]+) would fit$",
        str(caught.value),
    )
    assert said and cost(network(rows, depth=1.5, width=float(said[1])), **KNOWN).params > 0
    with pytest.raises(ShapeError) as caught:
        build(network(rows, depth=1.5), **KNOWN)
    assert str(caught.value) == said.string

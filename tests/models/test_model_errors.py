"""Rows that do not fit are refused with file:line, row, shapes and what would fit, by build and
by cost in the same words.
"""

from __future__ import annotations

from typing import Any

import pytest

from nas.errors import SpaceError, UnknownName, UserError
from nas.models import build, cost
from nas.space import parse

HEADER = "name: broken\nnetwork:\n"  # the rows start on line 3
POOLS = "{branches: [[{op: max_pool}], [{op: avg_pool}]]}"
HEAD = "  - {op: global_pool}\n  - {op: linear}\n"


def refused(rows: str, *, size: Any = 32, channels: int = 3) -> str:
    architecture = parse(HEADER + rows, path="broken.yaml")
    said = []
    for verb in (build, cost):
        with pytest.raises(UserError) as caught:
            verb(architecture, classes=10, channels=channels, size=size)
        assert caught.value.exit_code == 2
        said.append(str(caught.value))
    assert said[0] == said[1]
    return said[0]


def test_an_image_too_small_for_the_strides_names_the_smallest_that_fits() -> None:
    halving = "  - {name: a, op: conv, channels: 8, stride: 2}\n"
    rows = halving + halving.replace("a,", "b,") + halving.replace("a,", "c,") + HEAD
    assert refused(rows, size=4) == (
        "broken.yaml:5: row 'c' (conv): its input is 1x1, which stride 2 would bring under "
        "one pixel; the image is 4x4: at least 5x5 fits, or take out a stride or a pool"
    )
    architecture = parse(HEADER + rows)
    assert cost(architecture, classes=10, channels=3, size=5).rows[2].shape == (8, 1, 1)


@pytest.mark.parametrize(
    ("row", "size", "smallest"),
    [
        ("{op: max_pool, kernel: 3}", 2, "3x3"),
        ("{op: conv, channels: 4, kernel: 7, padding: valid}", 5, "7x7"),
        ("{op: conv, channels: 4, kernel: [1, 7], padding: valid}", (6, 5), "1x7"),
        ("{op: conv, channels: 4, kernel: [41, 3]}", 32, "41x3"),
        ("{repeat: 3, rows: [{op: max_pool, kernel: [2, 1]}]}", 7, "8x1"),
        ("{op: conv, channels: 4, kernel: 5, dilation: 3}", 12, "13x13"),
        ("{op: dag, width: 4, nodes: [[{op: dil_conv_3x3, from: input}]]}", 4, "5x5"),
        ("{op: stem, kind: imagenet, channels: 4}", 1, "7x7"),
        ("{op: conv, channels: 4, kernel: 600, padding: valid}", 500, "600x600"),
        ("{op: conv, channels: 4, kernel: 9}", 8, "9x9"),
        ("{op: residual, channels: 4, kernel: 5}", (5, 4), "5x5"),
        ("{op: dag, width: 4, nodes: [[{op: sep_conv_7x7, from: input}]]}", 6, "7x7"),
    ],
)
def test_the_smallest_image_named_is_the_smallest_that_fits(
    row: str, size: Any, smallest: str
) -> None:
    rows = f"  - {row}\n{HEAD}"
    assert f"at least {smallest} fits" in refused(rows, size=size)
    height, width = map(int, smallest.split("x"))
    cost(parse(HEADER + rows), classes=10, channels=3, size=(height, width))
    for side in ((height - 1, width), (height, width - 1)):
        refused(rows, size=side) if min(side) else None


def test_a_kernel_may_be_larger_than_a_map_but_not_than_the_image() -> None:
    rows = "  - {op: max_pool}\n  - {op: max_pool}\n  - {op: conv, channels: 4, kernel: 7}\n"
    cost(parse(HEADER + rows + HEAD), classes=10, channels=3, size=8)  # on a map of 2x2
    assert refused(rows + HEAD, size=6) == (
        "broken.yaml:5: row 'conv' (conv): kernel 7x7 is larger than the image; the image is 6x6: "
        "at least 7x7 fits, or take a smaller kernel"
    )


def test_a_window_that_no_image_fits_is_refused_without_a_suggestion() -> None:
    text = refused(f"  - {{op: conv, channels: 4, kernel: 5000, padding: valid}}\n{HEAD}")
    assert "too small for kernel 5000" in text
    assert "at least" not in text


@pytest.mark.parametrize(
    ("row", "line", "named"),
    [
        ("{name: a, op: conv, channels: x2}", 3, "'a' (conv)"),
        ("{op: residual, channels: x1, repeat: 2}", 3, "'residual' (residual)"),
        ("{rows: [{op: pointwise, channels: x4}]}", 3, "'pointwise' (pointwise)"),
        ("branches:\n      - [{op: conv, channels: 4}]\n      - [{op: conv, channels: x1}]", 5,
         "'conv' (conv)"),
        ("{op: max_pool}\n  - {name: b, op: conv, channels: x2}", 4, "'b' (conv)"),
        (f"{POOLS}\n  - {{op: conv, channels: x2}}", 4, "'conv' (conv)"),
        (f"{{rows: [{POOLS}, {POOLS}]}}\n  - {{op: conv, channels: x2}}", 4, "'conv' (conv)"),
        ("{op: transition}\n  - {op: conv, channels: x2}", 4, "'conv' (conv)"),
        ("{op: flatten}\n  - {op: linear, channels: x2}", 4, "'linear_1' (linear)"),
    ],
)  # fmt: skip
def test_relative_channels_of_the_image_are_refused(row: str, line: int, named: str) -> None:
    text = refused(f"  - {row}\n{HEAD}")
    assert text.startswith(f"broken.yaml:{line}: row {named}: channels x")
    assert "state a number, such as channels: 16" in text


@pytest.mark.parametrize(
    "row",
    [
        f"{{branches: [[{POOLS}, {{op: conv, channels: 8}}], [{{op: max_pool}}]]}}",
        "{rows: [{op: max_pool}, {op: conv, channels: 8}]}",
        "{op: dense_block, layers: 2, growth: 8}",
        "{op: dag, width: 8, nodes: [[{op: skip, from: input}]]}",
    ],
)
def test_relative_channels_of_a_width_that_some_row_set_are_taken(row: str) -> None:
    rows = f"  - {row}\n  - {{op: conv, channels: x2}}\n{HEAD}"
    cost(parse(HEADER + rows), classes=10, channels=3, size=32)


def test_a_dilated_kernel_counts_with_its_gaps() -> None:
    row = "  - {name: a, op: conv, channels: 4, kernel: 7, dilation: 10}\n"
    assert refused(row + HEAD, size=28) == (
        "broken.yaml:3: row 'a' (conv): kernel 7x7 with dilation 10 spans 61x61, which is larger "
        "than the image; the image is 28x28: at least 61x61 fits, or take a smaller kernel or "
        "dilation"
    )
    assert "kernel 7 with dilation 10, which spans 61x61," in refused(
        row.replace("10}", "10, padding: valid}") + HEAD, size=28
    )
    cost(parse(HEADER + row + HEAD), classes=10, channels=3, size=61)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{op: conv, channels: 4, padding: 4}", "padding 4x4 may be at most 3x3, what its kernel"),
        ("{op: conv, channels: 4, kernel: [3, 5], padding: [4, 5]}", "padding 4x5 may be at most"),
        ("{op: conv, channels: 1000000000000000}", "channels are more than a layer may have"),
        ("{op: bottleneck, channels: 64, width: 2000000}", "2,000,000 channels are more than"),
        ("{op: transposed_conv, channels: 2000000}", "2,000,000 channels are more than"),
        ("{op: conv, channels: 2}\n  - {op: conv, channels: x1000}\n"
         "  - {op: conv, channels: x1000}", "2,000,000 channels are more than"),
        ("{repeat: 1000, rows: [{op: conv, channels: 4, repeat: 1000}]}",
         "the network has 1,000,002 repetitions of rows and layers, and may have 10,000: lower "
         "the repeats of row 'rows'"),
        ("{op: dense_block, layers: 20000, growth: 4}", "20,002 repetitions of rows and layers"),
    ],
)  # fmt: skip
def test_what_is_out_of_all_proportion_is_refused(row: str, words: str) -> None:
    assert words in refused(f"  - {row}\n{HEAD}")


def test_a_padding_as_wide_as_the_kernel_is_taken() -> None:
    row = "  - {op: conv, channels: 4, kernel: 1, padding: 1}\n"  # SqueezeNet's last one in Caffe
    assert cost(parse(HEADER + row + HEAD), classes=10, channels=3, size=8).rows[0].shape[1] == 10


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{name: a, op: transposed_conv, channels: 4, kernel: 4, repeat: 3}",
         "row 'a' (transposed_conv), repetition 2: kernel 4 cannot keep the size at stride 1"),
        ("{name: a, op: conv, channels: 4, kernel: 5, padding: valid, repeat: 9}",
         "row 'a' (conv), repetition 8: its input is 4x4"),
        ("{name: a, op: conv, channels: 4, groups: 2, repeat: 3}", "row 'a' (conv): groups 2 must"),
        ("{name: n, repeat: 2, rows: [{name: a, op: conv, channels: 12, groups: 3},"
         " {op: conv, channels: 8}]}", "row 'a' (conv), in repetition 2 of 'n': groups 3 must"),
        ("{name: n, repeat: 4, rows: [{name: a, op: avg_pool, kernel: 3, stride: 1, repeat: 6}]}",
         "row 'a' (avg_pool), repetition 4, in repetition 3 of 'n': its input is 2x2"),
        ("{name: n, repeat: 2, rows: [{name: a, op: branches, branches: "
         "[[{op: conv, channels: 3, stride: 2}], [{op: avg_pool}]]}]}",
         "row 'a' (branches), in repetition 2 of 'n': its branches end with 3x16x16, 6x8x8"),
    ],
)  # fmt: skip
def test_the_repetition_that_does_not_fit_is_named(row: str, words: str) -> None:
    channels = 12 if "8}]" in row else 3
    assert words in refused(f"  - {row}\n{HEAD}", channels=channels)


def test_a_depthwise_row_says_what_its_channels_may_be() -> None:
    rows = "  - {name: a, op: conv, channels: 8}\n  - {op: depthwise, channels: 20}\n"
    assert refused(rows + HEAD) == (
        "broken.yaml:4: row 'depthwise' (depthwise): channels 20 must be a multiple of its 8 input "
        "channels, such as 16; a pointwise row behind it may have any number"
    )


def test_groups_that_do_not_divide_are_answered_with_those_that_do() -> None:
    rows = "  - {name: a, op: conv, channels: 12}\n"
    rows += f"  - {{name: b, op: conv, channels: 18, groups: 4}}\n{HEAD}"
    assert refused(rows) == (
        "broken.yaml:4: row 'b' (conv): groups 4 must divide its 12 input and 18 output channels; "
        "groups that do: 1, 2, 3, 6"
    )


def test_a_linear_layer_on_a_map_is_told_of_flatten_and_global_pool() -> None:
    text = refused("  - {op: conv, channels: 8}\n  - {op: linear}\n")
    assert text.startswith("broken.yaml:4: row 'linear' (linear): takes a vector")
    assert "8x32x32" in text
    assert "{op: global_pool} or {op: flatten}" in text


@pytest.mark.parametrize("op", ["conv, channels: 8", "max_pool", "global_pool"])
def test_an_image_operator_behind_a_vector_is_refused(op: str) -> None:
    text = refused(
        f"  - {{op: flatten}}\n  - {{op: {op}}}\n{HEAD.replace('global_pool', 'dropout')}"
    )
    assert "needs an image, but its input is a vector of 3072 values" in text


@pytest.mark.parametrize("op", ["residual, channels: 8", "bottleneck, channels: 8"])
def test_cells_and_norms_behind_a_vector_are_refused(op: str) -> None:
    assert "vector of 3072" in refused(
        f"  - {{op: flatten}}\n  - {{op: {op}}}\n  - {{op: linear}}\n"
    )
    assert "vector of 3072" in refused("  - {op: flatten}\n  - {op: norm_act}\n  - {op: linear}\n")


def test_a_network_without_a_classifier_is_refused() -> None:
    text = refused("  - {op: conv, channels: 8}\n  - {op: global_pool}\n")
    assert text.startswith(
        "broken.yaml:4: the network ends with 8x1x1, but the data have 10 classes"
    )


def test_an_even_kernel_beside_a_shortcut_is_refused() -> None:
    text = refused(f"  - {{op: residual, channels: 8, kernel: 4}}\n{HEAD}")
    assert "row 'residual' (residual): kernel 4 would change the size" in text


def test_an_expansion_that_leaves_no_channel_is_refused() -> None:
    text = refused(f"  - {{op: bottleneck, channels: 2, expansion: 4}}\n{HEAD}")
    assert "expansion 4 leaves nothing of 2 channels" in text


def test_padding_over_half_a_pools_kernel_is_refused() -> None:
    text = refused(f"  - {{op: avg_pool, kernel: 3, padding: 2}}\n{HEAD}")
    assert "padding 2 may be at most half the kernel, 1" in text


@pytest.mark.parametrize("name", ["train", "half", "forward", "training"])
def test_a_row_name_that_torch_uses_is_refused(name: str) -> None:
    text = refused(f"  - {{name: {name}, op: conv, channels: 8}}\n{HEAD}")
    assert text.startswith(f"broken.yaml:3: row name {name!r}")


def test_an_unknown_size_is_asked_for() -> None:
    assert "pass size=32, or write input: {size: 32}" in refused(HEAD, size=None)
    assert "0x0" in refused(HEAD, size=0)


def test_an_unknown_operator_suggests_the_nearest() -> None:
    with pytest.raises((UnknownName, SpaceError), match="'residual'"):
        build(parse(HEADER + "  - {op: residul}\n" + HEAD), classes=10, channels=3, size=8)


def test_branches_of_different_sizes_name_them() -> None:
    rows = (
        "  - {name: mix, branches: [[{op: conv, channels: 8}],\n"
        "      [{op: conv, channels: 16, stride: 2}]]}\n"
    ) + HEAD
    assert refused(rows) == (
        "broken.yaml:3: row 'mix' (branches): its branches end with 8x32x32, 16x16x16: to concat "
        "they must agree in height and width; give them the same strides and 'same' padding"
    )


def test_a_misfit_within_rows_names_the_inner_row_and_its_line() -> None:
    rows = (
        "  - name: mix\n"
        "    branches:\n"
        "      - [{op: conv, channels: 8}]\n"
        "      - - {op: pointwise, channels: 6}\n"
        "        - {name: odd, op: conv, channels: 8, groups: 4}\n"
    ) + HEAD
    assert refused(rows).startswith("broken.yaml:7: row 'odd' (conv): groups 4 must divide")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"classes": 0}, "classes is 0, and must be a whole number of at least 1"),
        ({"classes": 2.5}, "classes is 2.5"),
        ({"channels": -1}, "channels is -1"),
    ],
)
def test_build_checks_what_it_is_called_with(what: dict[str, Any], words: str) -> None:
    architecture = parse(HEADER + HEAD, path="fine.yaml")
    with pytest.raises(UserError, match=words):
        build(architecture, **{"classes": 10, "channels": 3, "size": 8, **what})


def test_build_refuses_a_space_and_a_name() -> None:
    space = parse(HEADER + "  - {op: conv, name: a, channels: !choice [8, 16]}\n" + HEAD)
    with pytest.raises(UserError, match="not a space: fill it first"):
        build(space, classes=10, channels=3, size=8)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not 'tiny'"):
        build("tiny", classes=10, channels=3, size=8)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", ["8", (8,), 8.5, (8, 8, 8)])
def test_build_checks_the_size(size: Any) -> None:
    with pytest.raises(UserError, match="32 or \\(height, width\\)"):
        build(parse(HEADER + HEAD), classes=3, channels=3, size=size)


def test_branches_of_maps_and_vectors_are_told_apart() -> None:
    text = refused(
        "  - {name: b, branches: [[{op: conv, channels: 4}], [{op: flatten}]]}\n"
        "  - {op: global_pool}\n  - {op: linear}\n"
    )
    assert "a vector of 3072 values: to concat they must all be maps or all flattened" in text

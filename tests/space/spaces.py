"""Random spaces for property tests: files with every kind of hole, of layout and of nesting."""
# ruff: noqa: E501  (files and messages are compared whole, one to a line)

from __future__ import annotations

from hypothesis import strategies as st

CHANNELS = st.sampled_from(
    [
        "8",
        "x1",
        "x0.5",
        "!choice [8, 16, x2]",
        "!int [8, 32, 8]",
        "!int [1, 64]",
        "!int {low: 1, high: 64, log: true}",
        "!choice {few: 8, many: !int [16, 32, 16]}",
    ]
)
KERNELS = st.sampled_from(
    ["3", "!choice [1, 3, 5]", "[1, !choice [3, 5]]", "!choice {w: [1, 3], h: [3, 1]}"]
)
RATIOS = st.sampled_from(
    ["0", "!choice [0, 0.25]", "!float [0.1, 0.5]", "!choice [0, {on: !float {low: 0.1, high: 0.3, step: 0.1}}]",
     "{ratio: !choice [0.5, 0.25], of: gated}", "!choice [0, {long: {ratio: !float [0.1, 1], act: !choice [relu, silu]}}]"]
)  # fmt: skip
REPEATS = st.sampled_from(["1", "2", "!int [1, 3]", "!choice [1, 3]", "!choice {one: 1, two: 2}"])
OPS = st.sampled_from(
    [
        "residual",
        "bottleneck",
        "!choice [residual, bottleneck]",
        "!choice [residual, {bottleneck: {expansion: !choice [4, 2]}}]",
        "!choice {residual: {}, bottleneck: {expansion: !int [1, 4], groups: 1}}",
        "{bottleneck: {expansion: !choice [1, 2]}}",
    ]
)


@st.composite
def rows(draw, name: str, depth: int = 0):
    """The keys of one row, as pairs of texts, in any order."""
    pairs = {"op": draw(OPS), "channels": draw(CHANNELS)}
    if draw(st.booleans()):
        pairs["se"] = draw(RATIOS)
    if draw(st.booleans()):
        pairs["stride"] = draw(st.sampled_from(["1", "2", "!choice [1, 2]"]))
    if draw(st.booleans()):
        pairs["repeat"] = draw(REPEATS)
        if draw(st.booleans()):
            pairs["untied"] = draw(st.sampled_from(["true", "false"]))
    if depth < 2 and draw(st.integers(0, 4)) == 0:
        inner = [draw(rows(f"in{k}", depth + 1)) for k in range(draw(st.integers(1, 2)))]
        flows = ", ".join(inner)
        kept = {key: pairs[key] for key in ("repeat", "untied") if key in pairs}
        kind = draw(st.sampled_from(["rows", "branches", "small"]))
        if kind == "rows":
            pairs = {"rows": f"[{flows}]", **kept}
        elif kind == "branches":
            pairs = {
                "branches": f"[[{flows}], [{{op: max_pool, kernel: 3}}]]",
                "join": "!choice [add, concat]",
                **kept,
            }
        else:
            pairs = {"rows": f"!choice {{small: [{{op: flatten}}], large: [{flows}]}}", **kept}
    order = draw(st.permutations(list(pairs)))
    return "{" + ", ".join([f"name: {name}", *(f"{key}: {pairs[key]}" for key in order)]) + "}"


def _block(row: str, indent: str) -> str:
    """A flow row as a block, split at its outer commas, with a comment behind each key."""
    parts, level, last = [], 0, 1
    for k, letter in enumerate(row):
        level += (letter in "[{") - (letter in "]}")
        if (letter == "," and level == 1) or k == len(row) - 1:
            parts.append(row[last:k].strip())
            last = k + 1
    return f"\n{indent}  ".join(f"{part}  # note, with {{: }}" for part in parts)


@st.composite
def space_texts(draw):
    """The text of a space with one to three rows of holes, ties, a recipe and comments."""
    lines = ["# a space", "name: random", "network:"]
    names = []
    for k in range(draw(st.integers(1, 3))):
        name = f"r{k}"
        row = draw(rows(name))
        names.append(name)
        lines.append("  - " + (_block(row, "  ") if draw(st.booleans()) else row + "  # tail"))
    if draw(st.booleans()):
        kernel, channels = draw(KERNELS), draw(CHANNELS)
        ties = ("channels: !same network.l.channels", "kernel: !same network.k.kernel")
        lines.append(f"  - {{name: k, op: conv, {ties[0]}, kernel: {kernel}}}")
        lines.append(f"  - {{name: l, op: conv, channels: {channels}, {ties[1]}}}")
    lines += ["  - op: global_pool", "  - {op: linear}"]
    if draw(st.booleans()):
        lines += ["defaults: {act: !choice [relu, silu]}"]
    lines += ["recipe:", "  # lr first", "  lr: !log [1e-6, 1]"]
    optimizers = [
        "sgd",
        "!choice [sgd, adamw]",
        "!choice [{sgd: {momentum: !float [0, 0.9]}}, adamw]",
    ]
    lines += [f"  optimizer: {draw(st.sampled_from(optimizers))} # which"]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return newline.join(lines) + draw(st.sampled_from(["", newline]))

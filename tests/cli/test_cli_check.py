"""`nas spaces --check`: what is wrong with a space that reads well."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.api.checking import check
from nas.plugins import load_plugins
from nas.space import shipped

UNIT = "  - {name: b, op: bottleneck, channels: 16, width: 8, expansion: !int [2, 4]}\n"
HEAD = "  - {op: global_pool}\n  - {op: linear}\n"
START = "name: mine\ninput: {size: 32, channels: 3, classes: 10}\nnetwork:\n"
CONV = "  - {name: a, op: conv, channels: !choice [8, 16], kernel: 3}\n"  # line 4
LIMITED = START + CONV + HEAD + "limits: {params: 1k, macs: 900M}\n"
LOCAL = [  # the text, the level, the line, what is said
    (START + CONV.replace("8, 16", "12, 16") + HEAD + "limits: {params: 450}\n", "error", 7,
     "of 2,000 draws none keeps within the limits; the tightest is limits.params 450, and the "
     "smallest network drawn has 478"),
    (START + CONV.replace("[8, 16]", "{options: [8, 64], default: 64}") + HEAD
     + "limits: {params: 1k}\n", "error", 7,
     "the default network has params 2,506, over limits.params 1,000"),
    (START + CONV.replace("!choice [8, 16]", "!int {low: 8, high: 48, default: 8}") + HEAD
     + "limits: {params: 330}\n", "warning", 7, "% keep within the limits; the tightest is"),
    (START + CONV + HEAD + "limits: {latency: 5}\n", "error", 7, "latency is not measured yet"),
    (START + CONV.replace("kernel: 3", "stride: !choice [40, 41], padding: valid, kernel: 41")
     + HEAD, "error", 4, "100 % of 2,000 draws do not build; the commonest fault: row 'a'"),
    (START + CONV.replace("kernel: 3", "kernel: !choice [3, 33], padding: valid") + HEAD,
     "warning", 4, "at least 33x33 fits"),
    (START + CONV + HEAD + "defaults: {order: !choice [post, pre]}\n", None, None, ""),
    (START + "  - {name: a, op: stem, channels: 8, kind: !choice [auto, small]}\n" + HEAD,
     "warning", 4, "network.a.kind never changes the network, on images of 32x32: take it out"),
    (START + "  - {name: a, op: stem, channels: 8, kind: !choice [auto, imagenet, small]}\n" + HEAD,
     "warning", 4, "network.a.kind: the options 'auto' and 'small' spell the same network"),
    (START + CONV + UNIT + HEAD, "warning", 5, "network.b.expansion never changes the network"),
    (START + CONV + "  - {name: b, op: residual, channels: x1, zero_init: !choice [false, true]}\n"
     + HEAD, None, None, ""),
    (START + CONV + "  - {name: b, op: conv, channels: x1, act: !choice [silu, hardswish]}\n"
     + HEAD, None, None, ""),
    (START + CONV + "  - {name: b, op: conv, channels: !choice [x1, 32]}\n" + HEAD, None, None, ""),
    (START + CONV.replace("!choice [8, 16]", "!int [8, 8]") + HEAD, "warning", 4,
     "network.a.channels can be 8 alone"),
    (START + CONV + HEAD + "scaling: {depth: !choice [1.0, 1.5], width: 1.0}\n", "warning", 7,
     "scaling.depth never changes the network"),
    (START + CONV + HEAD + "scaling: {phi: 1, alpha: 1, beta: !choice [1.2, 1.3, 2], gamma: 1}\n",
     "warning", 7, "the options 1.2 and 1.3 spell the same network"),
    (START + CONV + HEAD + "recipe: {optimizer: adamw, nesterov: !choice [true, false]}\n",
     "warning", 7, "recipe.nesterov means nothing to adamw"),
    (START + CONV + HEAD + "recipe: {patience: 0, smoothing: !float [0, 0.9]}\n",
     "warning", 7, "recipe.smoothing means nothing with patience 0"),
    (START + CONV + HEAD + "recipe: {epochs: 5, patience: !int [4, 20]}\n", "warning", 7,
     "cannot end 5 epochs early: lower it to 3 or less, or train longer"),
    (START + CONV + HEAD + "recipe: {epochs: 5, patience: !int [3, 20]}\n", None, None, ""),
    (START + CONV + HEAD + "recipe: {epochs: 5}\n", None, None, ""),  # ten by default
    (START + CONV + HEAD + "recipe: {epochs: 6, warmup_epochs: !choice [4, 5]}\n", "warning", 7,
     "is more than the 50% of 6 epochs that a warm-up may take"),
    (START + CONV + HEAD.replace("linear", "linear, channels: 10")
     + "recipe: {dropout: !float [0.1, 0.5]}\n", "warning", 7, "is put before the classifier"),
    (START + CONV + HEAD + "limits: {params: 5M}\n", "info", 7,
     "limits.params 5,000,000 keeps none of 2,000 draws out: the largest has 634"),
    (START + CONV.replace("kernel: 3", "kernel: 1, dilation: !choice [1, 2]") + HEAD,
     "warning", 4, "network.a.dilation never changes the network"),
    (START + CONV.replace("kernel: 3", "kernel: [1, 3], dilation: !choice [1, 2]") + HEAD,
     None, None, ""),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(LOCAL)))
def test_a_finding_is_one_sentence_with_its_line(case, nas, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, level, line, said = LOCAL[case]
    Path("mine.yaml").write_text(text)
    found = nas("spaces", "--check", "./mine.yaml", "--json")
    wanted = [f for f in found.json["findings"] if said and said in f["message"]]
    if level is None:
        assert found.json["findings"] == []
        return
    assert [f["level"] for f in wanted] == [level], found.json["findings"]
    assert wanted[0]["where"] == f"mine.yaml:{line}"
    assert found.code == (2 if found.json["errors"] else 0)
    told = nas("spaces", "--check", "./mine.yaml")
    assert told.code == found.code
    lines = len(found.json["findings"]) + (level == "info")  # and one that nothing is wrong
    assert len(told.out.splitlines()) == lines, "a line each"
    assert f"mine.yaml:{line}: {level}: {wanted[0]['message']}" in told.out


ROW = "  - {name: b, %s}\n"
DEAD = [  # rows behind a convolution of 32x32, whose hole says nothing there
    "op: conv, channels: x1, padding: !choice [same, same_tf]",
    "op: conv, channels: x1, padding: !choice [same, 1]",
    "op: conv, channels: x1, kernel: 1, padding: !choice [same, valid]",
    "op: max_pool, ceil: !choice [false, true]",
    "op: avg_pool, count_padding: !choice [true, false]",
    "op: identity, repeat: !int [1, 4]",
    "op: dropout, rate: 0, repeat: !int [1, 3]",
    "op: activation, act: !choice [relu, none]",
    "op: adaptive_pool, size: 32, kind: !choice [avg, max]",
    "op: residual, channels: x1, shortcut: !choice [project, pad]",
    "op: residual, channels: x1, drop_path: 0.5, repeat: 2, shortcut: !choice [project, pad]",
]
ALIVE = [
    "op: conv, channels: x1, stride: 2, padding: !choice [same, same_tf]",
    "op: max_pool, kernel: 3, ceil: !choice [false, true]",
    "op: max_pool, kernel: !choice [2, 3], ceil: !choice [false, true]",  # with one of them
    "op: avg_pool, kernel: 3, padding: 1, count_padding: !choice [true, false]",
    "op: dropout, rate: !float [0, 0.01]",
    "op: residual, channels: x1, drop_path: !choice [0, 0.2]",
    "op: residual, channels: x1, se: {ratio: 0.25, gate: !choice [sigmoid, hardsigmoid]}",
    "op: conv, channels: x1, act: !choice [relu, relu6]",
    "op: conv, channels: x1, norm: none, act: !choice [relu, relu6]",
    "op: conv, channels: x1, norm: {kind: batch, eps: !choice [1e-5, 1e-3]}",
    "op: conv, channels: x1, norm: {kind: batch, momentum: !choice [0.1, 0.01]}",
    "op: aux_head, weight: !choice [0.3, 0.4]",
    "op: fractional_max_pool, ratio: !choice [1.5, 1.4]",
    "op: lrn, alpha: !choice [1e-4, 2e-4]",
]


@pytest.mark.parametrize("row", DEAD)
def test_a_hole_that_changes_nothing_is_found(row, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(START + CONV + ROW % row + HEAD)
    (found,) = check(str(file), {})["findings"]
    assert found["level"] == "warning" and found["where"] == f"{file}:5"
    assert "never changes the network, on images of 32x32" in found["message"]


@pytest.mark.parametrize("row", ALIVE)
def test_a_hole_that_changes_something_is_left_alone(row, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(START + CONV + ROW % row + HEAD)
    assert check(str(file), {})["findings"] == []


OWN_FLOAT32 = '''
import torch

from nas.models import operator


@operator("own_float32")
class OwnFloat32(torch.nn.Module):
    """Adds a constant of its own, which does not follow the network to float64."""

    def __init__(self, in_channels: int, level: int = 1) -> None:
        super().__init__()
        self.level, self.constant = level, torch.ones(in_channels, in_channels, 1, 1)

    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.constant * self.level)

    @staticmethod
    def cost(tally, level):
        pass
'''


def test_an_operator_of_ones_own_that_does_not_run_everywhere_stops_no_check(tmp_path):
    (tmp_path / "own_float32.py").write_text(OWN_FLOAT32)
    load_plugins([tmp_path / "own_float32.py"])
    file = tmp_path / "mine.yaml"
    row = ROW % "op: own_float32, level: !choice [1, 2]"
    dead = ROW.replace("b,", "c,") % "op: activation, act: !choice [relu, none]"
    file.write_text(START + CONV + row + dead + HEAD)
    assert check(str(file), {})["findings"] == []


def test_two_holes_that_spell_the_same_are_found(nas, tmp_path):
    file = tmp_path / "twins.yaml"
    row = "  - {name: b, repeat: !int [1, 3], rows: [{op: conv, channels: 8, repeat: !int [1, 3]}]}"
    file.write_text(START + CONV + f"{row}\n" + HEAD)  # a · b convolutions, one after the other
    found = nas("spaces", "--check", file, "--json").json["findings"]
    assert [finding["level"] for finding in found] == ["warning"]
    assert found[0]["message"].startswith(
        "network.b.repeat and network.b.conv.repeat can be swapped without changing the network"
    )
    pooled = row.replace("}]}", "}, {op: max_pool}]}")
    file.write_text(START + CONV + f"{pooled}\n" + HEAD)
    assert nas("spaces", "--check", file, "--json").json["findings"] == []


LONG = {"nasnet_cells"}  # as long as half of the others together


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in sorted(path.stem for path in shipped().glob("*.yaml"))
    ],
)
def test_the_shipped_spaces_are_clean(name, nas):
    found = nas("spaces", "--check", name, "--json")
    assert found.code == 0
    # a space may refuse draws by a rule of its own, such as that of compound scaling
    rest = [f for f in found.json["findings"] if f["level"] != "info"]
    assert rest == []
    infos = ("growth", "draws out: the largest has")
    assert all(any(word in f["message"] for word in infos) for f in found.json["findings"])


def test_an_unknown_file_is_refused_as_everywhere(nas, tmp_path):
    told = nas("spaces", "--check", "resnet_cell")
    assert (told.code, told.out) == (2, "") and "did you mean 'resnet_cells'" in told.err
    told = nas("spaces", "--check", tmp_path / "mine.yaml")
    assert (told.code, told.out) == (2, "") and "there is no such file" in told.err


FAULTY = """\
name: mine
inputs: {size: 32}
network:
  - {name: a, op: convv, channels: !choice [8, 16]}
  - {name: b, op: conv, channels: 8, kernal: 3}
  - {name: c, op: conv, channels: !same network.a.chanels}
  - {name: d, op: conv, channels: !chioce [8, 16], kernel: 0}
  - {name: a, op: conv, channels: 8}
  - {op: global_pool}
  - {op: linear}
recipe: {optimizer: adm, lrr: 0.1}
limits: {params: 5X, mac: 5M}
"""
FAULTS = [
    "2: error: unknown top-level key 'inputs'; did you mean 'input'?",
    "4: error: network.a has the unknown operator 'convv'; did you mean 'conv'?",
    "5: error: network.b: conv takes no 'kernal'; did you mean 'kernel'?",
    "6: error: network.c.channels: !same names 'network.a.chanels', which is no value of this file",
    "7: error: unknown tag !chioce; write !choice",
    "7: error: network.d.kernel is 0, which must be a whole number of at least 1",
    "8: error: network: the name a is taken by the row in line 4",
    "11: error: recipe.optimizer is 'adm', which must be one of sgd, adamw; did you mean 'adamw'?",
    "11: error: unknown recipe key 'lrr'; did you mean 'lr'?",
    "12: error: limits.params: '5X' must be a number, with k, M or G",
    "12: error: limits has the unknown key 'mac'; did you mean 'macs'?",
]


def test_every_fault_of_the_grammar_is_told_at_once(nas, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(FAULTY)
    told = nas("spaces", "--check", "./mine.yaml")
    assert told.code == 2
    lines = told.out.splitlines()
    for fault in FAULTS:
        assert [line for line in lines if line.startswith(f"mine.yaml:{fault}")], (fault, lines)
    assert len(lines) == len(FAULTS), lines
    found = nas("spaces", "--check", "./mine.yaml", "--json").json
    assert found["errors"] == len(FAULTS) and found["input"] is None
    stopped = nas("spaces", "./mine.yaml")
    assert stopped.code == 2 and len(stopped.err.splitlines()) == 1, "others stop at the first"

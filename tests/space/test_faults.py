"""One table: what a user may write wrong, and the one clear sentence that answers."""
# ruff: noqa: E501  (files and messages are compared whole, one to a line)

import re

import pytest

from nas.errors import SpaceError, UnknownName, UserError
from nas.space import faults_of, fill, find, load, parse, require_architecture

HEAD = "network:\n"
TAIL = "  - {op: global_pool}\n  - {op: linear}\n"


def net(*rows: str) -> str:
    return HEAD + "".join(f"  - {row}\n" for row in rows) + TAIL


CONV = "{name: a, op: conv, channels: 8}"

FAULTS = {
    # the file
    "empty": ("", r"s\.yaml: the file is empty; a space holds at least"),
    "only a comment": ("# nothing\n", r"s\.yaml: the file is empty"),
    "a list": ("- a\n", r"s\.yaml:1: the file holds a list; a space is a mapping"),
    "a word": ("abc\n", r"s\.yaml:1: the file holds a single value"),
    "no network": ("name: a\n", r"s\.yaml:1: there is no 'network'"),
    "unknown top key": (net(CONV) + "recipy: {}\n", r":5: unknown top-level key 'recipy'; did you mean 'recipe'\?"),
    "duplicate key": ("name: a\nname: b\n", r":2: the key 'name' stands here and in line 1"),
    "syntax, flow": ("network: [{op: conv\n", r":2: not YAML: expected ',' or '}'"),
    "syntax, tab": ("a:\n\tb: 1\n", r":2: not YAML: found character '\\t'"),
    "syntax, quote": ("a: 'x\n", r":2: not YAML: .*end of stream"),
    "syntax, colon": ("a: b: c\n", r":1: not YAML: mapping values are not allowed here"),
    "control character": ("a: 1\nb: \x01\n", r":2: not YAML: unacceptable character"),
    "two documents": ("a: 1\n---\nb: 2\n", r":2: a second document begins"),
    "yaml 1.1": ("%YAML 1.1\n---\nnetwork: []\n", r"only YAML 1\.2 is read"),
    "nested deeply": ("a: " + "[" * 3000 + "\n", r"s\.yaml: .*nested too deeply"),
    "number as key": ("1: a\n", r":1: the key 1 is no word; quote it"),
    "question mark key": ("? name\n: a\n", r":1: write keys as 'key: value'"),
    "infinite": (net(CONV) + "recipe: {lr: .inf}\n", r":5: \.inf is no finite number"),
    "name is a number": ("name: 3\n" + net(CONV), r":1: name must be text, not 3; quote it"),
    # tags and anchors
    "unknown tag": (net("{name: a, op: conv, channels: !chioce [8]}"), r":2: unknown tag !chioce; write !choice"),
    "standard tag": (net("{name: a, op: conv, channels: !!int 8}"), r":2: unknown tag !!int;"),
    "hole in anchor": (
        net("{name: a, op: conv, channels: &c !choice [8, 16]}", "{name: b, op: conv, channels: *c}"),
        r":2: the anchor &c holds a hole, .*tie values with !same",
    ),
    "hole in merge": (
        net("{name: a, <<: {op: conv, channels: !choice [8, 16]}}"),
        r":2: a merge key \(<<\) holds a hole",
    ),
    "merge of a scalar": (net("{name: a, <<: 3}"), r":2: a merge key \(<<\) takes a mapping"),
    "unknown alias": (net("{name: a, op: conv, channels: *c}"), r":2: the alias \*c has no anchor"),
    "alias in itself": ("network: &n [*n]\n", r":1: the alias \*n lies inside its own anchor"),
    "billion laughs": (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{y}: &{y} [{','.join(['*' + x] * 10)}]\n" for x, y in zip("abcde", "bcdef", strict=True)),
        r"aliases expand to more than 100,000 values",
    ),
    # holes
    "empty choice": (net("{name: a, op: conv, channels: !choice []}"), r":2: network\.a\.channels: a choice needs at least one"),
    "choice of a scalar": (net("{name: a, op: conv, channels: !choice 8}"), r"a choice is written !choice \[a, b\]"),
    "equal options": (net("{name: a, op: conv, channels: 8, se: !choice [0, 0.0]}"), r"has the equal options 0 and 0"),
    "0 and false": (net("{name: a, op: conv, channels: 8, bias: !choice [false, 0]}"), r"equal options false and 0"),
    "1 and 1.0": (net(CONV) + "recipe: {lr: !choice [1, 1.0]}\n", r"recipe\.lr has the equal options 1 and 1"),
    "option of two keys": (
        net("{name: a, op: !choice [conv, {residual: {}, bottleneck: {}}], channels: 8}"),
        r":2: network\.a\.op: the option .* is neither a single value nor a mapping of one key",
    ),
    "option is a list": (net("{name: a, op: conv, channels: 8, kernel: !choice [[1, 7]]}"), r"the option \[1, 7\] is neither"),
    "hole as option": (
        net("{name: a, op: conv, channels: !choice [8, !int [9, 12]]}"),
        r"the option !int \[9, 12\] is a hole without a name; write \{some_name: !int",
    ),
    "default of a choice": (
        net("{name: a, op: conv, channels: !choice {options: [8, 16], default: 9}}"),
        r":2: network\.a\.channels has the default 9, which is none of 8, 16",
    ),
    "overlapping options": (
        net("{name: a, op: conv, channels: !choice {small: !int [4, 8], large: !int [8, 16]}}"),
        r"the options 'small' and 'large' can both be the same value",
    ),
    "option among a range": (
        net("{name: a, op: conv, channels: !choice [8, {other: !int [4, 16]}]}"),
        r"the options 8 and 'other' can both be the same value",
    ),
    "low above high": (net("{name: a, op: conv, channels: !int [9, 8]}"), r":2: network\.a\.channels has low 9 above high 8"),
    "log of zero": (net(CONV) + "recipe: {lr: !log [0, 1]}\n", r":5: recipe\.lr has low 0; a logarithmic range begins above 0"),
    "one end": (net(CONV) + "recipe: {lr: !log [1]}\n", r"recipe\.lr is written !log \[low, high\]"),
    "no high": (net(CONV) + "recipe: {lr: !log {low: 1}}\n", r"recipe\.lr needs both ends"),
    "step of a float": (net(CONV) + "recipe: {lr: !float [0.1, 1, 0.1]}\n", r"is written !float \[low, high\], or !float \{low"),
    "unknown range key": (net(CONV) + "recipe: {lr: !log {low: 1, hihg: 2}}\n", r"!log has the unknown key 'hihg'; did you mean 'high'"),
    "log of log": (net(CONV) + "recipe: {lr: !log {low: 1, high: 2, log: true}}\n", r"!log has the unknown key 'log'"),
    "log is a word": (net(CONV) + "recipe: {lr: !float {low: 1, high: 2, log: yes}}\n", r"recipe\.lr has a 'log' that must be true or false"),
    "float end of int": (net("{name: a, op: conv, channels: !int [8, 9.5]}"), r"has the high 9\.5, which must be a whole number"),
    "word as end": (net(CONV) + "recipe: {lr: !log [1e-3, 1k]}\n", r"has the high 1k, which must be a number"),
    "step off the grid": (net("{name: a, op: conv, channels: !int [8, 30, 8]}"), r"has high 30, which steps of 8 from 8 never reach; write high 24 or 32"),
    "step of zero": (net("{name: a, op: conv, channels: !int [8, 16, 0]}"), r"has the step 0, which must be above 0"),
    "step and log": (net("{name: a, op: conv, channels: !int {low: 8, high: 16, step: 8, log: true}}"), r"both a step and a logarithmic scale"),
    "default outside": (net(CONV) + "recipe: {lr: !log {low: 1e-3, high: 1, default: 2}}\n", r"recipe\.lr has the default 2; it is a number from 0\.001 to 1"),
    "default off the grid": (net("{name: a, op: conv, channels: !int {low: 8, high: 24, step: 8, default: 9}}"), r"has the default 9; it is a whole number from 8 to 24 in steps of 8"),
    "hole under data": (net(CONV) + "data: {size: !int [1, 2]}\n", r":5: !int under data; holes stand in network"),
    "hole under limits": (net(CONV) + "limits: {params: !choice [1M, 2M]}\n", r":5: !choice under limits"),
    "hole as name": (net("{name: !choice [a, b], op: conv, channels: 8}"), r"the name !choice \[a, b\] of row 1 must be small letters"),
    "hole under an unknown key": (net("{name: a, op: conv, channels: 8, kernal: !choice [1, 3]}"), r":2: network\.a: conv takes no 'kernal'; did you mean 'kernel'"),
    # !same
    "same unknown": (net(CONV, "{name: b, op: conv, channels: !same network.a.chanels}"), r":3: network\.b\.channels: !same names 'network\.a\.chanels', which is no value of this file; did you mean 'network\.a\.channels'"),
    "same of itself": (net("{name: a, op: conv, channels: !same network.a.channels}"), r"network\.a\.channels: !same network\.a\.channels leads back to itself"),
    "same in a circle": (
        net("{name: a, op: conv, channels: !same network.b.channels}", "{name: b, op: conv, channels: !same network.a.channels}"),
        r":2: network\.a\.channels: .* leads back to itself",
    ),
    "same around itself": (
        net("{name: a, op: conv, channels: 8, se: {ratio: !same network.b.se}}", "{name: b, op: conv, channels: 8, se: {ratio: !same network.a.se}}"),
        r"leads back to itself; state one value",
    ),
    "same of the inactive": (
        net("{name: a, op: !choice [residual, {bottleneck: {expansion: !choice [2, 4]}}], channels: 8}", "{name: b, op: bottleneck, channels: 8, expansion: !same network.a.bottleneck.expansion}"),
        r":3: network\.b\.expansion: !same names .* is there only while network\.a\.op is bottleneck",
    ),
    "same of a wrong kind": (net(CONV, "{name: b, op: conv, channels: 8, kernel: !same network.a.op}"), r":3: network\.b\.kernel is 'conv', which must be"),
    "same as a list": (net("{name: a, op: conv, channels: !same [a]}"), r"!same takes the path of a value"),
    "same as op of a number": (net(CONV, "{name: b, op: !same network.a.channels, channels: 8}"), r"network\.b\.op must be the name of an operator"),
    # rows
    "network is a mapping": ("network: {a: 1}\n", r":1: network must be a list of rows"),
    "network is empty": ("network: []\n", r":1: network must be a list of rows"),
    "row is a word": (net("conv"), r":2: network: row 1 must be a mapping"),
    "row is a hole": (net("!choice [conv, linear]"), r":2: network: row 1 must be a mapping .* with the hole at its op"),
    "no op": (net("{name: a, channels: 8}"), r":2: network\.a has no op; write \{op: conv"),
    "unknown op": (net("{name: a, op: convv, channels: 8}"), r":2: network\.a has the unknown operator 'convv'; did you mean 'conv'\?"),
    "unknown op in a choice": (net("{name: a, op: !choice [conv, residal], channels: 8}"), r"network\.a has the unknown operator 'residal'; did you mean 'residual'"),
    "op is a number": (net("{name: a, op: 3}"), r"network\.a\.op must be the name of an operator"),
    "op is a range": (net("{name: a, op: !int [1, 2]}"), r"network\.a\.op is a name; its hole is a !choice"),
    "option of op is a number": (net("{name: a, op: !choice [conv, 3], channels: 8}"), r"network\.a\.op has the option 3, which is no name"),
    "unknown key": (net("{name: a, op: conv, channels: 8, strid: 2}"), r":2: network\.a: conv takes no 'strid'; did you mean 'stride'"),
    "unknown key of an option": (net("{name: a, op: !choice [residual, {bottleneck: {expantion: 4}}], channels: 8}"), r"network\.a\.bottleneck\.expantion: bottleneck takes no 'expantion'; did you mean 'expansion'"),
    "not every option": (net("{name: a, op: !choice [residual, bottleneck], channels: 8, expansion: 4}"), r"network\.a\.expansion: not every option of op takes 'expansion': residual does not"),
    "key in both places": (net("{name: a, op: !choice [bottleneck, {bottleneck2: {}}], channels: 8}"), r"unknown operator 'bottleneck2'"),
    "given in both places, choice": (net("{name: a, op: !choice [{bottleneck: {expansion: 4}}], channels: 8, expansion: 2}"), r"network\.a: the key 'expansion' stands in the row and in its option bottleneck; keep one"),
    "given in both places, fixed": (net("{name: a, op: {bottleneck: {expansion: 4}}, channels: 8, expansion: 2}"), r"network\.a: the key 'expansion' stands in the row and in its op as well"),
    "given in both, row first": (net("{name: a, expansion: 2, op: {bottleneck: {expansion: 4}}, channels: 8}"), r"network\.a: the key 'expansion' stands in the row and in its op as well"),
    "list as op": (net("{name: a, op: [conv, residual], channels: 8}"), r"network\.a\.op must be the name of an operator, or of several: op: !choice"),
    "list where a choice is meant": (net("{name: a, op: conv, channels: [8, 16]}"), r"network\.a\.channels must be .*; for a choice among them write !choice \[8, 16\]"),
    "no option takes it": (net("{name: a, op: !choice [conv, residual], chanels: 8}"), r"network\.a: no option of op takes 'chanels'; did you mean 'channels'"),
    "repeat in an option": (net("{name: a, op: !choice [{conv: {repeat: 2}}], channels: 8}"), r"'repeat' belongs to the row, not into an option"),
    "settings are a list": (net("{name: a, op: !choice [{conv: [3]}], channels: 8}"), r"network\.a\.conv: the settings of an option are a mapping"),
    "missing key": (net("{name: a, op: conv}"), r":2: network\.a: conv needs 'channels': a whole number"),
    "wrong value": (net("{name: a, op: conv, channels: 0}"), r":2: network\.a\.channels is 0, which must be a whole number of at least 1"),
    "wrong relative": (net("{name: a, op: conv, channels: y2}"), r"network\.a\.channels is 'y2', which must be"),
    "suffix outside of limits": (net("{name: a, op: conv, channels: 1k}"), r"network\.a\.channels is '1k', which must be"),
    "wrong option": (net("{name: a, op: conv, channels: !choice [8, 0]}"), r":2: network\.a\.channels has the option 0, which must be a whole number of at least 1"),
    "wrong range end": (net("{name: a, op: conv, channels: !int [0, 8]}"), r"network\.a\.channels has the end 0, which must be"),
    "float range for an int": (net("{name: a, op: conv, channels: !float [1, 8]}"), r"network\.a\.channels has the end 1, which must be|has the end 1"),
    "wrong named option": (net("{name: a, op: conv, channels: !choice {few: 4, none_at_all: 0}}"), r"network\.a\.channels\.none_at_all is 0, which must be"),
    "wrong nested key": (net("{name: a, op: residual, channels: 8, se: {ratoi: !choice [0.5, 0.25]}}"), r"network\.a\.se has the unknown key 'ratoi'; did you mean 'ratio'"),
    "wrong nested fixed": (net("{name: a, op: residual, channels: 8, se: {ratoi: 0.5}}"), r":2: network\.a\.se has the unknown key 'ratoi'; did you mean 'ratio'"),
    "pair of three": (net("{name: a, op: conv, channels: 8, kernel: [1, !choice [3, 5], 2]}"), r"network\.a\.kernel must be"),
    "pair with zero": (net("{name: a, op: conv, channels: 8, kernel: [1, !choice [3, 0]]}"), r"network\.a\.kernel\.2 has the option 0"),
    "bad name": (net("{name: Stage, op: conv, channels: 8}"), r":2: network: the name Stage of row 1 must be small letters"),
    "name twice": (net(CONV, CONV), r":3: network: the name a is taken by the row in line 2"),
    "unnamed with a hole": (net("{op: conv, channels: !choice [8, 16]}", "{op: conv, channels: 8}"), r":2: network: a row with a hole needs a name"),
    "unnamed op hole": (net("{op: !choice [conv, pointwise], channels: 8}"), r":2: network: a row with a hole needs a name"),
    "repeat of zero": (net("{name: a, op: conv, channels: 8, repeat: 0}"), r"network\.a\.repeat is 0, which must be a whole number of at least 1"),
    "repeat from zero": (net("{name: a, op: conv, channels: 8, repeat: !int [0, 3]}"), r"network\.a\.repeat has the end 0"),
    "untied is a word": (net("{name: a, op: conv, channels: 8, repeat: 2, untied: 'yes'}"), r"network\.a\.untied must be true or false"),
    "untied without repeat": (net("{name: a, op: conv, channels: 8, untied: true}"), r"network\.a is untied, so it needs a 'repeat'"),
    "untied without a name": (net("{op: conv, channels: 8, repeat: 2, untied: true}", "{op: conv, channels: 8}"), r"is untied, so it needs a name"),
    "untied too often": (net("{name: a, op: conv, channels: 8, repeat: !int [1, 101], untied: true}"), r"repeats up to 101 times; at most 100"),
    "untied repeat outside": (net("{name: a, op: conv, channels: 8, repeat: !float [1, 2], untied: true}"), r"network\.a\.repeat has the end 1"),
    "numbered name taken": (net("{name: a, op: conv, channels: 8, repeat: 2, untied: true}", "{name: a_2, op: conv, channels: 8}"), r":3: network: the name a_2 is taken by repetition 2 of the untied row a in line 2"),
    "same of a repetition that may be missing": (
        net("{name: a, op: conv, channels: 8, kernel: !choice [1, 3], repeat: !int [1, 2], untied: true}", "{name: b, op: conv, channels: 8, kernel: !same network.a.2.kernel}"),
        r"is there only while network\.a\.repeat is at least 2",
    ),
    "same of an untied row": (
        net("{name: a, op: conv, channels: 8, kernel: !choice [1, 3], repeat: 2, untied: true}", "{name: b, op: conv, channels: 8, kernel: !same network.a.kernel}"),
        r"!same names 'network\.a\.kernel' of an untied row; name a repetition, such as network\.a\.1\.kernel",
    ),
    "channels of an untied row tied downwards": (
        net("{name: a, op: conv, channels: !same network.b.channels, repeat: 2, untied: true}", "{name: b, op: conv, channels: !choice [8, x2]}"),
        r":2: network\.a\.channels: the channels of an untied row cannot be tied to a hole further down",
    ),
    "branches of rows": (net("{name: a, branches: [{op: flatten}]}"), r"network\.a\.1 must be a list of rows"),
    "branches and rows": (net("{name: a, branches: [[{op: flatten}]], rows: [{op: flatten}]}"), r"network\.a has both branches and rows"),
    "join": (net("{name: a, branches: [[{op: flatten}]], join: cat}"), r"network\.a\.join is 'cat', which must be one of concat, add"),
    "fault in a branch": (net("{name: a, branches: [[{op: flatten}], [{name: b, op: conv, channels: 0}]]}"), r"network\.a\.2\.b\.channels is 0"),
    # the other sections
    "unknown recipe key": (net(CONV) + "recipe:\n  lrr: 0.1\n", r":6: unknown recipe key 'lrr'; did you mean 'lr'\?"),
    "wrong recipe value": (net(CONV) + "recipe: {optimizer: sgdd}\n", r"recipe\.optimizer is 'sgdd', which must be one of"),
    "recipe is a list": (net(CONV) + "recipe: [lr]\n", r":5: recipe must be a mapping"),
    "recipe option unknown": (net(CONV) + "recipe: {optimizer: !choice [sgd, {adamwww: {lr: 0.1}}]}\n", r"recipe\.optimizer has the option 'adamwww', which must be"),
    "recipe key twice": (net(CONV) + "recipe: {lr: 0.1, optimizer: !choice [{sgd: {lr: 0.2}}, adamw]}\n", r"recipe\.sgd\.lr: the key 'lr' stands in recipe as well"),
    "limits suffix": (net(CONV) + "limits: {params: 5X}\n", r":5: limits\.params: '5X' must be a number, with k, M or G"),
    "unknown limit": (net(CONV) + "limits: {param: 5M}\n", r"limits has the unknown key 'param'; did you mean 'params'"),
    "limit of zero": (net(CONV) + "limits: {params: 0}\n", r"limits\.params: 0 must be above 0"),
    "unknown input": (net(CONV) + "input: {sizes: 32}\n", r"input has the unknown key 'sizes'; did you mean 'size'"),
    "wrong input": (net(CONV) + "input: {size: -1}\n", r"input\.size is -1, which must be"),
    "scaling both": (net(CONV) + "scaling: {phi: 1, alpha: 1.2, beta: 1.1, gamma: 1.15, depth: 2}\n", r"scaling has both phi and depth"),
    "scaling without phi": (net(CONV) + "scaling: {alpha: 1.2}\n", r"scaling has alpha without phi"),
    "scaling unknown": (net(CONV) + "scaling: {dept: 2}\n", r"scaling has the unknown key 'dept'; did you mean 'depth'"),
    "scaling zero": (net(CONV) + "scaling: {width: 0}\n", r"scaling\.width is 0, which must be a number above 0"),
    "unknown default": (net(CONV) + "defaults: {norn: batch}\n", r"defaults\.norn: no operator takes 'norn'; did you mean 'norm'"),
    "wrong default": (net(CONV) + "defaults: {act: rely}\n", r"defaults\.act is 'rely', which must be"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_one_clear_sentence(text, message):
    with pytest.raises(SpaceError) as caught:
        parse(text, path="s.yaml")
    said = str(caught.value)
    assert re.search(message, said), said
    assert said.startswith("s.yaml:") and "\n" not in said
    assert caught.value.exit_code == 2


SEVERAL = {  # files with several faults, and all that a linter tells of them
    "nested": (
        net("{name: a, op: residual, channels: 8, se: {ratoi: 0.5, act: foo}}"),
        [r"se\.act is 'foo'", r"se has the unknown key 'ratoi'"],
    ),
    "rows within rows": (
        net(CONV, "{name: r, branches: [[{op: conv, chanels: 8}], [{op: convv}], {op: conv}]}"),
        [r"network\.r\.3 must be a list of rows", r"conv takes no 'chanels'", r"unknown operator 'convv'"],
    ),
    "an untied row, told once": (
        net("{name: u, op: conv, channels: 8, kernel: !choice [0, 3], untied: true, repeat: !int [1, 3]}"),
        [r"network\.u\.1\.kernel has the option 0"],
    ),
    "what hangs on an op that cannot be read": (
        net("{name: a, op: !choice [], channels: 8}", "{name: b, op: conv, channels: 8, kernel: !same network.a.conv.kernel}"),
        [r"network\.a\.op: a choice needs at least one option"],
    ),
    "what hangs on a row with a wrong name": (
        net("{name: A b, op: conv, channels: 8}", "{name: b, op: conv, channels: !same network.A b.channels}"),
        [r"the name A b of row 1"],
    ),
    "unknown tags": (
        net("{name: a, op: !chose [conv, residual], channels: 8}", "!chose {name: c}") + "recipe: !chose {lr: 1}\nlimits: {params: !foo 3}\n",
        [r"unknown tag !chose"] * 3 + [r"unknown tag !foo"],
    ),
    "untied, without a number": (
        net("{name: u, op: conv, channels: 8, repeat: !choice [{x: two}, 3], untied: true}"),
        [r"network\.u\.repeat\.x is 'two'"],
    ),
    "sections": (
        net(CONV) + "name: 3\ninput: {size: 0, chanels: 3}\ndefaults: {act: reluu, norn: batch}\nscaling: {phi: 1, depth: 2, foo: 1}\nrecipe: {optimizer: !choice [adm, sgd], lr: 0}\n",
        [
            r"name must be text", r"input\.size is 0", r"unknown key 'chanels'", r"defaults\.act is 'reluu'", r"no operator takes 'norn'",
            r"scaling has the unknown key 'foo'", r"scaling has both phi and depth", r"recipe\.optimizer has the option 'adm'", r"recipe\.lr is 0",
        ],
    ),
    "not YAML": ("network: [{op: conv\n", [r"not YAML"]),
    "beside a base": ("base: resnet18\nrecipe: {lrr: 0.1}\nlimits: {params: x}\n", [r":2: unknown recipe key 'lrr'", r":3: limits\.params: 'x'"]),
    "none": (net(CONV), []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "messages"), SEVERAL.values(), ids=SEVERAL.keys())
def test_a_linter_gets_every_fault_and_none_that_follows_from_another(text, messages, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(text)
    told = [str(fault) for fault in faults_of(file)]
    assert len(told) == len(messages), told
    for said, message in zip(told, messages, strict=True):
        assert re.search(message, said), told
        assert said.startswith(f"{file}:") and "\n" not in said


@pytest.mark.parametrize("text", [text for text, _ in FAULTS.values()], ids=FAULTS.keys())
def test_a_linter_tells_what_a_load_stops_at(text, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises(SpaceError) as caught:
        load(file)
    assert str(caught.value) in [str(fault) for fault in faults_of(file)]


def test_missing_file_names_its_neighbours(tmp_path):
    (tmp_path / "mine.yaml").write_text("")
    with pytest.raises(
        SpaceError, match=r"other\.yaml: there is no such file; in that folder: mine"
    ):
        load(tmp_path / "other.yaml")


def test_folder_is_refused(tmp_path):
    with pytest.raises(SpaceError, match="is a folder; name the file in it"):
        load(f"{tmp_path}/")


def test_not_utf8(tmp_path):
    (tmp_path / "s.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(SpaceError, match=r"is no UTF-8 text \(byte 6\)"):
        load(tmp_path / "s.yaml")


def test_unknown_space_says_the_nearest():
    with pytest.raises(
        UnknownName, match="unknown space or network 'resnet_cels'; did you mean 'resnet_cells'"
    ):
        find("resnet_cels")


def test_require_architecture_names_the_first_hole():
    space = parse(net("{name: a, op: conv, channels: !choice [8, 16]}"), path="s.yaml")
    with pytest.raises(SpaceError, match=r"^s\.yaml:2: .*network\.a\.channels is one"):
        require_architecture(space)
    architecture = fill(space, space.default())
    assert require_architecture(architecture) is architecture


SPACE = net(
    "{name: a, op: !choice [residual, {bottleneck: {expansion: !choice [2, 4]}}], channels: 8}"
)
DECISIONS = {
    "missing": ({}, r"s\.yaml:2: the decisions say nothing of network\.a\.op, which is one of"),
    "missing inner": ({"network.a.op": "bottleneck"}, r"nothing of network\.a\.bottleneck\.expansion"),
    "unknown": ({"network.a.op": "residual", "network.a.oq": 1}, r"no hole is named 'network\.a\.oq'; did you mean"),
    "inactive": ({"network.a.op": "residual", "network.a.bottleneck.expansion": 2}, r"the other decisions leave its branch out"),
    "outside": ({"network.a.op": "residul"}, r"network\.a\.op cannot be 'residul'; it is one of residual, bottleneck; did you mean 'residual'"),
    "bool for int": ({"network.a.op": "bottleneck", "network.a.bottleneck.expansion": True}, r"cannot be true; it is one of 2, 4"),
}  # fmt: skip


@pytest.mark.parametrize(("decisions", "message"), DECISIONS.values(), ids=DECISIONS.keys())
def test_wrong_decisions_are_refused(decisions, message):
    with pytest.raises(UserError, match=message):
        fill(parse(SPACE, path="s.yaml"), decisions)

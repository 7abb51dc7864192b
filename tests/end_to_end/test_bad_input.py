"""One table: what a user may write wrong, and the one clear sentence that answers.

Every case runs the program in one folder of everything that may be wrong (bad_files.py), and asks:
exit code 2, one sentence on standard error that says what is allowed, nothing on standard output,
no file of that folder made, changed or lost.
"""
# ruff: noqa: E501  (a case is a line)

from __future__ import annotations

import re
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest
import torch

from nas.cli import main
from nas.rundir import RunDir
from nas.search import pilot

from .bad_files import (
    CONV,
    GOOD,
    PLAIN,
    snapshot,
    write_data,
    write_networks,
    write_runs,
)
from .conftest import command, environment

NEW = "search --space tiny --data digits --budget 1min"
OVER = "search --space tiny --budget 1min --data"
WITHIN = "search --space tiny --data digits --budget"
ON = "search --resume runs/good"
TRAIN = "train nets/plain.yaml --data digits"
TEST = "test nets/best.yaml --data digits"
PREDICT = "predict nets/best.yaml"

WORDS = {
    "unknown command": ("serch", r"nas: unknown command 'serch'; did you mean 'search'\?"),
    "unknown option of nas": ("--versoin", r"nas: unknown option '--versoin'; did you mean '--version'\?"),
    "unknown option": ("search --bugdet 1min", r"nas search: unknown option '--bugdet'; did you mean '--budget'\?"),
    "unknown short option": ("search -x", r"nas search: unknown option '-x'"),
    "no value": ("search --space", r"--space.* requires an argument; .*--help"),
    "value of a flag": ("search --json=3", r"--json.* does not take a value; .*--help"),
    "no argument": ("show", r"nas show: RUN is missing \(a run's folder, or its name in ./runs\)"),
    "no images": (PREDICT, r"nas predict: IMAGES is missing \(PNG, JPEG or .npy files\)"),
    "no data to train on": ("train nets/plain.yaml", r"nas train: --data is missing; such as: nas train \S*plain.yaml --data digits"),
    "one argument too many": ("show a b", r"nas show: .*unexpected extra argument.*b.*; nas show --help"),
    "no space": ("search --data digits --budget 1min", r"--space is missing; such as: nas search --space tiny"),
    "no data": ("search --space tiny --budget 1min", r"--data is missing; such as"),
    "no budget": ("search --space tiny --data digits", r"--budget is missing; such as"),
    "unknown strategy": (f"{NEW} --strategy tpee", r"unknown strategy 'tpee'; did you mean 'tpe'\?"),
    "keep": (f"{NEW} --keep best", r"--keep 'best' must be all or top:N with N at least 1, such as top:20"),
    "keep none": (f"{NEW} --keep top:0", r"--keep 'top:0' must be"),
    "keep a superscript": (f"{NEW} --keep top:²", r"--keep 'top:²' must be"),
    "no trial at once": (f"{NEW} --trials-at-once 0", r"--trials-at-once 0 must be at least 1"),
    "negative trials at once": (f"{NEW} --trials-at-once -2", r"--trials-at-once -2 must be at least 1"),
    "half a trial at once": (f"{NEW} --trials-at-once 1.5", r"--trials-at-once 1.5 must be a whole number of at least 1, or auto"),
    "too many trials at once": (f"{NEW} --trials-at-once 100000", r"--trials-at-once 100000 is too many for \d+ cpu slots: at most \d+"),
    "cuda without a GPU": (f"{NEW} --device cuda", r"--device cuda: torch sees none on this machine; it sees cpu"),
    "unknown device": (f"{NEW} --device gpu", r"--device 'gpu' must be one of cpu, cuda, mps"),
    "GPUs without a GPU": (f"{NEW} --gpus-per-trial 0.5", r"--gpus-per-trial 0.5 needs --device cuda, not cpu"),
    "no number of GPUs": (f"{NEW} --gpus-per-trial half", r"--gpus-per-trial half must be a number: a fraction of a GPU from 0.01"),
    "nan GPUs": (f"{NEW} --gpus-per-trial nan", r"--gpus-per-trial nan cannot be placed: it must be a fraction"),
    "one and a half GPUs": (f"{NEW} --gpus-per-trial 1.5", r"--gpus-per-trial 1.5 cannot be placed: above 1 it must be a whole number, such as 1 or 2"),
    "no CPU": (f"{NEW} --cpus-per-trial 0", r"--cpus-per-trial 0 must be at least 1, or auto"),
    "a cluster's name": (f"{NEW} --ray-address head", r"--ray-address 'head' must be auto, or the host:port that `ray start --head` printed"),
    "a client's address": (f"{NEW} --ray-address ray://127.0.0.1:10001", r"--ray-address 'ray://127.0.0.1:10001' must be auto, or the host:port"),
    "a cluster that is not there": (f"{NEW} --ray-address 127.0.0.1:9", r"--ray-address 127.0.0.1:9: nobody answers there; start the cluster"),
    "negative seed": (f"{NEW} --seed -1", r"--seed -1 must be between 0 and 4294967295"),
    "large seed": (f"{NEW} --seed 4294967296", r"--seed 4294967296 must be between"),
    "seed in words": (f"{NEW} --seed one", r"nas search: --seed one must be a whole number; nas search --help"),
    "dry run of a resume": ("search --dry-run --resume runs/good", r"--dry-run looks at a new search: leave --resume out"),
}  # fmt: skip

BUDGETS = {
    "empty": ("''", r"budget '' cannot be read at '': write a number and a unit of s, min, h .* such as 90min"),
    "in words": ("soon", r"budget 'soon' cannot be read at 'soon': write a number and a unit"),
    "no unit": ("90", r"budget '90' cannot be read at '90': .*such as 90min"),
    "no number": ("min", r"budget 'min' cannot be read"),
    "zero": ("0min", r"budget '0min' is zero: nothing could be trained"),
    "zero trials": ("0trials", r"budget '0trials' is zero"),
    "zero in a list": ("1h,0gpu-h", r"budget '1h,0gpu-h' is zero"),
    "negative": ("-5min", r"budget '-5min' cannot be read at '-5min'"),
    "nan": ("nanmin", r"budget 'nanmin' cannot be read"),
    "unknown unit": ("50gpuh", r"budget '50gpuh' has the unknown unit 'gpuh'; did you mean 'gpu-h'\?"),
    "far unit": ("3fortnights", r"has the unknown unit 'fortnights': write a number and a unit of s, min, h"),
    "part of a trial": ("1.5trials", r"trials are counted whole, not 1.5"),
    "bounded twice": ("10min,1h", r"bounds the same thing twice"),
    "loose comma": ("10min,", r"budget '10min,' cannot be read at ''"),
}  # fmt: skip

CONSTANTS = {
    "no equals sign": ("recipe.lr", r"--set 'recipe.lr' must be PATH=VALUE, such as --set recipe.epochs=20"),
    "no path": ("=3", r"--set '=3' must be PATH=VALUE"),
    "no value": ("recipe.lr=", r"--set 'recipe.lr=' must be PATH=VALUE"),
    "unknown section": ("recpie.epochs=3", r"--set recpie.epochs: unknown path; did you mean 'recipe.epochs'\?"),
    "unknown recipe key": ("recipe.epoch=3", r"--set recipe.epoch=3: unknown recipe key 'epoch'; did you mean 'epochs'\?"),
    "unknown row": ("network.conv9.channels=8", r"--set network.conv9.channels: unknown path; did you mean 'network.conv\d.channels'\?"),
    "unknown key of a row": ("network.conv1.chanels=8", r"tiny.yaml:\d+: network.conv1: conv takes no 'chanels'; did you mean 'channels'\?"),
    "refused by the recipe": ("recipe.lr=-1", r"--set recipe.lr=-1: .*recipe.lr is -1, which must be a number above 0"),
    "a word for a number": ("recipe.lr=fast", r"recipe.lr is 'fast', which must be a number"),
    "unknown optimizer": ("recipe.optimizer=adm", r"recipe.optimizer is 'adm', which must be one of sgd, adamw; did you mean 'adamw'\?"),
    "no epochs": ("recipe.epochs=0", r"recipe.epochs is 0, which must be a whole number of at least 1"),
    "refused by the operator": ("network.conv1.channels=0", r"network.conv1.channels is 0, which must be a whole number of at least 1"),
    "a hole": ("'recipe.lr=!log [1e-3, 1]'", r"a constant is wanted, not a hole"),
    "no YAML": ("'recipe.lr=[1'", r"--set recipe.lr:1: not YAML"),
    "a list for rows": ("network=3", r"network must be a list of rows"),
    "default over the limits": ("limits.params=1k", r"tiny.yaml: the default network has params 5,178, over limits.params 1,000; .*raise the limit or make the defaults smaller"),
    "limit in words": ("limits.params=many", r"limits.params: 'many' must be a number, with k, M or G"),
    "latency": ("limits.latency=1", r"limits.latency is not measured yet; use limits of params, macs or memory"),
    "pool too large": ("network.pool1.kernel=9", r"tiny.yaml:\d+: row 'pool1' .*too small for kernel 9.*the image is 8x8: at least 18x18 fits"),
}  # fmt: skip

SPACES: dict[str, tuple[str | bytes, str]] = {
    "unknown operator": (GOOD.replace("op: conv", "op: convv"), r":2: network.a has the unknown operator 'convv'; did you mean 'conv'\?"),
    "unknown key": (GOOD.replace("kernel", "kernal"), r":2: network.a: conv takes no 'kernal'; did you mean 'kernel'\?"),
    "unknown option": (GOOD.replace("op: conv", "op: !choice [residual, {bottleneck: {expantion: 4}}]").replace(", kernel: 3", ""), r":2: network.a.bottleneck.expantion: bottleneck takes no 'expantion'; did you mean 'expansion'\?"),
    "unknown recipe key": (GOOD + "recipe: {lrr: 0.1}\n", r":5: unknown recipe key 'lrr'; did you mean 'lr'\?"),
    "unknown section": (GOOD + "recipy: {}\n", r":5: unknown top-level key 'recipy'; did you mean 'recipe'\?"),
    "unknown data key": (PLAIN + "data: {meen: [0.5]}\n", r":5: data has the unknown key 'meen'; did you mean 'mean'\?"),
    "low above high": (GOOD + "recipe:\n  lr: !log [1, 1e-3]\n", r":6: recipe.lr has low 1 above high 0.001; swap them"),
    "whole low above high": (GOOD.replace("!choice [8, 16]", "!int [16, 8]"), r":2: network.a.channels has low 16 above high 8"),
    "log range from zero": (GOOD + "recipe:\n  lr: !log [0, 1]\n", r":6: recipe.lr has low 0; a logarithmic range begins above 0, such as 1e-6"),
    "log range below zero": (GOOD + "recipe: {lr: !log [-1, 1]}\n", r":5: recipe.lr has low -1; a logarithmic range begins above 0"),
    "refused by the recipe": (GOOD + "recipe: {epochs: 0}\n", r":5: recipe.epochs is 0, which must be a whole number of at least 1"),
    "huge repeat": (GOOD.replace("kernel: 3", "kernel: 3, repeat: !int [1, 1000000]"), r":2: network.a.repeat has the end 1000000, which must be a whole number of at least 1 and at most 1000"),
    "huge default": (GOOD.replace("!choice [8, 16]", "!int [8, 1000000]") + "recipe: {batch_size: 65536}\n", r"the default network has [\d,]+ parameters and takes [\d.]+ GiB to train, more than the .* of this machine.s cpu; make the defaults"),
    "default over the limits": (GOOD + "limits: {macs: 1k}\n", r"the default network has macs [\d,]+, over limits.macs 1,000"),
    "strides too many": (GOOD.replace("kernel: 3", "kernel: 3, stride: 9, padding: valid"), r":2: row 'a' \(conv\): its input is 8x8, which stride 9 would bring under one pixel.*at least 9x9 fits, or take out a stride"),
    "no classifier": ("network:\n" + CONV, r":2: the network ends with 8x8x8, .*end it with the rows"),
    "tabs": ("network:\n\t- {op: linear}\n", r":2: not YAML: .*indent with spaces, not with tabs"),
    "duplicate key": (GOOD + "recipe: {lr: 0.1, lr: 0.2}\n", r":5: the key 'lr' stands here and in line 5; keep one"),
    "python tag": (GOOD + "recipe: !!python/object/apply:os.system [ls]\n", r":5: unknown tag !!python/object/apply:os.system; write !choice, !int"),
    "mistyped tag": (GOOD.replace("!choice", "!chioce"), r":2: unknown tag !chioce; write !choice"),
    "syntax error": ("network: [{op: conv\n", r":2: not YAML: expected ',' or '}'"),
    "no UTF-8": (b"name: \xff\n", r"is no UTF-8 text \(byte 6\); save it as UTF-8"),
    "bytes": (b"\0" * 50, r":1: not YAML: unacceptable character"),
    "empty": ("", r"the file is empty; a space holds at least 'network: \[rows\]'"),
    "name with a slash": ("name: a/b\n" + GOOD, r":1: name is 'a/b', which must be at most 80 letters"),
    "name that climbs": ("name: ../x\n" + GOOD, r":1: name is '../x', which must be"),
    "name too long": (f"name: {'x' * 300}\n" + GOOD, r":1: name is 'x+', which must be at most 80 letters"),
}  # fmt: skip

SPACE_NAMES = {
    "unknown": ("tinny", r"unknown space or network 'tinny'; did you mean 'tiny'\?"),
    "no name": ("''", r"unknown space or network ''; known: "),
    "no file": ("./none.yaml", r"none.yaml: there is no such file; in that folder: .*mine.yaml"),
    "a folder": ("folder.yaml", r"folder.yaml: is a folder; name the file in it"),
}  # fmt: skip

DATA = {
    "unknown name": ("digit", r"'digit' is no known data set, .*; did you mean 'digits'\?"),
    "no name": ("''", r"'' is no known data set.*known: cifar10, cifar100, digits, fashion-mnist, mnist"),
    "no file": ("data/none.npz", r"data/none.npz does not exist: give a known name \(digits, .*or the path of"),
    "absent set": ("cifar10", r"cifar10 is not in .*data: put cifar-10-python.tar.gz into .*/cifar10, or set NAS_DATA"),
    "unknown format": ("data/photo.txt", r"photo.txt is no file of a known format: give a folder with the four IDX files"),
    "empty folder": ("data/blank", r"blank holds no data of a known format, it is empty: give"),
    "empty file": ("data/void.npz", r"void.npz is empty \(0 bytes\)"),
    "truncated npz": ("data/cut.npz", r"cut.npz is no .npz file, or a truncated one"),
    "text as npz": ("data/text.npz", r"text.npz is no .npz file"),
    "npz of other keys": ("data/keys.npz", r"has no x_train, y_train, x_test, y_test \(it has 'images'\)"),
    "truncated IDX": ("data/idx_cut", r"train-images-idx3-ubyte is truncated: it holds 2,569 bytes .*2,576 bytes"),
    "truncated gzip": ("data/idx_cut_gz", r"train-images-idx3-ubyte.gz is truncated or damaged"),
    "wrong magic number": ("data/idx_magic", r"starts with the bytes 89 50 4e 47, which is no magic number of an IDX file"),
    "missing IDX file": ("data/idx_missing", r"holds no file of train labels: put train-labels-idx1-ubyte"),
    "IDX label out of range": ("mnist", r"train-labels-idx1-ubyte: label 200 at position 7 is out of range, .*10 classes, 0 to 9"),
    "IDX label beyond a gap": ("data/idx_label", r"labels go up to 200, but class 10 has no training image"),
    "truncated archive": ("data/cut.tar.gz", r"cut.tar.gz is no tar archive, or truncated"),
    "label out of range": ("data/label.npz", r"y_test: label 11 at position 5 is out of range, .*10 classes, 0 to 9"),
    "negative label": ("data/negative.npz", r"y_train: label -1 at position 5 is negative"),
    "labels with fractions": ("data/floats.npz", r"y_train: labels are of type float64 .*convert them with astype\(int\)"),
    "NaN": ("data/nan.npz", r"x_train: image 3 holds the pixel nan"),
    "infinity": ("data/inf.npz", r"x_train: image 3 holds the pixel inf"),
    "images of many sizes": ("data/ragged.npz", r"x_train is an array of objects, and images of different sizes make one: bring all to one size"),
    "sizes of the parts": ("data/sizes.npz", r"images are 9x8x1, but those of .* are 8x8x1 .*bring all images to one size"),
    "empty class": ("data/empty.npz", r"class 4 has no training image; labels must be 0 to K-1"),
    "named class without images": ("data/names.npz", r"class 'c10' has no training image"),
    "one class": ("data/one.npz", r"all training images are of the class '0', but at least two classes are needed"),
    "a label missing": ("data/counts.npz", r"x_train holds 40 images, but .*y_train 39 labels"),
    "no image": ("data/nothing.npz", r"x_train: the shape \(0, 1, 8, 8\) holds no pixel"),
    "flat images": ("data/flat.npz", r"shape \(40, 64\), but images are \(N, H, W\)"),
    "pixels over 255": ("data/wide.npz", r"pixels go from 0 to 2295, but whole numbers must be 0 to 255"),
    "image too small": ("data/small.npz", r"tiny.yaml:\d+: row 'conv1' .*kernel 3x3 is larger than the image; the image is 2x2: at least 4x4 fits"),
}  # fmt: skip

HOLES = {
    "train a space": ("train tiny --data digits", r"tiny.yaml:\d+: an architecture without holes is wanted here, and network.conv1.channels is one; put a value there"),
    "train a file with holes": ("train nets/holes.yaml --data digits", r"nets/holes.yaml:2: an architecture without holes is wanted here, and network.a.channels is one; .*nas search --space nets/holes.yaml"),
    "predict by one": ("predict nets/holes.yaml nets/good.npy", r"nets/holes.yaml:2: an architecture without holes"),
    "test one": ("test nets/holes.yaml --data digits", r"nets/holes.yaml:2: an architecture without holes"),
}  # fmt: skip

NETWORKS = {
    "train no epochs": (f"{TRAIN} --epochs 0", r"--epochs 0 must be at least 1"),
    "train negative epochs": (f"{TRAIN} --epochs -3", r"--epochs -3 must be at least 1"),
    "train epochs in words": (f"{TRAIN} --epochs ten", r"nas train: --epochs ten must be a whole number"),
    "train by a negative seed": (f"{TRAIN} --seed -1", r"the seed is -1, but must be 0 to 4294967295"),
    "train on cuda": (f"{TRAIN} --device cuda", r"--device cuda: torch sees none on this machine"),
    "train into a file": (f"{TRAIN} --out runs/file", r"--out runs/file cannot be made"),
    "train into other files": (f"{TRAIN} --out runs/other", r"--out runs/other holds other files \(thesis.txt, …\): name an empty folder"),
    "train into a run": (f"{TRAIN} --out runs/good", r"--out runs/good holds other files"),
    "train an unknown name": ("train tinny --data digits", r"unknown space or network 'tinny'; did you mean 'tiny'\?"),
    "train on no data": ("train nets/plain.yaml --data digit", r"did you mean 'digits'\?"),
    "describe nothing": ("describe resnet_cell", r"unknown space or network 'resnet_cell'; did you mean 'resnet_cells'\?"),
    "describe for no pixels": ("describe tiny --size 0", r"nas describe: --size 0 must be at least 1"),
    "describe for few pixels": ("describe tiny --size 1", r"tiny.yaml:\d+: row 'conv1' .*at least 4x4 fits"),
    "describe with a fault": ("describe tiny --set recipe.epoch=3", r"did you mean 'epochs'\?"),
    "weights of another network": (f"{TEST} --weights nets/other.pt", r"nets/other.pt is of another network: at a.conv.weight it has \(24, 1, 3, 3\), the network \(8, 1, 3, 3\); name the weights"),
    "weights that are text": (f"{TEST} --weights nets/text.pt", r"nets/text.pt cannot be read: it holds no weights, or is truncated; name a state_dict"),
    "weights that are empty": (f"{TEST} --weights nets/void.pt", r"nets/void.pt cannot be read"),
    "weights that are cut": (f"{TEST} --weights nets/cut.pt", r"nets/cut.pt cannot be read"),
    "weights that are no tensors": (f"{TEST} --weights nets/numbers.pt", r"nets/numbers.pt holds no state_dict \(names to tensors\)"),
    "weights that are a list": (f"{TEST} --weights nets/list.pt", r"nets/list.pt holds no state_dict"),
    "weights that are a folder": (f"{TEST} --weights nets", r"there are no weights: nets is a folder; name the file: --weights FILE.pt"),
    "no weights": (f"{TEST} --weights nets/none.pt", r"there are no weights: nets/none.pt does not exist"),
    "no weights beside it": ("test nets/lone.yaml --data digits", r"there are no weights: nets/lone.pt does not exist"),
    "test on other images": ("test nets/wide.yaml --data digits", r"nets/wide.yaml was trained on images of size \[9, 9\], those of digits have \[8, 8\]"),
    "predict by other weights": (f"{PREDICT} nets/good.npy --weights nets/other.pt", r"nets/other.pt is of another network"),
    "predict by no weights": (f"{PREDICT} nets/good.npy --weights nets/text.pt", r"nets/text.pt cannot be read"),
    "predict without a data block": ("predict nets/plain.yaml nets/good.npy", r"nets/plain.yaml: has no data.size: only exported files \(best.yaml\) say how images are fed; train this one with: nas train"),
    "data block mistyped": ("predict nets/nomean.yaml nets/good.npy", r"nets/nomean.yaml:\d+: data has the unknown key 'meen'; did you mean 'mean'\?"),
    "data block of words": ("predict nets/baddata.yaml nets/good.npy", r"nets/baddata.yaml:\d+: data.channels is 'one', which must be a whole number"),
    "size in words": ("test nets/badsize.yaml --data digits", r"nets/badsize.yaml:\d+: data.size is '8 by 8', which must be two whole numbers \[h, w\]"),
    "means for two channels": ("predict nets/badmean.yaml nets/good.npy", r"nets/badmean.yaml:\d+: data.mean holds 2 numbers, which must be one for each of the 1 channels"),
    "one class left": ("predict nets/one.yaml nets/good.npy", r"nets/one.yaml:\d+: data.classes must name two classes or more"),
    "no picture": (f"{PREDICT} nets/x.png", r"nets/x.png is neither PNG nor JPEG: save it as one, or as .npy"),
    "empty picture": (f"{PREDICT} nets/void.png", r"nets/void.png is empty \(0 bytes\)"),
    "missing picture": (f"{PREDICT} nets/good.npy none.png", r"none.png does not exist: name a PNG, JPEG or .npy file"),
    "folder of pictures": (f"{PREDICT} nets", r"nets is a folder: name the images in it"),
    "picture of another shape": (f"{PREDICT} nets/wide.npy", r"holds the shape \(3, 40\), but the network takes \(1, 8, 8\)"),
    "picture with NaN": (f"{PREDICT} nets/nan.npy", r"nets/nan.npy: image 0 holds the pixel nan"),
    "no label to show": (f"{PREDICT} nets/good.npy --top 0", r"nas predict: --top 0 must be at least 1"),
}  # fmt: skip

RUNS = {
    "resume of nothing": ("search --resume nowhere", r"the run folder 'nowhere' does not exist; `nas runs` lists those in ./runs"),
    "resume without a name": ("search --resume ''", r"the run folder '' does not exist"),
    "resume of a file": ("search --resume runs/file", r"the run folder 'runs/file' is a file"),
    "resume of no run": ("search --resume runs/other", r"runs/other is no run: it has no request.yaml, space.yaml, study.journal; see `nas runs`"),
    "resume of an edited copy": ("search --resume runs/copy_edited", r"runs/copy_edited/space.yaml was edited since the run began: .*put it back, or start a new search"),
    "resume of an edited original": ("search --resume runs/source_edited", r"mine.yaml was edited since the run began; put it back as it was \(the run holds a copy: .*space.yaml\), or start a new search"),
    "resume with another space": (f"{ON} --space resnet_cells", r"--space resnet_cells contradicts the run, which was begun with .*tiny.yaml: leave it out, or start a new search"),
    "resume with an unknown space": (f"{ON} --space tinny", r"unknown space or network 'tinny'; did you mean 'tiny'\?"),
    "resume with other data": (f"{ON} --data mnist", r"--data mnist contradicts the run, which was begun with digits"),
    "resume with another seed": (f"{ON} --seed 3", r"--seed 3 contradicts the run"),
    "resume on cuda": (f"{ON} --device cuda", r"--device cuda contradicts the run, which was begun with cpu"),
    "resume with a new folder": (f"{ON} --run-dir new", r"--run-dir makes a new run, --resume goes on with one: leave one out"),
    "resume with a constant": (f"{ON} --set recipe.epochs=3", r"--set .* contradicts the run"),
    "resume with no budget": (f"{ON} --budget 0min", r"budget '0min' is zero"),
    "resume without its data": ("search --resume runs/request_data", r"/nowhere/x.npz does not exist"),
    "resume of a folder locked away": ("search --resume runs/locked", r"runs/locked cannot be written \(.*\): give yourself the right to, or copy the folder"),
    "journal missing": ("search --resume runs/no_journal", r"runs/no_journal has lost its study.journal: .*put it back"),
    "journal missing, shown": ("show runs/no_journal", r"has lost its study.journal: its trials stand nowhere else"),
    "journal of words": ("search --resume runs/journal_words", r"runs/journal_words/study.journal:1 is no record .*was changed after it was written.*put a copy of it back, or begin a new search"),
    "journal of bytes": ("search --resume runs/journal_bytes", r"runs/journal_bytes/study.journal:1 is no record"),
    "journal of bytes, served": ("dashboard runs/journal_bytes --port 0", r"runs/journal_bytes/study.journal:1 is no record"),
    "request missing": ("show runs/no_request", r"runs/no_request has lost its request.yaml: .*put it back"),
    "space missing": ("search --resume runs/space_gone", r"runs/space_gone has lost its space.yaml: .*: nas doctor runs/space_gone"),
    "request of no YAML": ("show runs/request_syntax", r"request_syntax/request.yaml cannot be read \(line 2: expected ',' or '\]'.*\): nas wrote it, so put it back as it was"),
    "request of a list": ("show runs/request_list", r"request_list/request.yaml cannot be read \(it holds a list, not a mapping\)"),
    "request cut short": ("search --resume runs/request_short", r"request_short/request.yaml cannot be read \(it has no space_name\)"),
    "request with a word for a number": ("search --resume runs/request_words", r"request_words/request.yaml cannot be read \(seed is 'none at all', not a whole number\)"),
    "request with an unknown device": ("search --resume runs/request_device", r"request_device/request.yaml: --device 'tpu' must be one of cpu, cuda, mps"),
    "request with no budget": ("search --resume runs/request_budget", r"request_budget/request.yaml: budget 'much' cannot be read"),
    "request of bytes": ("show runs/request_bytes", r"request_bytes/request.yaml cannot be read \('utf-8' codec"),
    "stages of no JSON": ("search --resume runs/stages_syntax", r"stages_syntax/stages.json cannot be read \(Expecting value: line 1"),
    "stages of no JSON, shown": ("show runs/stages_syntax", r"stages_syntax/stages.json cannot be read"),
    "stages of no JSON, stopped": ("stop runs/stages_syntax", r"stages_syntax/stages.json cannot be read"),
    "stages of a list": ("search --resume runs/stages_list", r"stages_list/stages.json cannot be read \(it holds a list, not a mapping\)"),
    "stages of words": ("show runs/stages_words", r"stages_words/stages.json cannot be read \(stages is text, not a list\)"),
    "stages of bytes": ("show runs/stages_bytes", r"stages_bytes/stages.json cannot be read"),
    "trials of bytes": ("show runs/trials_words", r"trials_words/trials.csv cannot be read"),
    "trials without their columns": ("show runs/trials_columns", r"trials_columns/trials.csv cannot be read \(it has no column stage\)"),
    "show of nothing": ("show nowhere", r"the run folder 'nowhere' does not exist; `nas runs`"),
    "show of no run": ("show runs/other", r"runs/other is no run"),
    "stop of nothing": ("stop nowhere", r"the run folder 'nowhere' does not exist; `nas runs`"),
    "stop of no run": ("stop runs/nothing", r"runs/nothing is no run"),
    "dashboard of nothing": ("dashboard nowhere", r"the run folder 'nowhere' does not exist; `nas runs`"),
    "dashboard of no run": ("dashboard runs/other", r"runs/other is no run"),
    "port below the range": ("dashboard runs/good --port -1", r"nas dashboard: --port -1 must be at least 0"),
    "port above the range": ("dashboard runs/good --port 65536", r"nas dashboard: --port 65536 must be at most 65535"),
    "port in words": ("dashboard runs/good --port http", r"nas dashboard: --port http must be a whole number"),
    "runs of a file": ("runs --dir runs/file", r"--dir runs/file is no folder; name the one that the runs lie in"),
    "folder of another run": (f"{NEW} --run-dir runs/good", r"--run-dir runs/good holds a run already; .*go on with it: nas search --resume runs/good"),
    "folder of other files": (f"{NEW} --run-dir runs/other", r"--run-dir runs/other holds other files; name a folder that is empty"),
    "folder that is a file": (f"{NEW} --run-dir runs/file", r"--run-dir runs/file is no folder; name one that is new or empty"),
    "folder in a file": (f"{NEW} --run-dir runs/file/x", r"the run folder cannot be made in .*runs/file \(.*\): name one elsewhere with --run-dir"),
    "folder that cannot be made": (f"{NEW} --run-dir /proc/nas/x", r"the run folder cannot be made in /proc/nas"),
    "working folder": (f"{NEW} --run-dir .", r"--run-dir names the working folder itself; name a new one"),
    "folder without a name": (f"{NEW} --run-dir ''", r"--run-dir names the working folder itself"),
}  # fmt: skip


def _file(name: str) -> str:
    return f"space_{re.sub('[^a-z]', '_', name.lower())}.yaml"


GROUPS = {
    "words": WORDS,
    "budget": {name: (f"{WITHIN} {text}", said) for name, (text, said) in BUDGETS.items()},
    "set": {name: (f"{NEW} --set {text}", said) for name, (text, said) in CONSTANTS.items()},
    "space": {
        name: (
            f"search --data digits --budget 1min --space {_file(name)}",
            f"{_file(name)}.*{said}",
        )
        for name, (_, said) in SPACES.items()
    },
    "space name": {
        name: (f"search --data digits --budget 1min --space {text}", said)
        for name, (text, said) in SPACE_NAMES.items()
    },
    "data": {name: (f"{OVER} {text}", said) for name, (text, said) in DATA.items()},
    "holes": HOLES,
    "network": NETWORKS,
    "run": RUNS,
}
CASES = {
    f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of everything that may be wrong."""
    folder = tmp_path_factory.mktemp("bad")
    write_data(folder / "data")
    write_networks(folder / "nets")
    write_runs(folder / "runs")
    (folder / "folder.yaml").mkdir()
    for name, (text, _) in SPACES.items():
        (folder / _file(name)).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


@pytest.fixture
def nas(
    bad: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[int, str, str]]:
    """Run a command line in this process and that folder, without a GPU; nothing may be trained."""

    def measured(networks: Sequence[object], *_: object, **__: object) -> pilot.Pilot:
        return pilot.Pilot(tuple(pilot.Pace(0.1, 0.1, True) for _ in networks), 3.0)

    def trained(*_: object, **__: object) -> None:
        raise AssertionError("bad input was trained")

    monkeypatch.chdir(bad)
    monkeypatch.setenv("NAS_DATA", str(bad / "data"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(import_module("nas.search.run"), "search", trained)
    monkeypatch.setattr(import_module("nas.search.trainable"), "train", trained)
    monkeypatch.setattr(pilot, "measure", measured)

    def run(line: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(shlex.split(line))
        streams = capfd.readouterr()
        return int(left.value.code or 0), streams.out, streams.err

    return run


@pytest.fixture
def unchanged(bad: Path) -> Iterator[None]:
    """Nothing in the folder is made, changed or lost."""
    before = snapshot(bad)
    yield
    after = snapshot(bad)
    assert [name for name in {**before, **after} if before.get(name, 0) != after.get(name, 0)] == []


def one_sentence(told: tuple[int, str, str], said: str) -> None:
    code, out, err = told
    assert code == 2, (code, out, err)
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert re.search(said, err), err
    assert len(err) < 900 and not re.search(r"Traceback|\[Errno|object at 0x|  +|<class", err), err


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("unchanged")
def test_bad_input_is_answered_with_one_sentence(case: str, nas: Callable) -> None:
    line, said = CASES[case]
    one_sentence(nas(line), said)


@pytest.mark.parametrize("line", ["search --resume runs/good", "search --resume good --budget 1h"])
@pytest.mark.usefixtures("unchanged")
def test_a_run_that_another_process_holds(nas: Callable, line: str) -> None:
    with RunDir(Path("runs/good").absolute()).lock():
        one_sentence(
            nas(line),
            r"in use by another process \(pid \d+ on .+\); wait for it, or stop it: nas stop",
        )


@pytest.mark.usefixtures("unchanged")
def test_a_port_in_use(nas: Callable) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one_sentence(
            nas(f"dashboard runs/good --port {port}"),
            f"--port {port}: .*in use; name another, or 0 for any",
        )


@pytest.mark.usefixtures("unchanged")
def test_stop_of_a_run_that_is_not_running_says_so_and_leaves_no_word(nas: Callable) -> None:
    code, out, err = nas("stop runs/good")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"runs/good is not running; go on: nas search --resume runs/good\n", out)


@pytest.mark.usefixtures("unchanged")
def test_a_damaged_run_does_not_hide_the_others(nas: Callable) -> None:
    code, out, err = nas("runs")
    assert code == 0 and "good" in out and "request_list" not in out
    assert re.search(r"left out: .*request_list/request.yaml cannot be read", err)


@pytest.mark.usefixtures("unchanged")
def test_holes_are_fine_where_a_space_may_stand(nas: Callable) -> None:
    assert nas("describe nets/holes.yaml")[0] == 0


def test_a_hole_is_no_fault_and_the_folder_is_good(nas: Callable) -> None:
    """The cases fail for their faults alone."""
    assert nas(f"{NEW} --dry-run --json")[0] == 0
    assert nas(f"{OVER} data/good.npz --dry-run --json")[0] == 0
    assert nas(f"{PREDICT} nets/good.npy")[0] == 0
    assert nas(TEST)[0] == 0
    assert nas("show runs/good")[0] == 0


def test_no_command_shows_the_help(nas: Callable) -> None:
    code, out, err = nas("")
    assert (code, out) == (2, "") and "Commands:" in err and "search" in err


SUBPROCESS = ("budget: zero", "space: unknown operator", "run: resume of an edited copy")


@pytest.mark.parametrize(
    "case",
    [
        "words: unknown option", "data: truncated IDX",  # the first to be found, and the last
        *(pytest.param(each, marks=pytest.mark.slow) for each in SUBPROCESS),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unchanged")
def test_the_real_program_answers_the_same(case: str, bad: Path) -> None:
    line, said = CASES[case]
    done = subprocess.run(
        command(*shlex.split(line)), cwd=bad, env=environment(), capture_output=True, text=True,
        timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    one_sentence((done.returncode, done.stdout, done.stderr), said)

"""What a worker reports of candidates that misbehave: in this process, without Ray."""

from __future__ import annotations

import faulthandler
from pathlib import Path

import pytest
import torch

from nas.data import AUGMENTATIONS, ImageData, load
from nas.plugins import Plugin, load_plugins
from nas.search.trainable import Worker
from nas.search.work import Ask

PLUGIN = Path(__file__).parent / "faulty_cells.py"
TEXT = """
network:
  - {op: conv, channels: 8, kernel: 3}
  - {op: own_faulty, fault: FAULT}
  - {op: global_pool}
  - {op: linear}
recipe: {lr: 0.05, epochs: 2, batch_size: 256, augment: AUGMENT}
"""


@pytest.fixture(scope="module")
def data() -> ImageData:
    load_plugins([PLUGIN])
    return load("digits", seed=0).without_test()


def reports(data: ImageData, folder: Path, fault: str, augment: str = "none") -> list[dict]:
    """All that a worker says of a network with that fault."""
    worker = Worker(data, "cpu", 1)
    text = TEXT.replace("FAULT", fault).replace("AUGMENT", augment)
    worker.begin(Ask(3, "coarse", text, 2, 0, str(folder), 0, True))
    told: list[dict] = []
    while not told or (told[-1]["kind"] != "failed" and told[-1].get("epoch") != 2):
        told.append(worker.step())
        if told[-1].get("stop") is not None:
            break
    return told


def test_the_first_report_comes_before_anything_of_the_candidate_runs(data, tmp_path):
    first, *_, last = reports(data, tmp_path, "none")
    assert first == {"kind": "pause", "share": 0.0}
    assert last["kind"] == "epoch" and last["validation"] > 0.1
    assert last["peak_memory"] is None, "a CPU does not say what it took"


@pytest.mark.parametrize(
    ("fault", "cause", "words"),
    [
        ("raise", "failed", "ValueError: shape (256, 8, 8, 8)"),
        ("raise_late", "failed", "ValueError: only whole batches"),
        ("tuple", "failed", "'tuple' object"),
        ("text", "failed", "'str' object"),
        ("misfit", "failed", "ValueError: Expected input batch_size"),
        ("wordless", "failed", "Wordless: "),
        ("allocate", "out_of_memory", "can't allocate memory"),
        ("memory_error", "out_of_memory", "MemoryError"),
        ("cuda_memory", "out_of_memory", "CUDA out of memory"),
        ("cublas", "out_of_memory", "CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_an_error_of_the_candidate_is_a_report_with_its_cause(data, tmp_path, fault, cause, words):
    last = reports(data, tmp_path, fault)[-1]
    assert last["kind"] == "failed" and last["cause"] == cause
    assert words in last["error"] and "Traceback" in last["error"]


@pytest.mark.parametrize("fault", ["nan_in_validation", "infinite_in_validation", "infinite_loss"])
def test_values_that_are_no_numbers_end_the_training_as_nan(data, tmp_path, fault):
    last = reports(data, tmp_path, fault)[-1]
    assert last["kind"] == "epoch" and last["stop"] == "nan" and last["violation"] == 1.0
    assert "nan" in (tmp_path / "metrics.csv").read_text()
    assert not (tmp_path / "checkpoint.pt").exists()


def test_data_that_cannot_be_prepared_fail_their_trial(data, tmp_path, monkeypatch):
    """There are no data workers: images lie on the device, and are augmented in the training."""

    def broken(batch, generator):
        raise OSError("no pictures today")

    monkeypatch.setitem(AUGMENTATIONS._items, "flip_crop", broken)
    last = reports(data, tmp_path, "none", "flip_crop")[-1]
    assert last["cause"] == "failed" and last["error"].endswith("OSError: no pictures today\n")


def test_after_a_fault_the_worker_trains_the_next_trial(data, tmp_path):
    worker = Worker(data, "cpu", 1)
    for fault, kind in (("raise", "failed"), ("none", "epoch")):
        text = TEXT.replace("FAULT", fault).replace("AUGMENT", "none")
        worker.begin(Ask(3, "coarse", text, 1, 0, str(tmp_path), 0, True))
        worker.step()
        report = worker.step()
        while report["kind"] == "pause":
            report = worker.step()
        assert report["kind"] == kind


@pytest.mark.parametrize("spoiled", ["seed", "network", "weights", "state"])
def test_a_checkpoint_of_another_training_is_left_aside(data, tmp_path, spoiled):
    """The one before it is gone on from; without one it is the training from its beginning."""

    def curve(folder: Path, seed: int = 0, channels: int = 8) -> tuple[list[float], float]:
        """The losses, and what the first epoch took: the same again where it was not trained."""
        text = TEXT.replace("FAULT", "none").replace("AUGMENT", "none")
        text = text.replace("channels: 8", f"channels: {channels}")
        folder.mkdir(exist_ok=True)
        worker = Worker(data, "cpu", 1)
        worker.begin(Ask(3, "coarse", text, 2, seed, str(folder), 0, True))
        told = [worker.step()]
        while told[-1].get("epoch") != 2:
            told.append(worker.step())
            assert told[-1]["kind"] != "failed", told[-1]
        epochs = [report for report in told if report["kind"] == "epoch"]
        return [report["train_loss"] for report in epochs], epochs[0]["seconds"]

    own, other = tmp_path / "own", tmp_path / "other"
    whole, first = curve(own)
    before = own / "checkpoint.previous.pt"
    if spoiled in ("seed", "network"):
        curve(other, **({"seed": 1} if spoiled == "seed" else {"channels": 4}))
        theirs = (other / "checkpoint.pt").read_bytes()
        (own / "checkpoint.pt").write_bytes(theirs)
    else:
        saved = torch.load(own / "checkpoint.pt", weights_only=True)
        if spoiled == "weights":  # that do not fit, behind some that do
            name, weight = list(saved["state"]["model"].items())[-1]
            saved["state"]["model"][name] = weight[:-1]
        else:
            saved["state"]["optimizer"] = None
        torch.save(saved, own / "checkpoint.pt")
    spoilt = (own / "checkpoint.pt").read_bytes()
    assert curve(own) == (whole, first), "from its first epoch's checkpoint on"
    (own / "checkpoint.pt").write_bytes(spoilt)
    before.unlink()
    again, took = curve(own)
    assert again == whole and took != first, "from its own first weights on"


def test_a_worker_opens_a_file_for_its_last_words(data, tmp_path):
    was = faulthandler.is_enabled()
    try:
        worker = Worker(data, "cpu", 1, last_words=tmp_path)
        assert [path.name[:8] for path in tmp_path.iterdir()] == [".worker-"]
    finally:
        faulthandler.disable()
        worker._last_words.close()
        if was:
            faulthandler.enable()


CELL = '''
from torch import nn
from nas.models import operator


@operator("own_narrow_NAME")
class Narrow(nn.Module):
    """Takes batches of one size."""

    def __init__(self, in_channels: int):
        super().__init__()

    def forward(self, x):
        if not x.is_meta and len(x) % 256:
            raise ValueError("this batch is not for me")  # NAME
        return x
'''


@pytest.mark.parametrize("there", [True, False], ids=["at_home", "on_another_node"])
def test_the_traceback_of_a_plugin_shows_the_user_s_file_and_its_line(data, tmp_path, there):
    """The run's copy lies where the driver is; workers elsewhere have its text alone."""
    name = "home" if there else "away"
    text, path = CELL.replace("NAME", name), tmp_path / name / "my_cells.py"
    if there:
        path.parent.mkdir()
        path.write_text(text)
    worker = Worker(data, "cpu", 1, [Plugin(path, text.encode())])
    network = TEXT.replace("own_faulty, fault: FAULT", f"own_narrow_{name}")
    network = network.replace("AUGMENT", "none")
    worker.begin(Ask(3, "coarse", network, 1, 0, str(tmp_path), 0, True))
    report = worker.step()
    while report["kind"] == "pause":
        report = worker.step()
    raising = f'raise ValueError("this batch is not for me")  # {name}'
    line = text[: text.index(raising)].count("\n") + 1
    assert f'File "{path}", line {line}, in forward\n    {raising}' in report["error"]
    assert report["error"].endswith("ValueError: this batch is not for me\n")
    assert [file.name for file in tmp_path.rglob("__pycache__")] == []

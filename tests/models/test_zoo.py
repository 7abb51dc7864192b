"""The documented networks: every file of the zoo prices as it builds, and as its public reference.

A new file is taken up by itself.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.models import build, cost
from nas.models.image import image_size
from nas.space import Architecture, find, load

GOLDEN = Path(__file__).parents[1] / "golden"
REFERENCES = {
    row["file"]: row
    for row in csv.DictReader((GOLDEN / "reference_models.csv").read_text().splitlines())
}
ORDERS = json.loads((GOLDEN / "parameter_order.json").read_text())
FILES = sorted(path.stem for path in (find("tiny").parent / "zoo").glob("*.yaml"))


def architecture(name: str) -> Architecture:
    loaded = load(name)
    assert isinstance(loaded, Architecture), f"{name} has holes"
    return loaded


def known(loaded: Architecture) -> dict[str, Any]:
    return {"classes": loaded.input["classes"], "channels": loaded.input["channels"]}


def on_meta(loaded: Architecture, **of: Any) -> nn.Module:
    with torch.device("meta"):
        return build(loaded, **of)


@pytest.mark.parametrize(
    "name",  # 1,202 layers are counted in test_residual.py; they repeat those of resnet110_cifar
    [pytest.param(n, marks=pytest.mark.slow if n == "resnet1202_cifar" else ()) for n in FILES],
)
def test_prices_as_it_builds(name: str) -> None:
    loaded = architecture(name)
    assert loaded.name == name
    assert len(loaded.about) > 20
    price, model = cost(loaded, **known(loaded)), on_meta(loaded, **known(loaded)).eval()
    assert price.params == sum(p.numel() for p in model.parameters())
    height, width = image_size(loaded, None)
    images = torch.empty(1, loaded.input["channels"], height, width, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        logits = model(images)
    assert logits.shape == (1, loaded.input["classes"])
    assert 2 * price.macs == counter.get_total_flops()


@pytest.mark.parametrize("name", [name for name in FILES if name in REFERENCES])
def test_agrees_with_its_public_reference(name: str) -> None:
    loaded, row = architecture(name), REFERENCES[name]
    of = {"classes": 1000, "channels": 3, "size": int(row["size"])}
    price = cost(loaded, **of)
    assert price.params == int(row["params"])
    assert price.macs == int(row["macs"])
    assert price.activations == int(row["activations"])
    shapes = [
        list(value.shape)
        for key, value in on_meta(loaded, **of).state_dict().items()
        if not key.endswith("num_batches_tracked")
    ]
    assert len(shapes) == ORDERS[name]["entries"]
    digest = hashlib.sha256(json.dumps(shapes).encode()).hexdigest()
    assert digest == ORDERS[name]["sha256"]

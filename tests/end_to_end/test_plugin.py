"""A search over a cell of the user's own, from a file, to a network that labels images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CELL = '''
import torch
from torch import nn
from nas.models import operator


@operator("own_gated")
class Gated(nn.Module):
    """A convolution gated by another one."""

    def __init__(self, in_channels: int, channels: int, kernel: int = 3):
        super().__init__()
        self.value = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)
        self.gate = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)

    def forward(self, x):
        return self.value(x) * torch.sigmoid(self.gate(x))
'''
SPACE = """
network:
  - {op: own_gated, name: first, channels: !choice [8, 12], kernel: !choice [3, 5]}
  - {op: max_pool}
  - {op: global_pool}
  - {op: linear}
recipe: {lr: !log [0.03, 0.3], epochs: 2, batch_size: 64}
"""


def test_a_cell_of_ones_own_is_searched_exported_and_used(
    tmp_path: Path, nas, here, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells.py").write_text(CELL)
    (tmp_path / "own.yaml").write_text(SPACE)
    words = ["search", "--space", "own.yaml", "--data", "digits", "--budget", "3trials"]
    refused = here(*words)
    assert refused.code == 2
    assert "unknown operator 'own_gated'" in refused.err and "--plugin FILE" in refused.err

    done = nas(*words, "--plugin", "cells.py", "--run-dir", "run", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["trials"]["finished"] + found["trials"]["pruned"] == 3
    copy = tmp_path / "run" / "plugins" / "cells.py"
    assert copy.read_text() == CELL

    (tmp_path / "cells.py").unlink()  # the run has its own
    more = nas("search", "--resume", "run", "--budget", "4trials", "--json")
    assert more.code == 0, more.err
    assert more.json["trials"]["total"] == 4

    said = here("show", "run").out
    assert "nas test run/best.yaml --plugin run/plugins/cells.py" in said

    np.save(tmp_path / "image.npy", np.zeros((8, 8), np.uint8))
    label = nas("predict", "run/best.yaml", "image.npy", "--plugin", str(copy), "--json")
    assert label.code == 0, label.err
    assert label.json["predictions"][0]["label"] in "0123456789"

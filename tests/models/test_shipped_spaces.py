"""The shipped spaces: their defaults are what their files say, and every draw builds."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import ShapeError
from nas.models import build, cost
from nas.space import Space, draw, fill, load, shipped

NAMES = sorted(path.stem for path in shipped().glob("*.yaml"))
SPACES: dict[str, Any] = {name: load(name) for name in NAMES}
IMAGES = [(8, 1), (28, 1), (32, 3), (224, 3)]


def default(name: str) -> Any:
    space = SPACES[name]
    assert isinstance(space, Space)
    return fill(space, space.default())


def outgrows(architecture: Any) -> bool:
    """Whether `scaling` states a growth that its coefficients miss: such a draw is infeasible."""
    scaling = architecture.scaling
    if "growth" not in scaling:
        return False
    found = scaling["alpha"] * scaling["beta"] ** 2 * scaling["gamma"] ** 2
    return bool(abs(found - scaling["growth"]) > 0.1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "channels"), IMAGES)
def test_the_default_fits_every_image_and_its_own_limits(
    name: str, size: int, channels: int
) -> None:
    found = cost(default(name), classes=10, channels=channels, size=size)
    assert found.params <= SPACES[name].limits["params"]
    assert found.macs <= SPACES[name].limits["macs"]


def test_the_default_of_resnet_cells_is_resnet20() -> None:
    found = cost(default("resnet_cells"), classes=10, channels=3, size=32)
    # He et al. 2015: 0.27 M parameters; the padded shortcuts' 269,722 and 2,752 of projections
    assert found.params == 272_474
    assert found.macs == 40_813_184
    units = build(default("resnet_cells"), classes=10, channels=3, size=32)
    layers = [m for m in units.modules() if type(m) in (torch.nn.Conv2d, torch.nn.Linear)]
    assert len(layers) == 20 + 2  # and the two projections


def test_the_default_of_vgg_blocks_is_vgg16_for_small_images() -> None:
    found = cost(default("vgg_blocks"), classes=10, channels=3, size=32)
    plan = [(64, 2, 32), (128, 2, 16), (256, 3, 8), (512, 3, 4), (512, 3, 2)]
    before, weights, norms, macs = 3, 0, 0, 0
    for channels, convolutions, side in plan:
        for _ in range(convolutions):
            weights += 9 * before * channels
            macs += 9 * before * channels * side**2
            norms += 2 * channels
            before = channels
    dense = 512 * 512 + 512 + 512 * 10 + 10
    assert found.params == weights + norms + dense == 14_986_698
    assert found.macs == macs + 512 * 512 + 512 * 10
    assert found.activations == sum(c * n * side**2 for c, n, side in plan)


def test_the_default_of_layer_pattern_is_the_notes_largest_example() -> None:
    # INPUT -> [CONV -> RELU -> CONV -> RELU -> POOL]*3 -> [FC -> RELU]*2 -> FC, behind the stem
    units = build(default("layer_pattern"), classes=10, channels=3, size=32)
    kinds = [type(m).__name__ for m in units.modules() if not list(m.children())]
    layers = [kind for kind in kinds if kind in ("Conv2d", "MaxPool2d", "Linear", "ReLU")]
    block = ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d"]
    assert layers == ["Conv2d", "ReLU"] + 3 * block + 2 * ["Linear", "ReLU"] + ["Linear"]


@pytest.mark.parametrize(
    "name",  # nasnet_cells take as long as all others; their cells are built in test_nasnet.py
    [pytest.param(n, marks=pytest.mark.slow if n == "nasnet_cells" else ()) for n in NAMES],
)
@given(seed=st.integers(0, 2**32), image=st.sampled_from(IMAGES[:3]))
@settings(max_examples=6, deadline=None)
def test_every_draw_builds_at_its_price(name: str, seed: int, image: tuple[int, int]) -> None:
    space, (size, channels) = SPACES[name], image
    architecture = fill(space, draw(space, random.Random(seed)))
    known = {"classes": 7, "channels": channels, "size": size}
    if outgrows(architecture):
        with pytest.raises(ShapeError, match="growth"):
            cost(architecture, **known)
        return
    price = cost(architecture, **known)
    with torch.device("meta"):
        model = build(architecture, **known).eval()
        with FlopCounterMode(display=False) as counter:
            assert model(torch.empty(2, channels, size, size)).shape == (2, 7)
    assert price.params == sum(p.numel() for p in model.parameters())
    assert 4 * price.macs == counter.get_total_flops()  # two a multiply-add, two images


@pytest.mark.parametrize("name", NAMES)
def test_most_draws_fit_every_image(name: str) -> None:
    space, rng = SPACES[name], random.Random(0)
    for size, channels in IMAGES:
        misfits = 0
        for _ in range(100):
            architecture = fill(space, draw(space, rng))
            try:
                cost(architecture, classes=10, channels=channels, size=size)
            except ShapeError:
                misfits += not outgrows(architecture)
        assert misfits == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_default_trains_on_an_image_batch(name: str) -> None:
    torch.manual_seed(0)
    model = build(default(name), classes=10, channels=1, size=8).train()
    logits = model(torch.randn(4, 1, 8, 8))
    torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

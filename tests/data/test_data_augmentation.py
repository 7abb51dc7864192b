"""Augmentation against a slow loop that does what the words say."""

from __future__ import annotations

import math

import pytest
import torch

from nas.data import AUGMENTATIONS


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(images: int, height: int = 9, width: int = 17) -> torch.Tensor:
    return 1 + torch.arange(images * 3 * height * width, dtype=torch.float32).reshape(
        images, 3, height, width
    )


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_the_generator_decides(name):
    augment, batch = AUGMENTATIONS.get(name), _batch(32)
    untouched = batch.clone()
    first, second = augment(batch, _generator(5)), augment(batch, _generator(5))
    assert torch.equal(first, second)
    assert torch.equal(batch, untouched)
    assert (first.shape, first.dtype, first.device) == (batch.shape, batch.dtype, batch.device)
    generator = _generator(5)
    state = generator.get_state()
    augment(batch, generator)
    later = augment(batch, generator)
    generator.set_state(state)
    assert torch.equal(augment(batch, generator), first)
    assert name == "none" or not torch.equal(later, first)


def test_none_gives_the_batch_itself():
    batch = _batch(2)
    assert AUGMENTATIONS.get("none")(batch, _generator()) is batch


@pytest.mark.parametrize(("height", "width"), [(32, 32), (9, 17), (8, 8), (1, 1)])
def test_flip_crop_is_a_crop_of_the_framed_image_mirrored_or_not(height, width):
    frame_h, frame_w = math.ceil(height / 8), math.ceil(width / 8)
    batch = _batch(24, height, width)
    changed = AUGMENTATIONS.get("flip_crop")(batch, _generator())
    framed = torch.nn.functional.pad(batch, (frame_w, frame_w, frame_h, frame_h))
    for image, result in zip(framed, changed, strict=True):
        crops = [
            image[:, top : top + height, left : left + width]
            for top in range(2 * frame_h + 1)
            for left in range(2 * frame_w + 1)
        ]
        assert any(torch.equal(result, c) or torch.equal(result, c.flip(2)) for c in crops)


def test_flip_crop_draws_every_offset_and_both_sides():
    # 1,000 images, 9 x 9 offsets, 2 sides: the chance to miss one of the 20 is below 1e-40.
    height = width = 32
    spot = torch.zeros(1000, 1, height, width)
    spot[:, :, 10, 12] = 1
    changed = AUGMENTATIONS.get("flip_crop")(spot, _generator())
    found = changed.nonzero()
    assert set(found[:, 2].tolist()) == set(range(6, 15))
    assert set(found[:, 3].tolist()) == set(range(8, 17)) | {31 - c for c in range(8, 17)}
    mirrored = int((found[:, 3] > 16).sum()) / 1000  # columns 8 to 16 against 15 to 23
    assert 0.35 < mirrored < 0.6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_a_generator_on_the_cpu_gives_the_same_on_every_device(name):
    augment, batch = AUGMENTATIONS.get(name), _batch(32)
    there = augment(batch.cuda(), _generator(1))
    assert there.device.type == "cuda"
    assert torch.equal(there.cpu(), augment(batch, _generator(1)))

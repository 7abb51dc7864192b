"""Reading pictures for a prediction."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nas.data import read_images
from nas.errors import DataError

RANDOM = np.random.RandomState(0)
GREY = RANDOM.randint(0, 256, (6, 5)).astype(np.uint8)
COLOUR = RANDOM.randint(0, 256, (6, 5, 3)).astype(np.uint8)


def _saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_png_is_read_to_the_byte(tmp_path):
    paths = [_saved(tmp_path / "a.png", COLOUR), _saved(tmp_path / "b.png", COLOUR[::-1].copy())]
    x = read_images(paths, channels=3, size=(6, 5))
    assert x.dtype == np.uint8
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(x[0], COLOUR.transpose(2, 0, 1))
    np.testing.assert_array_equal(x[1], COLOUR[::-1].transpose(2, 0, 1))


def test_grey_and_colour_become_what_is_asked_for(tmp_path):
    grey, colour = _saved(tmp_path / "g.png", GREY), _saved(tmp_path / "c.png", COLOUR)
    np.testing.assert_array_equal(
        read_images([grey], channels=3, size=(6, 5))[0], np.stack([GREY] * 3)
    )
    x = read_images([grey, str(colour)], channels=1, size=(6, 5))
    assert x.shape == (2, 1, 6, 5)
    np.testing.assert_array_equal(x[0, 0], GREY)


def test_another_size_is_resized_with_antialias(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))  # columns 0, 255, 0, 255, …
    x = read_images([_saved(tmp_path / "s.png", stripes)], channels=1, size=(8, 4))
    assert x.shape == (1, 1, 8, 4)
    assert 100 < x.min() <= x.max() < 155  # without antialias it would be 0 or 255


def test_jpeg_is_turned_upright(tmp_path):
    halves = np.zeros((16, 32, 3), np.uint8)
    halves[:, 16:] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    path = _saved(tmp_path / "t.jpg", halves, exif=exif)
    x = read_images([path], channels=1, size=(16, 32))
    assert x[0, 0, :, :14].min() > 200
    assert x[0, 0, :, 18:].max() < 50


def test_sixteen_bits_keep_their_upper_half(tmp_path):
    path = _saved(tmp_path / "d.png", GREY.astype(np.uint16) * 256 + 7)
    np.testing.assert_array_equal(read_images([path], channels=1, size=(6, 5))[0, 0], GREY)


def test_transparency_and_palettes_are_dropped(tmp_path):
    Image.fromarray(np.dstack([COLOUR, GREY])).save(tmp_path / "a.png")
    palette = Image.fromarray(COLOUR).convert("P")
    palette.save(tmp_path / "p.png", transparency=bytes(range(palette.getcolors()[-1][1] + 1)))
    x = read_images([tmp_path / "a.png", tmp_path / "p.png"], channels=3, size=(6, 5))
    np.testing.assert_array_equal(x[0], COLOUR.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("array", "channels"),
    [
        (GREY, 1),
        (GREY[None], 1),
        (GREY[..., None], 1),
        (np.stack([GREY] * 4), 1),
        (COLOUR, 3),
        (COLOUR.transpose(2, 0, 1), 3),
        (np.stack([COLOUR] * 4), 3),
        (RANDOM.rand(4, 13, 6, 5).astype(np.float64), 13),
    ],
)
def test_npy_in_every_layout(tmp_path, array, channels):
    np.save(tmp_path / "a.npy", array)
    x = read_images([tmp_path / "a.npy"], channels=channels, size=(6, 5))
    assert x.shape[1:] == (channels, 6, 5)
    assert x.size == array.size
    assert x.dtype == (np.float32 if array.dtype == np.float64 else np.uint8)
    first = array if array.size == channels * 30 else array[0]
    first = first.reshape(6, 5, 1) if channels == 1 else first
    if first.shape[0] != channels:
        first = first.transpose(2, 0, 1)
    np.testing.assert_array_equal(x[0], first.astype(x.dtype))


def _npy(path, array):
    np.save(path, array, allow_pickle=True)


FAULTS = {
    "nothing": (None, "does not exist"),
    "empty": (lambda p: p.write_bytes(b""), "empty"),
    "folder": (lambda p: p.mkdir(), "is a folder"),
    "text": (lambda p: p.write_text("hello"), "neither PNG nor JPEG"),
    "gif": (lambda p: _saved(p, GREY, format="GIF"), "neither PNG nor JPEG"),
    "cut": (
        lambda p: p.write_bytes(_saved(p, COLOUR, format="PNG").read_bytes()[:90]),
        "truncated",
    ),
}
NPY_FAULTS = {
    "text": (lambda p: p.write_text("hello"), "no .npy file"),
    "cut": (lambda p: (_npy(p, GREY), p.write_bytes(p.read_bytes()[:-3])), "truncated"),
    "objects": (lambda p: _npy(p, np.array([GREY, "a"], object)), "no .npy file of numbers"),
    "size": (lambda p: _npy(p, GREY.T), r"\(5, 6\).*\(1, 6, 5\).*\(6, 5, 1\)"),
    "nan": (lambda p: _npy(p, np.full((6, 5), np.nan)), "pixel nan"),
    "words": (lambda p: _npy(p, np.full((6, 5), "a")), "must be uint8"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_picture_is_one_clear_sentence(tmp_path, fault):
    make, words = FAULTS[fault]
    _refused(tmp_path / "a.png", make, words)


@pytest.mark.parametrize("fault", NPY_FAULTS)
def test_a_bad_array_is_one_clear_sentence(tmp_path, fault):
    make, words = NPY_FAULTS[fault]
    _refused(tmp_path / "a.npy", make, words)


def _refused(path, make, words):
    if make is not None:
        make(path)
    with pytest.raises(DataError, match=words) as caught:
        read_images([path], channels=1, size=(6, 5))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_together(tmp_path):
    np.save(tmp_path / "f.npy", np.full((6, 5), 0.5))
    png = _saved(tmp_path / "a.png", GREY)
    with pytest.raises(DataError, match="one kind at a time"):
        read_images([png, tmp_path / "f.npy"], channels=1, size=(6, 5))
    with pytest.raises(DataError, match="no image was given"):
        read_images([], channels=1, size=(6, 5))
    with pytest.raises(DataError, match="13 channels"):
        read_images([png], channels=13, size=(6, 5))

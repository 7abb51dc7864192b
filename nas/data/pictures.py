"""Pictures to predict on, brought to the shape that a network was trained with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .checks import pixels

MODES = {1: "L", 3: "RGB"}
PICTURES = ("PNG", "JPEG")


def read_images(
    paths: Iterable[str | Path], *, channels: int, size: tuple[int, int]
) -> NDArray[Any]:
    """Images (N, C, H, W) from files, in the order of `paths`, for `size` = (height, width).

    PNG and JPEG become grey (channels 1) or RGB (3), turned upright by their EXIF, transparency
    dropped, resized with antialias where their size differs; they come out as uint8.
    A `.npy` holds one image, (H, W), (C, H, W) or (H, W, C), or many, with N in front; its size
    must be right, and floats stay floats (float32), for networks trained on such.
    Raises DataError.
    """
    read = [_read(Path(path), channels, size) for path in paths]
    if not read:
        raise DataError("no image was given: name at least one PNG, JPEG or .npy file")
    if len({x.dtype for x in read}) > 1:
        raise DataError(
            "some of the images are bytes, others (.npy) floats: give them one kind at a time, of"
            " which the network was trained on"
        )
    return np.ascontiguousarray(np.concatenate(read))  # (N, C, H, W)


def _read(path: Path, channels: int, size: tuple[int, int]) -> NDArray[Any]:
    if path.is_dir():
        raise DataError(f"{path} is a folder: name the images in it, such as {path / '*.png'}")
    if not path.exists():
        raise DataError(f"{path} does not exist: name a PNG, JPEG or .npy file")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes): copy it again")
    if path.suffix.lower() == ".npy":
        return _array(path, channels, size)
    return _picture(path, channels, size)


def _picture(path: Path, channels: int, size: tuple[int, int]) -> NDArray[Any]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    if channels not in MODES:
        raise DataError(
            f"{path} cannot become an image of {channels} channels, only of 1 (grey) or 3 (RGB):"
            " save it as .npy"
        )
    try:
        with Image.open(path, formats=PICTURES) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip to 255
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
            picture = picture.convert(MODES[channels])
    except UnidentifiedImageError:
        raise DataError(f"{path} is neither PNG nor JPEG: save it as one, or as .npy") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is truncated or damaged ({error}): copy it again") from None
    height, width = size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    array = np.asarray(picture, np.uint8).reshape(height, width, channels)
    return array.transpose(2, 0, 1)[np.newaxis]  # (1, C, H, W)


def _array(path: Path, channels: int, size: tuple[int, int]) -> NDArray[Any]:
    try:
        x = np.load(path, allow_pickle=False)
        if not isinstance(x, np.ndarray):
            raise ValueError("an archive of arrays")
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{path} is no .npy file of numbers, or a truncated one ({error}): write it with"
            " numpy.save"
        ) from None
    first, last = (channels, *size), (*size, channels)
    grey = channels == 1 and x.ndim in (2, 3) and x.shape[-2:] == size
    if grey or (x.ndim in (3, 4) and x.shape[-3:] == first):
        x = x.reshape(-1, *first)
    elif x.ndim in (3, 4) and x.shape[-3:] == last:
        x = x.reshape(-1, *last).transpose(0, 3, 1, 2)
    else:
        raise DataError(
            f"{path} holds the shape {x.shape}, but the network takes {first} (channels, height,"
            f" width) or {last}, with or without a number of images in front: reshape or resize it"
        )
    return pixels((x, str(path)))[0]  # (N, C, H, W)

"""Bytes from a file, with one clear sentence where there are none."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from ..errors import DataError

GZIP_MAGIC = b"\x1f\x8b"


def read_bytes(path: Path) -> bytes:
    """What is in the file, unpacked where it is gzip (told by its content, not by its name).

    Raises DataError where it is missing, empty, unreadable, or where the gzip is truncated or
    broken.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing: put it there, or correct the path") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): a readable file is wanted"
        ) from None
    if not content:
        raise DataError(f"{path} is empty (0 bytes): copy or download it again")
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is truncated or damaged: after {len(content):,} bytes gzip says"
            f" {str(error)!r}: copy or download it again"
        ) from None

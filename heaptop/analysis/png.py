"""Writes PNG: RGB of 8 bits, no filter (ISO/IEC 15948:2004)."""

import struct
import zlib
from collections.abc import Iterable
from typing import Final

from heaptop.analysis.picture import Picture, Read, rows

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
SIDE_MAX: Final = (1 << 31) - 1
_DEPTH_BITS: Final = 8
_RGB: Final = 2


def encode(width: int, height: int, rows: Iterable[bytes]) -> bytes:
    """A PNG file of `height` rows of `width` pixels, three bytes each: red, green, blue."""
    packer = zlib.compressobj()
    pixels = b"".join([*(packer.compress(b"\0" + row) for row in rows), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, _DEPTH_BITS, _RGB, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def png_of(picture: Picture, read: Read) -> bytes:
    """A PNG file of a whole picture."""
    return encode(picture.width, picture.height, rows(picture, picture.width, picture.height, read))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

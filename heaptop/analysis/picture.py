"""Bytes of a buffer as a picture: where each format has its pixels, and what they are in RGB.

Only the rows that are wanted are asked for, from a `Read` that the caller gives: a picture of 33 MB is shown on a
terminal from some 50 rows of it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import add
from typing import Final, NamedTuple

from heaptop.errors import UsageError

Span = tuple[int, int]
"""Offset and length, in bytes."""
Read = Callable[[Sequence[Span]], Sequence[bytes]]
"""Gives the bytes of each span."""

SIDE_MAX: Final = 1 << 16
BAND_BYTES: Final = 4 << 20
"""About so much is asked for at a time."""


class _Format(NamedTuple):
    """`row_bytes_per_two`: of two pixels next to each other in the first plane. `chroma_planes` have half the rows."""

    what: str
    row_bytes_per_two: int
    chroma_planes: int = 0


FORMATS: Final[dict[str, _Format]] = {
    "rgba": _Format("8 bits each of red, green, blue, alpha (DRM ABGR8888)", 8),
    "bgra": _Format("8 bits each of blue, green, red, alpha (DRM ARGB8888)", 8),
    "rgb565": _Format("16-bit little-endian words: 5 bits red, 6 green, 5 blue (DRM RGB565)", 4),
    "nv12": _Format("a plane of Y, then one of U and V in turn, half as many both ways (DRM NV12)", 2, 1),
    "i420": _Format("a plane of Y, then one of U, then one of V, half as many both ways (DRM YUV420)", 2, 2),
}
"""By their order in memory, as linux/drm_fourcc.h describes them. Alpha is not looked at."""


class Picture(NamedTuple):
    """How a buffer is to be read. `stride` is bytes from one row to the next in the first plane."""

    format: str
    width: int
    height: int
    stride: int
    offset: int = 0

    @property
    def row_bytes(self) -> int:
        """What the pixels of a row of the first plane take; two chroma bytes stand for an odd last pixel too."""
        return row_bytes(self.format, self.width)

    @property
    def end(self) -> int:
        """Offset just behind the last pixel."""
        return max(offset + length for offset, length in self.row_spans(self.height - 1))

    def row_spans(self, y: int) -> tuple[Span, ...]:
        """Where row `y` is: its bytes of each plane."""
        first = (self.offset + y * self.stride, self.row_bytes)
        chroma, half_y = self.offset + self.height * self.stride, y // 2
        match FORMATS[self.format].chroma_planes:
            case 0:
                return (first,)
            case 1:
                return first, (chroma + half_y * self.stride, self.row_bytes)
        stride, length = (self.stride + 1) // 2, (self.width + 1) // 2
        second = chroma + (self.height + 1) // 2 * stride
        return first, (chroma + half_y * stride, length), (second + half_y * stride, length)

    def check(self, size_bytes: int) -> None:
        """That it lies in a buffer of this size.

        Raises:
            UsageError: it does not, its stride is too small, or a number is out of range; says what would do.
        """
        if self.format not in FORMATS:
            raise UsageError(f"no format {self.format!r}", "", f"take one of {', '.join(FORMATS)}")
        for name, value in (("width", self.width), ("height", self.height)):
            if not 0 < value <= SIDE_MAX:
                raise UsageError(f"{name} {value}", f"not from 1 to {SIDE_MAX}")
        if self.offset < 0:
            raise UsageError(f"offset {self.offset}", "below 0")
        if self.stride < self.row_bytes:
            needed = f"a row of {self.width} pixels of {self.format} takes {self.row_bytes} bytes"
            raise UsageError(f"stride {self.stride}", needed)
        if self.end > size_bytes:
            needed = f"{self.width}x{self.height} of {self.format} ends at {self.end}, the buffer at {size_bytes}"
            raise UsageError("the picture is too large", needed, "take less height or width, or another format")


def row_bytes(format_: str, width: int) -> int:
    """What the pixels of a row take in the first plane: the smallest stride."""
    pair = FORMATS[format_].row_bytes_per_two
    return width * pair // 2 if format_ != "nv12" else (width + 1) // 2 * 2


def fit(picture: Picture, width: int, height: int) -> tuple[int, int]:
    """The largest size of the same shape in `width` by `height`, at least 1 by 1, never larger than the picture."""
    if picture.width * height > picture.height * width:
        shown = min(width, picture.width)
        return shown, max(1, picture.height * shown // picture.width)
    shown = min(height, picture.height)
    return max(1, picture.width * shown // picture.height), shown


def rows(picture: Picture, width: int, height: int, read: Read) -> Iterator[bytes]:
    """The picture at another size, each pixel the nearest one: `height` rows of `width` times red, green, blue."""
    columns = [(2 * x + 1) * picture.width // (2 * width) for x in range(width)]
    lines = [(2 * y + 1) * picture.height // (2 * height) for y in range(height)]
    band = max(1, BAND_BYTES // (picture.row_bytes * 2))
    for first in range(0, height, band):
        spans = [picture.row_spans(y) for y in lines[first : first + band]]
        parts = iter(read([span for row in spans for span in row]))
        for row in spans:
            yield _row(picture, [next(parts) for _ in row], columns)


def _row(picture: Picture, planes: Sequence[bytes], columns: Sequence[int]) -> bytes:
    """Red, green, blue of these pixels of one row."""
    data = planes[0]
    match picture.format:
        case "rgba" | "bgra":
            channels = data[0::4], data[1::4], data[2::4]
            if picture.format == "bgra":
                channels = channels[::-1]
            return _interleaved([_picked(channel, columns, picture.width) for channel in channels])
        case "rgb565":
            low, high = (_picked(data[at::2], columns, picture.width) for at in (0, 1))
            green = bytes(map(add, high.translate(_GREEN_HIGH), low.translate(_GREEN_LOW)))
            return _interleaved([high.translate(_RED), green, low.translate(_BLUE)])
    u, v = (planes[1][0::2], planes[1][1::2]) if picture.format == "nv12" else (planes[1], planes[2])
    halves = [x // 2 for x in columns]
    return _rgb_of_yuv(_picked(data, columns, picture.width), _picked(u, halves, 0), _picked(v, halves, 0))


def _picked(channel: bytes, columns: Sequence[int], width: int) -> bytes:
    """The values at these columns; all of `width` columns are the channel itself."""
    return channel[:width] if len(columns) == width else bytes(map(channel.__getitem__, columns))


def _interleaved(channels: Sequence[bytes]) -> bytes:
    row = bytearray(3 * len(channels[0]))
    for at, channel in enumerate(channels):
        row[at::3] = channel
    return bytes(row)


# 565: the high byte is rrrrrggg, the low one gggbbbbb. The first bits are repeated at the end, so that full is 255.
_RED: Final = bytes((high & 0xF8) | high >> 5 for high in range(256))
_GREEN_HIGH: Final = bytes((high & 7) << 5 | (high & 7) >> 1 for high in range(256))
_GREEN_LOW: Final = bytes(low >> 5 << 2 for low in range(256))
_BLUE: Final = bytes((low << 3 & 0xF8) | low >> 2 & 7 for low in range(256))

# BT.601, limited range: what cameras and codecs write unless told otherwise. Fixed point of 8 bits behind the comma.
_CLIP_BELOW: Final = 512
_CLIP: Final = bytes(max(0, min(255, value - _CLIP_BELOW)) for value in range(1536))
_LUMA: Final = tuple(298 * (y - 16) + 128 + (_CLIP_BELOW << 8) for y in range(256))
_U_GREEN: Final = tuple(-100 * (u - 128) for u in range(256))
_V_GREEN: Final = tuple(-208 * (v - 128) for v in range(256))


@cache
def _luma_chroma(factor: int) -> bytes:
    """Red or blue by luma and the chroma that it depends on, at 256 * luma + chroma: one step for each pixel."""
    return bytes(_CLIP[(luma + factor * (chroma - 128)) >> 8] for luma in _LUMA for chroma in range(256))


def _rgb_of_yuv(y: bytes, u: bytes, v: bytes) -> bytes:
    """As many of each."""
    chroma = map(add, map(_U_GREEN.__getitem__, u), map(_V_GREEN.__getitem__, v))
    green = bytes([_CLIP[value >> 8] for value in map(add, map(_LUMA.__getitem__, y), chroma)])
    return _interleaved([_looked_up(_luma_chroma(409), y, v), green, _looked_up(_luma_chroma(516), y, u)])


def _looked_up(table: bytes, high: bytes, low: bytes) -> bytes:
    """The entries at 256 * high + low."""
    both = bytearray(2 * len(high))
    first = 1 if sys.byteorder == "little" else 0
    both[first::2], both[1 - first :: 2] = high, low
    return bytes(map(table.__getitem__, memoryview(both).cast("H")))

"""What picture a buffer of a given size may hold: the sizes of common cameras, codecs and displays."""

from typing import Final

from heaptop.analysis.picture import FORMATS, Picture, row_bytes
from heaptop.errors import UsageError

SIZES: Final = (
    *((3840, 2160), (4096, 2160), (2560, 1600), (2560, 1440), (1920, 1200), (1920, 1080), (1680, 1050)),
    *((1600, 1200), (1600, 900), (1440, 900), (1366, 768), (1280, 1024), (1280, 960), (1280, 800), (1280, 720)),
    *((1024, 768), (1024, 600), (960, 540), (854, 480), (800, 600), (800, 480), (720, 576), (720, 480), (640, 480)),
    *((640, 360), (480, 320), (480, 272), (352, 288), (320, 240), (176, 144), (160, 120)),
    *((7680, 4320), (5120, 2880), (3440, 1440), (4608, 3456), (4000, 3000), (4032, 3024), (4656, 3496), (3264, 2448)),
    *((2592, 1944), (2592, 1940), (2048, 1536), (2400, 1080), (2340, 1080), (2560, 1080), (3200, 1440), (3120, 1440)),
)
"""Width and height, most common first."""
CODEC_SIZES: Final = ((1920, 1088), (864, 480), (3840, 2176))
"""The same in whole macroblocks, as codecs allocate YUV."""
STRIDE_ALIGNMENTS: Final = (1, 64, 128, 256, 512, 1024)
PAGE_BYTES: Final = 4096
SPARE_SHARE_MAX: Final = 1 / 32
"""Of a buffer, how much may lie behind the picture: rows that fill up a block, metadata."""


def guesses(size_bytes: int, format_: str | None = None) -> tuple[Picture, ...]:
    """Pictures that fill a buffer, best first: those that end in its last page; of these rows without padding before
    others, landscape before portrait, and those that leave least.

    The last one always fits: as many rows of a power of two as there are. Empty where there is no room for a pixel.
    """
    names = tuple(FORMATS) if format_ is None else (format_,)
    found: dict[Picture, tuple[bool, bool, bool, int]] = {}
    for name in names:
        sizes = SIZES + CODEC_SIZES if FORMATS[name].chroma_planes else SIZES
        for width, height in (*sizes, *((height, width) for width, height in sizes)):
            for alignment in STRIDE_ALIGNMENTS:
                stride = -(-row_bytes(name, width) // alignment) * alignment
                picture = Picture(name, width, height, stride)
                spare_bytes = size_bytes - picture.end
                if 0 <= spare_bytes <= max(PAGE_BYTES - 1, size_bytes * SPARE_SHARE_MAX):
                    padded = stride > row_bytes(name, width)
                    rank = spare_bytes >= PAGE_BYTES, padded, height > width, spare_bytes // PAGE_BYTES
                    found.setdefault(picture, rank)
    best = sorted(found, key=found.__getitem__)
    return (*best, *(picture for picture in _plain(size_bytes, names[0]) if picture not in found))


def _plain(size_bytes: int, format_: str) -> tuple[Picture, ...]:
    width = 1
    while width < 1024 and row_bytes(format_, 2 * width) * 2 * width <= size_bytes:
        width *= 2
    stride = row_bytes(format_, width)
    height = min(size_bytes // stride, 1 << 16)
    picture = Picture(format_, width, height, stride)
    while picture.height and picture.end > size_bytes:  # chroma takes half as much again
        picture = picture._replace(height=picture.height * 2 // 3)
    return (picture,) if picture.height else ()


def guess(
    size_bytes: int,
    *,
    format_: str | None = None,
    width: int | None = None,
    height: int | None = None,
    stride: int | None = None,
    offset: int = 0,
) -> Picture:
    """The picture that is told in part: what is not told is guessed from the size.

    Raises:
        UsageError: what is told does not fit the buffer.
    """
    if format_ is not None and format_ not in FORMATS:
        raise UsageError(f"no format {format_!r}", "", f"take one of {', '.join(FORMATS)}")
    room_bytes = max(0, size_bytes - offset)
    candidates = [
        one
        for one in guesses(room_bytes, format_)
        if width in {None, one.width} and height in {None, one.height} and (stride is None or stride == one.stride)
    ]
    if candidates:
        picture = candidates[0]._replace(offset=offset)
    else:
        plain = _told(room_bytes, format_ or next(iter(FORMATS)), width=width, height=height, stride=stride)
        picture = plain._replace(offset=offset)
    picture.check(size_bytes)
    return picture


def _told(room_bytes: int, format_: str, *, width: int | None, height: int | None, stride: int | None) -> Picture:
    """What is told, with the rest as plain as can be: the stride of the width, and as many rows as there are."""
    if width is None:
        pair_bytes = row_bytes(format_, 2)
        width = max(1, 2 * ((stride or room_bytes // max(1, height or 1)) // pair_bytes))
    if stride is None:
        stride = row_bytes(format_, max(1, width))
    if height is None:
        height = max(1, room_bytes // max(1, stride))
        while height > 1 and Picture(format_, max(1, width), height, stride).end > room_bytes:
            height = max(1, min(height - 1, height * 2 // 3))
    return Picture(format_, width, height, stride)

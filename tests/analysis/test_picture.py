"""Pictures against a twin that works pixel by pixel, straight from the formats' descriptions."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.picture import BAND_BYTES, FORMATS, SIDE_MAX, Picture, fit, row_bytes, rows
from heaptop.analysis.picture_guess import guess, guesses
from heaptop.errors import UsageError

Rgb = tuple[int, int, int]


class Memory:
    """A buffer that knows what was asked of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[int] = []

    def read(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        for offset, length in spans:
            assert 0 <= offset <= offset + length <= len(self.data), "outside of the buffer"
        self.reads.append(sum(length for _, length in spans))
        return [self.data[offset : offset + length] for offset, length in spans]


def clipped(value: float) -> int:
    return max(0, min(255, int(value // 1)))


def yuv(y: int, u: int, v: int) -> Rgb:
    """BT.601, limited range, in the fixed point that everybody uses."""
    c, d, e = 298 * (y - 16) + 128, u - 128, v - 128
    return clipped((c + 409 * e) / 256), clipped((c - 100 * d - 208 * e) / 256), clipped((c + 516 * d) / 256)


def pixel(data: bytes, picture: Picture, x: int, y: int) -> Rgb:
    """The twin: one pixel."""
    stride, base = picture.stride, picture.offset
    at = base + y * stride
    match picture.format:
        case "rgba":
            return data[at + 4 * x], data[at + 4 * x + 1], data[at + 4 * x + 2]
        case "bgra":
            return data[at + 4 * x + 2], data[at + 4 * x + 1], data[at + 4 * x]
        case "rgb565":
            word = data[at + 2 * x] + 256 * data[at + 2 * x + 1]
            red, green, blue = word >> 11, word >> 5 & 63, word & 31
            return red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2
        case "nv12":
            chroma = base + picture.height * stride + y // 2 * stride + x // 2 * 2
            return yuv(data[at + x], data[chroma], data[chroma + 1])
    half = (stride + 1) // 2
    chroma = base + picture.height * stride + y // 2 * half + x // 2
    return yuv(data[at + x], data[chroma], data[chroma + (picture.height + 1) // 2 * half])


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Picture, bytes]:
    """A small picture of any kind with odd sizes and strides, in a buffer that ends with it."""
    name = draw(st.sampled_from(sorted(FORMATS)))
    width, height = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    stride = row_bytes(name, width) + draw(st.integers(0, 5))
    picture = Picture(name, width, height, stride, draw(st.integers(0, 9)))
    return picture, draw(st.binary(min_size=picture.end, max_size=picture.end))


@given(pictures())
def test_every_pixel_is_the_twins(drawn: tuple[Picture, bytes]) -> None:
    picture, data = drawn
    picture.check(len(data))
    got = list(rows(picture, picture.width, picture.height, Memory(data).read))
    for y, row in enumerate(got):
        assert [tuple(row[at : at + 3]) for at in range(0, len(row), 3)] == [
            pixel(data, picture, x, y) for x in range(picture.width)
        ]


@given(pictures(), st.integers(1, 9), st.integers(1, 9))
def test_another_size_takes_the_nearest_pixels(drawn: tuple[Picture, bytes], width: int, height: int) -> None:
    picture, data = drawn
    got = list(rows(picture, width, height, Memory(data).read))
    assert len(got) == height
    for y, row in enumerate(got):
        source_y = int((y + 0.5) * picture.height / height)
        assert [tuple(row[at : at + 3]) for at in range(0, len(row), 3)] == [
            pixel(data, picture, int((x + 0.5) * picture.width / width), source_y) for x in range(width)
        ]


@given(pictures())
def test_one_byte_less_is_refused(drawn: tuple[Picture, bytes]) -> None:
    picture, data = drawn
    with pytest.raises(UsageError, match="too large"):
        picture.check(len(data) - 1)


def test_grey_is_grey_and_colours_are_right() -> None:
    for name, data in (("nv12", bytes([235, 0, 128, 128])), ("i420", bytes([235, 0, 128, 128]))):
        picture = Picture(name, 1, 1, 2)
        assert next(rows(picture, 1, 1, Memory(data).read)) == b"\xff\xff\xff"
    for name, data, rgb in (
        ("rgba", b"\1\2\3\0", b"\1\2\3"),
        ("bgra", b"\1\2\3\0", b"\3\2\1"),
        ("rgb565", b"\x00\xf8", b"\xff\0\0"),
        ("rgb565", b"\xe0\x07", b"\0\xff\0"),
        ("rgb565", b"\x1f\x00", b"\0\0\xff"),
    ):
        assert next(rows(Picture(name, 1, 1, len(data)), 1, 1, Memory(data).read)) == rgb


def test_only_the_rows_that_are_shown_are_read() -> None:
    picture = Picture("rgba", 3840, 2160, 15360)
    memory = Memory(bytes(picture.end))
    assert len(list(rows(picture, 80, 44, memory.read))) == 44
    assert sum(memory.reads) == 44 * 15360


def test_large_pictures_are_read_in_bands() -> None:
    picture = Picture("rgb565", 4096, 2048, 8192)
    memory = Memory(bytes(picture.end))
    assert sum(1 for _ in rows(picture, 4096, 2048, memory.read)) == 2048
    assert max(memory.reads) <= BAND_BYTES
    assert sum(memory.reads) == picture.end


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (Picture("yuyv", 1, 1, 4), "no format"),
        (Picture("rgba", 0, 1, 4), "width 0"),
        (Picture("rgba", 1, -1, 4), "height -1"),
        (Picture("rgba", SIDE_MAX + 1, 1, 1 << 20), "not from 1 to"),
        (Picture("rgba", 2, 1, 7), "takes 8 bytes"),
        (Picture("nv12", 3, 1, 3), "takes 4 bytes"),
        (Picture("rgba", 1, 1, 4, -1), "offset -1"),
        (Picture("rgba", 32, 33, 128), "ends at 4224, the buffer at 4096"),
        (Picture("rgba", 1, 2, 1 << 62), "too large"),
    ],
)
def test_what_does_not_fit_says_why(picture: Picture, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        picture.check(4096)


@given(st.integers(1, 9999), st.integers(1, 9999), st.integers(1, 300), st.integers(1, 300))
def test_fit_keeps_the_shape(width: int, height: int, columns: int, lines: int) -> None:
    shown_width, shown_height = fit(Picture("rgba", width, height, 4 * width), columns, lines)
    assert 1 <= shown_width <= min(columns, width)
    assert 1 <= shown_height <= min(lines, height)
    assert shown_width in {columns, width} or shown_height in {lines, height}


@pytest.mark.parametrize(
    ("size_bytes", "format_", "best"),
    [
        (1920 * 1080 * 4, None, Picture("rgba", 1920, 1080, 7680)),
        (3840 * 2160 * 4, None, Picture("rgba", 3840, 2160, 15360)),
        (1280 * 720 * 4, "bgra", Picture("bgra", 1280, 720, 5120)),
        (3_112_960, None, Picture("nv12", 1920, 1080, 1920)),
        (1920 * 1088 * 3 // 2, "i420", Picture("i420", 1920, 1088, 1920)),
        (640 * 480 * 2, "rgb565", Picture("rgb565", 640, 480, 1280)),
        (5504 * 768, "rgba", Picture("rgba", 1366, 768, 5504)),
        (1080 * 2400 * 4, None, Picture("rgba", 2400, 1080, 9600)),
        (16384, None, Picture("rgba", 64, 64, 256)),
    ],
)
def test_the_first_guess(size_bytes: int, format_: str | None, best: Picture) -> None:
    assert guesses(-(-size_bytes // 4096) * 4096, format_)[0] == best


@given(st.integers(0, 1 << 27), st.sampled_from([None, *FORMATS]))
def test_every_guess_fits_and_there_is_one(size_bytes: int, format_: str | None) -> None:
    found = guesses(size_bytes, format_)
    assert found or size_bytes < 4
    assert len(set(found)) == len(found)
    for picture in found:
        picture.check(size_bytes)


SOME = st.one_of(st.none(), st.integers(-3, 5000))


TOLD = st.fixed_dictionaries({"width": SOME, "height": SOME, "stride": SOME})


@given(st.integers(0, 1 << 24), st.sampled_from([None, "yuyv", *FORMATS]), TOLD, st.integers(-2, 1 << 20))
def test_what_is_told_is_kept(size_bytes: int, format_: str | None, told: dict[str, int | None], offset: int) -> None:
    try:
        picture = guess(size_bytes, format_=format_, offset=offset, **told)
    except UsageError:
        return
    picture.check(size_bytes)
    assert picture.offset == offset
    assert format_ in {None, picture.format}
    assert all(value in {None, getattr(picture, name)} for name, value in told.items())


def test_the_rest_is_worked_out() -> None:
    assert guess(1 << 20, format_="rgba", width=100) == Picture("rgba", 100, 2621, 400)
    assert guess(1 << 20, format_="nv12", width=256) == Picture("nv12", 256, 2730, 256)
    assert guess(1920 * 1080 * 4, height=1080, offset=0).width == 1920

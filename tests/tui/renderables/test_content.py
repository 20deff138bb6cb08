import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.picture import Picture
from heaptop.errors import UsageError
from heaptop.tui.renderables.content import (
    SHADES,
    half_blocks,
    hex_row,
    picture_of,
    picture_text,
    place_of,
    position_text,
    shades,
)

RED, BLUE, BLACK, WHITE = b"\xff\0\0", b"\0\0\xff", b"\0\0\0", b"\xff\xff\xff"
TYPED = {"width": "4", "height": "2", "stride": "16", "offset": "0x10"}


def test_a_cell_is_two_pixels_and_equal_ones_are_one_run() -> None:
    assert list(half_blocks(RED + RED + BLUE, BLUE + BLUE + RED)) == [
        ("▀▀", (255, 0, 0), (0, 0, 255)),
        ("▀", (0, 0, 255), (255, 0, 0)),
    ]


def test_the_last_row_may_be_alone() -> None:
    assert list(half_blocks(RED, b"")) == [("▀", (255, 0, 0), None)]
    assert shades(WHITE, b"") == SHADES[-1]


def test_shades_go_by_brightness() -> None:
    assert shades(BLACK + WHITE + WHITE, BLACK + WHITE + BLACK) == " @="


@given(st.integers(1, 9).flatmap(lambda width: st.tuples(*[st.binary(min_size=3 * width, max_size=3 * width)] * 2)))
def test_every_pixel_has_its_place(rows: tuple[bytes, bytes]) -> None:
    upper, lower = rows
    cells = [(top, bottom) for text, top, bottom in half_blocks(upper, lower) for _ in text]
    assert b"".join(bytes(top or ()) for top, _ in cells) == upper
    assert b"".join(bytes(bottom or ()) for _, bottom in cells) == lower
    assert len(shades(upper, lower)) == len(upper) // 3


def test_hex_rows() -> None:
    data = bytes(16) + b"heap" + bytes(28)
    assert hex_row(data, 0x100, 0x100, 8)[1][1] == "zero"
    line = hex_row(data, 0x100, 0x110, 8)
    assert line[1][1] == "text"
    assert "".join(text for text, _ in line) == (
        " 00000110  68 65 61 70 00 00 00 00  00 00 00 00 00 00 00 00  heap............"
    )
    assert hex_row(data, 0x100, 0x200, 8) == ((" 00000200", "offset"),), "not read yet"
    assert hex_row(data, 0x100, 0xF0, 8) == ((" 000000f0", "offset"),)


@pytest.mark.parametrize(("text", "place"), [("0x1F", 31), (" 4096 ", 4096), ("4K", 4096), ("0", 0)])
def test_places(text: str, place: int) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["", "0x", "-1", "4Q", "\x1b"])
def test_no_places(text: str) -> None:
    with pytest.raises(UsageError, match="is no offset"):
        place_of(text)


def test_a_typed_picture() -> None:
    assert picture_of("rgba", TYPED, 4096) == Picture("rgba", 4, 2, 16, 16)
    assert picture_of("rgba", TYPED | {"offset": ""}, 4096).offset == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"width": ""}, "width ''"),
        ({"height": "²"}, "not a number"),
        ({"stride": "1"}, "takes 16 bytes"),
        ({"offset": "x"}, "no offset"),
        ({"offset": "1M"}, "too large"),
    ],
)
def test_a_wrongly_typed_picture(change: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        picture_of("rgba", TYPED | change, 4096)


def test_where_one_is() -> None:
    assert position_text(0x1000, 0x150, 0x800000) == "0x1000 to 0x114f of 0x800000, 0.1 %"
    assert position_text(0, 0x150, 0x100) == "0x0 to 0xff of 0x100, 100.0 %"
    guessed = (Picture("rgba", 1, 1, 4), Picture("nv12", 2, 2, 2))
    assert picture_text(guessed[1], guessed) == "guess 2 of 2"
    assert picture_text(Picture("rgba", 2, 1, 8), guessed) == "as typed"

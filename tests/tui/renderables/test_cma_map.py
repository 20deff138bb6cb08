from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.occupancy import Run
from heaptop.tui.renderables.cma_map import (
    ROOM,
    SHADES,
    UNKNOWN,
    Bit,
    Cell,
    MapLayout,
    Row,
    Stretch,
    bits_per_cell_for,
    bits_per_cell_max,
    draw_row,
    range_bits,
    shade,
    stretches,
)
from heaptop.tui.terminal import to_ascii
from tests.tui.stage import area


def text(stretches_: tuple[Stretch, ...]) -> str:
    return "".join(stretch.text for stretch in stretches_)


@pytest.mark.parametrize(
    ("used", "glyph"), [(0, "·"), (1, "░"), (5, "░"), (6, "▒"), (10, "▒"), (11, "▓"), (15, "▓"), (16, "█")]
)
def test_shade(used: int, glyph: str) -> None:
    assert shade(used, 16) == glyph


def test_shades_are_told_apart_in_ascii() -> None:
    assert to_ascii(SHADES + ROOM + UNKNOWN) == "-:=+#o~"


def test_a_row_of_pages() -> None:
    drawn = draw_row(bytes([0b0000_0111, 0b1000_0000]), Row(0, 0, 16), 1)
    assert drawn == (Stretch("███", "used"), Stretch("············", "free"), Stretch("█", "used"))


def test_a_row_zoomed_out_ends_in_a_smaller_cell() -> None:
    # 0..3 used, 4..7 half used, 8..11 free, 12..13: the rest of the range, used
    drawn = draw_row(bytes([0b0011_1111, 0b0011_0000]), Row(0, 0, 14), 4)
    assert text(drawn) == "█▒·█"
    assert [stretch.kind for stretch in drawn] == ["used", "part", "free", "used"]


def test_a_row_begins_anywhere() -> None:
    assert text(draw_row(bytes([0xF0, 0x0F]), Row(0, 3, 8), 1)) == "·███████"


def test_room_is_marked() -> None:
    bitmap = bytes([0b0000_0001, 0, 0b0000_0001, 0])
    room = (Run(1, 15, used=False), Run(17, 15, used=False))
    assert text(draw_row(bitmap, Row(0, 0, 32), 4, room)) == "░○○○░○○○"
    assert {stretch.kind for stretch in draw_row(bitmap, Row(0, 0, 32), 4, room)} == {"room"}
    assert text(draw_row(bitmap, Row(0, 0, 32), 4, room[1:])) == "░···░○○○"
    assert text(draw_row(bitmap, Row(0, 8, 8), 4, room)) == "○○"


def test_no_bitmap_is_unknown() -> None:
    assert draw_row(None, Row(0, 0, 10), 4) == (Stretch("~~~", "unknown"),)


def test_neighbours_of_a_kind_are_joined() -> None:
    assert stretches(Cell(used, 4) for used in (0, 1, 2, 4, 4)) == (
        Stretch("·", "free"),
        Stretch("░▒", "part"),
        Stretch("██", "used"),
    )


def test_owners_stand_out_and_their_letter_says_how_full_the_cell_is() -> None:
    bitmap = bytes([0b0011_1111, 0b1111_1111, 0])
    signs = [("", ""), ("A", "owner-1"), ("B", "owner-2"), ("", "owner-2"), ("C", "owner-3"), ("", "")]
    assert draw_row(bitmap, Row(0, 0, 24), 4, (), signs) == (
        Stretch("█", "used"),
        Stretch("a", "owner-1"),
        Stretch("B█", "owner-2"),
        Stretch("··", "free"),
    )


def test_layout_of_one_range() -> None:
    layout = MapLayout((100,), 16, 2)
    assert layout.height == 4
    assert layout.row(0) == Row(0, 0, 32)
    assert layout.row(3) == Row(0, 96, 4)
    assert layout.row(4) is None
    assert layout.place_of(Bit(0, 35)) == (1, 1)
    assert layout.bit_at(1, 1) == Bit(0, 34)
    assert layout.bit_at(2, 3) is None
    assert layout.bit_at(0, -1) is None


def test_layout_of_ranges_has_headings() -> None:
    layout = MapLayout((20, 10), 8, 1)
    assert layout.height == 1 + 3 + 1 + 2
    assert layout.row(0) == Row(0, 0, 0)
    assert layout.row(4) == Row(1, 0, 0)
    assert layout.row(5) == Row(1, 0, 8)
    assert layout.bit_at(0, 0) is None
    assert layout.place_of(Bit(1, 9)) == (1, 6)
    assert layout.move(Bit(0, 19), 1) == Bit(1, 0)
    assert layout.move(Bit(1, 0), -1) == Bit(0, 19)
    assert layout.move(Bit(1, 9), 5) == Bit(1, 9)
    assert layout.move(Bit(0, 1), -5) == Bit(0, 0)


def test_rows_are_walked_past_headings() -> None:
    layout = MapLayout((20, 10), 8, 1)
    assert layout.move_rows(Bit(0, 1), -1) == Bit(0, 1)
    assert layout.move_rows(Bit(0, 15), 1) == Bit(0, 19), "the last row is shorter"
    assert layout.move_rows(Bit(0, 18), 1) == Bit(1, 2)
    assert layout.move_rows(Bit(1, 2), -1) == Bit(0, 18)
    assert layout.move_rows(Bit(1, 8), 9) == Bit(1, 8)


LAYOUTS = st.builds(
    MapLayout,
    st.lists(st.integers(1, 5000), min_size=1, max_size=4).map(tuple),
    st.integers(1, 200),
    st.integers(0, 8).map(lambda power: 1 << power),
)


@given(LAYOUTS, st.data())
def test_every_bit_has_a_cell_and_every_cell_its_bits(layout: MapLayout, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(layout.range_bits) - 1))
    bit = data.draw(st.integers(0, layout.range_bits[index] - 1))
    x, y = layout.place_of(Bit(index, bit))
    assert 0 <= x < layout.width
    assert 0 <= y < layout.height
    assert layout.bit_at(x, y) == Bit(index, bit - bit % layout.bits_per_cell)


@given(LAYOUTS)
def test_rows_cover_all_bits_once(layout: MapLayout) -> None:
    rows = [row for y in range(layout.height) if (row := layout.row(y)) is not None and row.count_bits]
    assert len({(row.range_index, row.start_bit) for row in rows}) == len(rows)
    assert sum(row.count_bits for row in rows) == sum(layout.range_bits)
    for before, after in pairwise(rows):
        if before.range_index == after.range_index:
            assert before.start_bit + before.count_bits == after.start_bit


@given(LAYOUTS, st.data())
def test_the_cursor_stays_in_the_area(layout: MapLayout, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(layout.range_bits) - 1))
    place = Bit(index, data.draw(st.integers(0, layout.range_bits[index] - 1)))
    steps = data.draw(st.integers(-6000, 6000))
    for moved in (layout.move(place, steps), layout.move_rows(place, steps)):
        assert 0 <= moved.range_index < len(layout.range_bits)
        assert 0 <= moved.bit < layout.range_bits[moved.range_index]


def test_zoom_shows_the_whole_area() -> None:
    assert bits_per_cell_for((16384,), 64, 16) == 16
    assert bits_per_cell_for((16384,), 64, 15) == 32
    assert bits_per_cell_for((100,), 64, 15) == 1
    assert bits_per_cell_for((8192, 8192), 64, 18) == 16, "two headings"
    assert bits_per_cell_max((16384,), 64) == 256
    assert bits_per_cell_for((1 << 20,), 10, 1) == bits_per_cell_max((1 << 20,), 10), "no coarser than a row"
    assert bits_per_cell_max((), 64) == 1


def test_range_bits_are_whole_bits() -> None:
    assert range_bits(area(((0, 4),), count_pages=1024, order_per_bit=3)) == (128,)

"""Tables fit their width, line up, and let nothing from outside through raw."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.report.table import BOLD, Column, Look, Row, cut, draw, width_of

COLUMNS = (
    Column("Ino", right=True, worth=5),
    Column("Size", right=True),
    Column("Name", flexible=True),
    Column("fd", right=True, worth=2),
)
ROWS = (Row(("62", "2.00 MiB", "shared-frame", "5")), Row(("104", "16.0 KiB", "画面バッファ", "1")))


def test_columns_line_up() -> None:
    assert draw(COLUMNS, ROWS, Look()).splitlines() == [
        "Ino     Size Name         fd",
        " 62 2.00 MiB shared-frame  5",
        "104 16.0 KiB 画面バッファ  1",
    ]


def test_flexible_columns_are_cut_first_then_columns_drop_by_worth() -> None:
    assert draw(COLUMNS, ROWS, Look(width=26, unicode=True)).splitlines()[1] == " 62 2.00 MiB shared-fr…  5"
    assert draw(COLUMNS, ROWS, Look(width=22)).splitlines()[0] == "Ino     Size Name"
    assert draw(COLUMNS, ROWS, Look(width=20)).splitlines()[1] == "2.00 MiB shared-fra~"
    assert draw(COLUMNS, ROWS, Look(width=5)).splitlines()[1] == "2.00~"


def test_colour_is_only_where_it_is_wanted() -> None:
    assert "\x1b" not in draw(COLUMNS, ROWS, Look())
    assert draw(COLUMNS, ROWS, Look(colour=True)).startswith(f"\x1b[{BOLD}mIno")


def test_text_from_outside_is_escaped() -> None:
    drawn = draw((Column("Name"),), (Row(("a\nb\x1b[31m\udcff\u202e",)),), Look(colour=True))
    assert drawn.splitlines()[1] == r"a\nb\x1b[31m\xff\u202e"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("画面", 3, "画…"), ("画面", 4, "画面"), ("ab", 1, "…"), ("ab", 0, "")],
)
def test_cut(text: str, width: int, expected: str) -> None:
    assert cut(text, width, unicode=True) == expected


def test_combining_marks_take_no_cell() -> None:
    assert width_of("e\u0301") == 1


@given(
    st.lists(
        st.tuples(st.text(max_size=40), st.text(max_size=40), st.text(max_size=9), st.text(max_size=4)), max_size=5
    ),
    st.integers(1, 120),
)
def test_no_line_is_wider_than_asked(cells: list[tuple[str, str, str, str]], width: int) -> None:
    lines = draw(COLUMNS, [Row(row) for row in cells], Look(width=width)).split("\n")
    assert len(lines) == len(cells) + 2
    assert all(width_of(line) <= width for line in lines)

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from heaptop.tui.renderables.table import Cell, Column, column_at, draw_row, draw_titles, fit, fit_spans, place

Row = tuple[str, str, str]
COLUMNS: tuple[Column[Row], ...] = (
    Column("ino", "Ino", 5, lambda row, _: row[0], align="right", worth=50),
    Column("name", "Name", 8, lambda row, _: row[1], flex=2, width_max=20, worth=100),
    Column("holder", "Held by", 8, lambda row, _: ((row[2], "orphan"),), flex=1, worth=90),
)
texts = st.text(max_size=40)


def line(row: Row, width: int) -> str:
    return "".join(segment.text for segment in draw_row(place(COLUMNS, width), row, width, Style(), {}))


@given(st.tuples(texts, texts, texts), st.integers(1, 80))
def test_a_line_is_exactly_as_wide_as_the_screen_whatever_the_text(row: Row, width: int) -> None:
    text = line(row, width)
    assert cell_len(text) == width
    assert text.isprintable()


@given(st.integers(0, 200))
def test_columns_never_overlap_nor_leave_the_screen(width: int) -> None:
    placed = place(COLUMNS, width)
    for before, after in pairwise(placed):
        assert before.x + before.width < after.x
    assert all(item.x + item.width <= width for item in placed)


@pytest.mark.parametrize(
    ("width", "keys"), [(80, "ino name holder"), (22, "name holder"), (12, "name"), (3, "name"), (0, "")]
)
def test_the_least_worth_is_dropped_first(width: int, keys: str) -> None:
    assert " ".join(item.column.key for item in place(COLUMNS, width)) == keys


def test_spare_room_goes_by_flex_up_to_the_limit() -> None:
    assert [item.width for item in place(COLUMNS, 32)] == [5, 14, 11]
    assert [item.width for item in place(COLUMNS, 80)] == [5, 20, 53]


def test_cells_stand_where_they_should() -> None:
    assert line(("7", "cam-preview", "cameraserver"), 24) == "    7 cam-prev… cameras…"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 4, "abc…"),
        ("漢字漢字", 5, "漢字…"),
        ("漢字漢字", 4, "漢 …"),
        ("[/x]", 6, "[/x]  "),
        ("a\nb\x1b", 8, "a\\nb\\x1b"),
        ("abc", 0, ""),
    ],
)
def test_fit(text: str, width: int, shown: str) -> None:
    assert fit(text, width) == shown


def test_fit_to_the_right() -> None:
    assert fit("64", 5, "right") == "   64"


@given(st.lists(st.tuples(texts, st.sampled_from(("", "new"))), max_size=4), st.integers(0, 30))
def test_spans_fill_their_cell_exactly(spans: list[tuple[str, str]], width: int) -> None:
    cell: Cell = tuple(spans)
    for align in ("left", "right"):
        assert sum(cell_len(text) for text, _ in fit_spans(cell, width, align)) == width


def test_a_named_style_lies_over_the_rows_and_an_unknown_name_does_nothing() -> None:
    styles = {"orphan": Style(color="red")}
    segments = draw_row(place(COLUMNS, 40), ("1", "x", "nobody"), 40, Style(dim=True), styles)
    assert [s.text.strip() for s in segments if s.style == Style(dim=True, color="red")] == ["nobody"]
    assert all(
        s.style == Style(dim=True) for s in draw_row(place(COLUMNS, 40), ("1", "x", "y"), 40, Style(dim=True), {})
    )


def test_a_whole_line_needs_no_columns() -> None:
    segments = draw_row(place(COLUMNS, 12), ("", "", ""), 12, Style(), {}, whole="Other exporters")
    assert "".join(segment.text for segment in segments) == "Other expor…"


@pytest.mark.parametrize(("sort", "shown"), [(("ino", True), "▼Ino"), (("name", False), "Name▲"), (None, "Name  ")])
def test_the_sorted_column_says_so(sort: tuple[str, bool] | None, shown: str) -> None:
    titles = draw_titles(place(COLUMNS, 40), 40, Style(), Style(), sort)
    text = "".join(segment.text for segment in titles)
    assert shown in text
    assert cell_len(text) == 40


def test_which_column_is_under_the_mouse() -> None:
    placed = place(COLUMNS, 40)
    found = [column_at(placed, x) for x in (0, 5, 6, 39, 40)]
    assert [column and column.key for column in found] == ["ino", "ino", "name", "holder", "holder"]
    assert column_at(placed, 41) is None

"""CSV as RFC 4180 has it, and safe to open in a spreadsheet."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.report import csv as report
from tests.report.samples import SNAPSHOT


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("which", report.HEADERS)
def test_tables_are_rectangular(which: str) -> None:
    text = report.dumps(report.table(SNAPSHOT, which))
    rows = read(text)
    assert tuple(rows[0]) == report.HEADERS[which]
    assert len(rows) == 1 + len(getattr(SNAPSHOT, which))
    assert {len(row) for row in rows} == {len(report.HEADERS[which])}
    assert text.endswith("\r\n")


def test_unknown_is_empty_and_zero_is_not() -> None:
    rows = {row[0]: row for row in read(report.dumps(report.table(SNAPSHOT, "buffers")))}
    header = rows["inode"]
    assert rows["90"][header.index("size_bytes")] == ""
    assert rows["90"][header.index("fd_refs")] == "0"
    assert rows["62"][header.index("attachments")] == "soc:display"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("a,b", '"a,b"'),
        ('a"b', '"a""b"'),
        ("a\nb", '"a\nb"'),
        ("a\rb", r"a\rb"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("\udcff", r"\xff"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", r"\t=1"),
        (-1, "-1"),
        (None, ""),
        (1.25e-05, "1.25e-05"),
    ],
)
def test_cells(value: report.Value, expected: str) -> None:
    assert report.dumps([(value,)]) == expected + "\r\n"


@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1))
def test_any_text_stays_in_its_cell(cells: list[str]) -> None:
    text = report.dumps([cells, ("end",)])
    text.encode("utf-8")
    rows = read(text)
    assert (len(rows), len(rows[0]), rows[1]) == (2, max(len(cells), 1), ["end"]) or cells == [""]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in rows[0])

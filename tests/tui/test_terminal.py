import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color

from heaptop.tui.renderables.sparkline import LEVELS
from heaptop.tui.terminal import AsciiFilter, speaks_unicode, to_ascii


@given(st.text(st.sampled_from("a ~▸▾█▁漢字é…│╭▲")))
def test_all_becomes_ascii_of_the_same_width(text: str) -> None:
    shown = to_ascii(text)
    assert shown.isascii()
    assert len(shown) == cell_len(text)


@given(st.text())
def test_anything_becomes_ascii(text: str) -> None:
    assert to_ascii(text).isascii()


def test_drawing_keeps_its_meaning() -> None:
    assert to_ascii("▸ ▾ ▲ … · ╭─╮│ ████▌") == "> v ^ ~ - +-+| ####="
    assert len({to_ascii(level) for level in LEVELS}) >= 4
    assert to_ascii("漢字 é") == "???? ?"
    assert to_ascii("e\u0301") == "e"


def test_the_filter_keeps_styles_and_controls() -> None:
    line = [Segment("▸ x"), Segment("plain")]
    assert [s.text for s in AsciiFilter().apply(line, Color(0, 0, 0))] == ["> x", "plain"]


@pytest.mark.parametrize(
    ("environ", "unicode"),
    [
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "en_US.UTF-8"}, True),
        ({"LC_CTYPE": "de_DE.utf8", "LANG": "C"}, True),
        ({"LANG": "POSIX"}, False),
        ({"TERM": "vt100"}, False),
        ({"TERM": "xterm-256color"}, True),
        ({}, True),
    ],
)
def test_what_the_locale_says_of_unicode(environ: dict[str, str], unicode: bool) -> None:
    assert speaks_unicode(environ) is unicode

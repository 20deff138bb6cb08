import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from heaptop.analysis.diff import Delta
from heaptop.tui.renderables.chrome import (
    HeaderFacts,
    Piece,
    changed_text,
    cut,
    header_line,
    key_line,
    spread,
    tabs_line,
    tiny_line,
)
from tests.tui.feed import EVIL, FB, HOSTILE

FACTS = HeaderFacts("kernel", "6.12.117", "root", 2, 56, 128 << 20, 2.0, "1 s")
TABS = ((1, "Heaps"), (2, "Buffers"), (3, "Processes"), (4, "CMA"), (6, "Lab"))
KEYS = (("Enter", "details", "choose"), ("s", "sort", "sort"), ("/", "filter", "filter"), ("?", "help", "help"))


def text(pieces: tuple[Piece, ...]) -> str:
    return "".join(piece.text for piece in pieces)


def test_the_header() -> None:
    line = text(header_line(FACTS, 80))
    assert line.startswith(" heaptop  kernel 6.12.117 · root · 2 gaps ")
    assert line.endswith(" 56 buffers 128 MiB  +2/s  1 s ")
    assert len(line) == 80


@pytest.mark.parametrize(
    ("width", "has", "lacks"),
    [(64, "root · 2 gaps", "6.12.117"), (50, "56 buffers 128 MiB", "gaps"), (20, "heaptop", "root")],
)
def test_the_header_loses_the_least_first(width: int, has: str, lacks: str) -> None:
    line = text(header_line(FACTS, width))
    assert has in line
    assert lacks not in line


def test_a_long_source_is_cut_before_others_go() -> None:
    line = text(header_line(FACTS._replace(source="replay " + "x" * 60), 80))
    assert "…" in line
    assert "2 gaps" in line


def test_one_gap_one_buffer_and_no_rate() -> None:
    line = text(header_line(FACTS._replace(gaps=1, buffers=1, rate_per_s=None), 80))
    assert "1 gap " in line
    assert "1 buffer " in line
    assert "/s" not in line


@pytest.mark.parametrize(("rate", "shown"), [(2.0, "+2/s"), (-0.5, "-0.5/s"), (-12.4, "-12/s")])
def test_the_rate_has_a_sign(rate: float, shown: str) -> None:
    assert f" {shown} " in text(header_line(FACTS._replace(rate_per_s=rate), 80))


def test_a_pause_says_since_when_and_how_much_has_changed() -> None:
    line = text(header_line(FACTS._replace(held_at="14:02:11", changed="+12 buffers, +48.0 MiB"), 90))
    assert line.endswith("+12 buffers, +48.0 MiB   PAUSED 14:02:11 ")


def test_nothing_is_known_before_the_first_look() -> None:
    line = text(header_line(HeaderFacts("kernel", "", "root", 0, None, None, None, "1 s", "looking…"), 80))
    assert "looking…" in line
    assert "buffers" not in line


def test_tabs_and_their_actions() -> None:
    pieces = tabs_line(TABS, 2, 80)
    assert text(pieces) == " 1 Heaps  2 Buffers  3 Processes  4 CMA  6 Lab "
    assert [piece.action for piece in pieces] == [f"app.go({n})" for n, _ in TABS]
    assert [piece.text for piece in pieces if piece.style == "tab-current"] == [" 2 Buffers "]
    assert text(tabs_line(TABS, 2, 30)) == " 1  2 Buffers  3  4  6 "


def test_help_is_the_last_key_to_go() -> None:
    assert text(key_line(KEYS, 80)) == " Enter details  s sort  / filter  ? help "
    assert text(key_line(KEYS, 32)) == " Enter details  s sort  ? help "
    assert text(key_line(KEYS, 12)) == " ? help "
    assert text(key_line((), 12)) == ""


def test_the_one_line_of_a_tiny_terminal() -> None:
    assert text(tiny_line(FACTS, 30)) == "56 buffers 128 MiB · too smal…"
    assert text(tiny_line(FACTS._replace(buffers=None, size_bytes=None), 12)) == "~ buffers ~…"


@given(st.lists(st.text(max_size=20)), st.lists(st.text(max_size=20)), st.integers(1, 60))
def test_a_line_never_leaves_the_screen(left: list[str], right: list[str], width: int) -> None:
    line = text(spread([Piece(t) for t in left], [Piece(t) for t in right], width))
    assert cell_len(line) <= width
    assert line.isprintable()


def test_pieces_are_made_printable() -> None:
    assert text(cut([Piece(HOSTILE)], 80)) == "[/x]evil\\nname\\x1b[31m\\u202e"


@pytest.mark.parametrize(
    ("delta", "shown"),
    [
        (Delta((), (), (), 0, 0), "nothing changed"),
        (Delta((FB,), (EVIL, EVIL), (), 48 << 20, -1), "+1 -2 buffers, +48.0 MiB"),
        (Delta((), (), ((FB, FB),), 0, 0), "1 buffer changed"),
        (Delta((), (), ((FB, FB), (FB, FB)), 0, 0), "2 buffers changed"),
    ],
)
def test_what_changed(delta: Delta, shown: str) -> None:
    assert changed_text(delta) == shown

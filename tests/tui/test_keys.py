"""The page of keys is what is bound."""

from pathlib import Path

from heaptop.tui.view import View
from tools.keys import SECTIONS, page

ROOT = Path(__file__).parent.parent.parent
PROMISED = (
    *(
        "1",
        "2",
        "3",
        "4",
        "6",
        "Tab",
        "↑",
        "↓",
        "j",
        "k",
        "PgUp",
        "PgDn",
        "Home",
        "End",
        "Enter",
        "Esc",
        "o",
        "u",
        "Space",
    ),
    *("+", "-", "m", "d", "w", "a", "f", "/", "s", "S", "g", "x", "y", "ctrl+p", "?", "q"),
)


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "keys.md").read_text() == page(), "python tools/keys.py > docs/keys.md"


def test_every_promised_key_is_on_it() -> None:
    assert [key for key in PROMISED if f"`{key}`" not in page()] == []


def test_every_view_has_its_section() -> None:
    shown = {id(group) for _, groups in SECTIONS for group in groups}
    kinds = [View]
    for kind in kinds:
        kinds += kind.__subclasses__()
    own = [kind for kind in kinds if kind.__module__.startswith("heaptop.") and kind.__dict__.get("BINDINGS")]
    assert len(own) > 5
    assert [kind.__name__ for kind in own if id(kind.__dict__["BINDINGS"]) not in shown] == []

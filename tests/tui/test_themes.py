from pathlib import Path

import pytest

from heaptop.tui import themes
from heaptop.tui.themes import load_themes, theme_of

GOOD = b'name = "x"\ndark = false\nprimary = "#102030"\n[variables]\norphan = "#ff0000"\n'


def test_a_theme_file() -> None:
    theme = theme_of(GOOD, "x.toml")
    assert (theme.name, theme.dark, theme.primary, theme.variables) == ("x", False, "#102030", {"orphan": "#ff0000"})


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"name = ", "Invalid value"),
        (b"\xff", "utf-8"),
        (b"dark = true\n", "no primary"),
        (b'primary = "#102030"\ncolour = "red"\n', "unknown key 'colour'"),
        (b'primary = "bluish"\n', "primary: 'bluish' is not a colour"),
        (b"primary = 7\n", "primary: 7 is not a colour"),
        (b'primary = "red"\ndark = "yes"\n', "dark: 'yes' is of the wrong type"),
        (b'primary = "red"\n[variables]\norphan = 1\n', "must be strings"),
        (b'primary = "red"\nvariables = 1\n', "must be strings"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        theme_of(raw, "x.toml")


def test_a_bad_file_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / "good.toml").write_bytes(GOOD)
    (tmp_path / "themes" / "bad.toml").write_bytes(b"primary = ")
    monkeypatch.setattr(themes, "FOLDER", str(tmp_path / "themes"))
    loaded = load_themes()
    assert [theme.name for theme in loaded.themes] == ["x"]
    assert len(loaded.troubles) == 1
    assert loaded.troubles[0].startswith("theme bad.toml is left out: ")

import pytest

from heaptop.tui.renderables.bar import bar


@pytest.mark.parametrize(
    ("share", "width", "text"),
    [
        (0.0, 4, "    "),
        (1.0, 4, "████"),
        (0.5, 4, "██  "),
        (0.5, 1, "▌"),
        (0.75, 22, "████████████████▌     "),
        (0.0001, 4, "▏   "),
        (0.9999, 4, "███▉"),
        (1.7, 3, "███"),
        (-0.2, 3, "   "),
        (0.3, 0, ""),
        (0.3, -2, ""),
    ],
)
def test_bar(share: float, width: int, text: str) -> None:
    assert bar(share, width) == text


def test_each_eighth_is_seen() -> None:
    assert [bar(step / 8, 1) for step in range(9)] == [" ", *"▏▎▍▌▋▊▉█"]

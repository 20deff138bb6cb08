import pytest

from heaptop.tui.renderables.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ([], 4, "    "),
        ([0, 0, 0], 4, " ▁▁▁"),
        ([7], 3, "  ▅"),
        ([32, 32, 32, 32], 4, "▅▅▅▅"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([9, 9, 0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([100, 50], 2, "█▁"),
        ([-4, 4], 2, "▁█"),
        ([1, 2], 0, ""),
        ([1, 2], -1, ""),
    ],
)
def test_sparkline(values: list[int], width: int, text: str) -> None:
    assert sparkline(values, width) == text


def test_jitter_is_no_cliff() -> None:
    assert sparkline([100_000, 100_001, 100_000, 100_001], 4) == "▄▅▄▅"

"""The table of `make bench`: limits in the right direction, results kept between their marks."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.bench import cpu
from tools.bench.__main__ import SECTIONS, _measured, main
from tools.bench.rows import Row, absent, at_least, at_most, plain, ratio_at_least, ratio_at_most
from tools.bench.table import cells, keep, machine, markdown


def test_limits() -> None:
    assert at_most("a", 60, 60, "ms").is_met
    assert at_most("a", 61, 60, "ms").is_met is False
    assert at_least("a", 59, 60, "/s").is_met is False
    assert ratio_at_most("a", 75, 100, 0.75).is_met
    assert ratio_at_most("a", 76, 100, 0.75).is_met is False
    assert ratio_at_least("a", 79, 100, 0.8, unit="/s", of="C").is_met is False
    assert plain("a", 1, "ms").is_met is None
    assert absent("a", "no such program").note == "no such program"


def test_cells() -> None:
    assert cells(ratio_at_most("scan", 520, 1000, 0.75, peak_bytes=2_000_000)) == (
        *("scan", "520 ms", "≤ 0.75 T", "0.520 T", "yes", "2 MB", ""),
    )
    assert cells(at_most("scan", 2.344, 1, "ms"))[1:5] == ("2.34 ms", "≤ 1 ms", "", "NO")


def test_kept_in_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n")
    keep(page, "one", markdown("One", [plain("first", 1, "ms")]), today="2026-01-01")
    keep(page, "two", markdown("Two", [plain("second", 2, "ms")]), today="2026-01-01")
    keep(page, "one", markdown("One", [plain("again", 3, "ms")]), today="2026-01-02")
    text = page.read_text()
    assert text.startswith("# Page\n")
    assert "first" not in text
    assert text.index("again") < text.index("second")
    assert f"2026-01-02, {machine()}\n<!-- /bench:one -->" in text


def test_commands_are_measured() -> None:
    wanted = cpu.peak_bytes() + (64 << 20)
    used = cpu.in_turns({"python": lambda: cpu.command([sys.executable, "-c", f"b'x' * {wanted}"])}, rounds=1)
    assert used["python"].cpu_ms > 1
    assert used["python"].peak_bytes > wanted


def test_unknown_section(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert next(iter(SECTIONS)) in capsys.readouterr().err


def test_a_section_that_cannot_be_measured_is_a_row() -> None:
    class Broken:
        TITLE = "Broken"

        def __init__(self, error: Exception) -> None:
            self.error = error

        def rows(self) -> Iterator[Row]:
            yield plain("first", 1, "ms")
            raise self.error

    for error, why in (
        (FileNotFoundError(2, "No such file", "cc"), "no cc here: install it"),
        (OSError("the workload did not start"), "the workload did not start"),
        (subprocess.CalledProcessError(1, ["cc"]), "Command '['cc']' returned non-zero exit status 1."),
    ):
        first, second = _measured(Broken(error))
        assert (first.what, second.what, second.figure, second.note) == ("first", "Broken", "-", why)
        assert second.is_met is None

"""Latencies as a table."""

import pytest

from heaptop.analysis.latencies import Distribution
from heaptop.report.latencies import HEADER, Measured, duration, fields, text
from heaptop.report.table import Look

FOUND = Distribution(10, 12e-6, 15e-6, 99e-6, 3e-3, 80_000.0)
OTHER = Distribution(10, 6e-6, 7e-6, 8e-6, 9e-6, None)


def test_a_second_heap_stands_beside() -> None:
    rows = [Measured("system", 4096, "allocate", FOUND, against="camera", beside=OTHER)]
    assert text(rows, Look()) == (
        "Heap       Size Step         p50     p90     p99     max ops/s camera p50     p99    x\n"
        "system 4.00 KiB allocate 12.0 us 15.0 us 99.0 us 3.00 ms 80000    6.00 us 8.00 us 2.00\n"
    )
    assert max(map(len, text(rows, Look(width=80)).splitlines())) <= 80


def test_what_is_not_known_is_not_zero() -> None:
    row = Measured("a\x1b[2J\n", 4096, "sync", None, error="refused")
    told = text([row], Look())
    assert "\x1b" not in told
    assert told.splitlines()[1].split()[-5:] == ["~"] * 5
    assert tuple(fields(row)) == HEADER
    assert {name for name, value in fields(row).items() if value is not None} == {"heap", "size_bytes", "step", "error"}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 ns"),
        (999e-9, "999 ns"),
        (1e-6, "1.00 us"),
        (9.994e-6, "9.99 us"),
        (9.996e-6, "10.0 us"),
        (99.96e-6, "100 us"),
        (999.6e-6, "1.00 ms"),
        (0.5, "500 ms"),
        (1.5, "1.50 s"),
        (75.0, "75.00 s"),
    ],
)
def test_three_digits(seconds: float, said: str) -> None:
    assert duration(seconds) == said

"""Latencies of heaps as text, and as rows of JSON and CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final, NamedTuple

from heaptop.analysis.latencies import Distribution
from heaptop.report.csv import Value
from heaptop.report.table import DIM, Column, Look, Row, draw
from heaptop.units import format_size

FIGURES: Final = ("count", "p50_s", "p90_s", "p99_s", "max_s", "per_second")
HEADER: Final = (
    "heap",
    "size_bytes",
    "step",
    *FIGURES,
    "error",
    "against",
    *(f"against_{name}" for name in FIGURES),
    "ratio",
)
UNKNOWN: Final = "~"


class Measured(NamedTuple):
    """One step of one heap and size. `error`: why the heap refused; `beside`: the same of the heap compared with."""

    heap: str
    size_bytes: int
    step: str
    found: Distribution | None
    error: str | None = None
    against: str | None = None
    beside: Distribution | None = None

    @property
    def ratio(self) -> float | None:
        """How many times longer the median is than that of the other heap."""
        if self.found is None or self.beside is None or not self.beside.p50_s:
            return None
        return self.found.p50_s / self.beside.p50_s


def fields(row: Measured) -> dict[str, Value]:
    """A row by the names of HEADER; what was not measured is None."""
    return {
        "heap": row.heap,
        "size_bytes": row.size_bytes,
        "step": row.step,
        **_figures(row.found),
        "error": row.error,
        "against": row.against,
        **{f"against_{name}": value for name, value in _figures(row.beside).items()},
        "ratio": row.ratio,
    }


def _figures(found: Distribution | None) -> Mapping[str, Value]:
    return dict.fromkeys(FIGURES) if found is None else asdict(found)


def text(rows: Sequence[Measured], look: Look) -> str:
    """A table: a line a step; a second heap's median and 99 % beside it."""
    columns = [Column("Heap", flexible=True), Column("Size", right=True), Column("Step")]
    columns += [Column(name, right=True, worth=worth) for name, worth in zip(_TITLES, _WORTHS, strict=True)]
    against = next((row.against for row in rows if row.against is not None), None)
    if against is not None:
        columns += [Column(f"{against} p50", right=True), Column("p99", right=True, worth=5), Column("x", right=True)]
    lines = [Row(_cells(row, with_other=against is not None), DIM if row.found is None else "") for row in rows]
    return draw(columns, lines, look)


_TITLES: Final = ("p50", "p90", "p99", "max", "ops/s")
_WORTHS: Final = (9, 3, 7, 2, 4)


def _cells(row: Measured, *, with_other: bool) -> tuple[str, ...]:
    found = row.found
    times = [UNKNOWN] * 4 if found is None else [duration(getattr(found, name)) for name in FIGURES[1:5]]
    rate = UNKNOWN if found is None or found.per_second is None else f"{found.per_second:.0f}"
    cells = [row.heap, format_size(row.size_bytes), row.step, *times, rate]
    if with_other:
        beside = row.beside
        cells += [UNKNOWN] * 2 if beside is None else [duration(beside.p50_s), duration(beside.p99_s)]
        cells.append(UNKNOWN if row.ratio is None else f"{row.ratio:.2f}")
    return tuple(cells)


def duration(seconds: float) -> str:
    """Three digits and a unit: 9.21 us, 184 us, 2.10 ms."""
    for unit, scale in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        value = seconds * scale
        if value < 999.5:
            return f"{value:.{0 if value >= 99.95 or unit == 'ns' else 1 if value >= 9.995 else 2}f} {unit}"
    return f"{seconds:.2f} s"

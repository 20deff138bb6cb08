"""Prints rows as they come, and keeps them as Markdown."""

import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.bench.rows import Row

HEADINGS: Final = ("what", "figure", "limit", "ratio", "met", "peak memory", "note")
WIDTHS: Final = (58, 12, 14, 12, 4, 11, 0)
_MET: Final = {True: "yes", False: "NO", None: ""}


def cells(row: Row) -> tuple[str, ...]:
    """A row's texts, under HEADINGS."""
    peak = "" if not row.peak_bytes else f"{row.peak_bytes / 1e6:.0f} MB"
    return row.what, row.figure, row.limit, row.ratio, _MET[row.is_met], peak, row.note


def line(texts: Sequence[str]) -> str:
    """One line of the terminal's table."""
    padded = (text.ljust(width) for text, width in zip(texts, WIDTHS, strict=True))
    return "  ".join(padded).rstrip()


def machine() -> str:
    """What the figures were measured on, in a line."""
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    gib = int(total[1]) / (1 << 20) if total else 0
    processor = model[1] if model else platform.machine()
    kernel = platform.release().split("-")[0]
    cores = os.cpu_count()
    return f"{cores} × {processor}, {gib:.0f} GiB, Linux {kernel}, Python {platform.python_version()}"


def markdown(title: str, rows: Sequence[Row]) -> str:
    """A section of docs/performance.md."""
    used = [index for index, _ in enumerate(HEADINGS) if any(cells(row)[index] for row in rows)]
    lines = ["| " + " | ".join(HEADINGS[index] for index in used) + " |", "| " + " | ".join("---" for _ in used) + " |"]
    lines += ["| " + " | ".join(cells(row)[index] for index in used) + " |" for row in rows]
    return f"### {title}\n\n" + "\n".join(lines) + "\n"


def keep(page: Path, name: str, text: str, today: str | None = None) -> None:
    """Put a section's results between its marks in a page, with machine and date."""
    begin, end = f"<!-- bench:{name} -->\n", f"<!-- /bench:{name} -->\n"
    date = today or time.strftime("%Y-%m-%d")
    block = f"{begin}{text}\n{date}, {machine()}\n{end}"
    old = page.read_text()
    if begin in old:
        head, _, rest = old.partition(begin)
        page.write_text(head + block + rest.partition(end)[2])
    else:
        page.write_text(f"{old.rstrip()}\n\n{block}")

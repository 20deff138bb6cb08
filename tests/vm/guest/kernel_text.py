"""What the kernel itself says, read with as little code as can be: a second opinion, nothing of heaptop's."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

DEBUGFS = Path("/sys/kernel/debug")
AREAS = DEBUGFS / "cma"
ROW = re.compile(rb"^([0-9]{8,})\t[0-9a-f]{8}\t[0-9a-f]{8}\t([0-9]{8,})\t([^\t\n]+)\t([0-9]{8,})\t", re.MULTILINE)
TOTAL = re.compile(rb"\nTotal ([0-9]+) objects, ([0-9]+) bytes\n\Z")


@dataclass(frozen=True, slots=True)
class Row:
    """A buffer in bufinfo. No name of 31 bytes can imitate one: the numbers alone are longer."""

    size_bytes: int
    file_count: int
    exporter: str


def bufinfo() -> Mapping[int, Row]:
    """All buffers, by inode; the total at its end agrees."""
    text = (DEBUGFS / "dma_buf/bufinfo").read_bytes()
    rows = {int(inode): Row(int(size), int(count), name.decode()) for size, count, name, inode in ROW.findall(text)}
    total = TOTAL.search(text)
    assert total is not None
    assert (int(total[1]), int(total[2])) == (len(rows), sum(row.size_bytes for row in rows.values()))
    return rows


def number(path: Path) -> int:
    """A file that holds one number."""
    return int(path.read_text())


def bitmap(area: Path) -> int:
    """A CMA area's bitmap (of its first range) as one number: bit 0 is the first page."""
    words = (area / "bitmap").read_text().split()
    return sum(int(word) << 32 * index for index, word in enumerate(words))


def free_runs(bits: int, count: int) -> Iterator[tuple[int, int]]:
    """Start and length of each run of clear bits."""
    text = f"{bits:0{count}b}"[::-1]
    return ((run.start(), run.end() - run.start()) for run in re.finditer("0+", text))

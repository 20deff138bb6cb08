"""A CMA area's bitmap as rows of cells: which bits a cell stands for, and how it looks.

An area of several ranges (6.15 on) is drawn range after range, each under a heading of its own. All is computed per
row, so that an area of a million pages costs no more than the rows in sight.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from heaptop.analysis.occupancy import Run, cells
from heaptop.model import CmaArea

SHADES = "·░▒▓█"
"""A cell from wholly free to wholly used."""
ROOM = "○"
"""A wholly free cell of a run that a request could use."""
UNKNOWN = "~"
"""A cell whose bitmap is not readable."""


class Bit(NamedTuple):
    """A place in an area: a bit of one range's bitmap."""

    range_index: int
    bit: int


class Row(NamedTuple):
    """What one line of the map shows: bits of one range, or none where it is that range's heading."""

    range_index: int
    start_bit: int
    count_bits: int


@dataclass(frozen=True, slots=True)
class MapLayout:
    """Where each bit of an area is drawn: `range_bits` is the length of each range's bitmap, `width` the columns, each
    cell of `bits_per_cell` bits.
    """

    range_bits: tuple[int, ...]
    width: int
    bits_per_cell: int

    @property
    def heading_rows(self) -> int:
        """Rows a range's heading takes: a single range has none."""
        return 1 if len(self.range_bits) > 1 else 0

    @property
    def row_bits(self) -> int:
        """Bits in one full row."""
        return max(1, self.width) * self.bits_per_cell

    @property
    def height(self) -> int:
        """Rows of the whole map."""
        return sum(self._rows(bits) for bits in self.range_bits)

    def _rows(self, bits: int) -> int:
        return self.heading_rows + -(-bits // self.row_bits)

    def row(self, y: int) -> Row | None:
        """What line `y` shows; None below the map."""
        for index, bits in enumerate(self.range_bits):
            rows = self._rows(bits)
            if y < rows:
                start = (y - self.heading_rows) * self.row_bits
                return Row(index, start, min(self.row_bits, bits - start)) if start >= 0 else Row(index, 0, 0)
            y -= rows
        return None

    def bit_at(self, x: int, y: int) -> Bit | None:
        """The first bit of the cell at column `x` of line `y`; None where there is no cell."""
        row = self.row(y) if y >= 0 else None
        if row is None or not 0 <= x * self.bits_per_cell < row.count_bits:
            return None
        return Bit(row.range_index, row.start_bit + x * self.bits_per_cell)

    def place_of(self, place: Bit) -> tuple[int, int]:
        """Column and line of the cell that holds a bit."""
        above = sum(self._rows(bits) for bits in self.range_bits[: place.range_index])
        line, rest = divmod(place.bit, self.row_bits)
        return rest // self.bits_per_cell, above + self.heading_rows + line

    def move(self, place: Bit, cells: int) -> Bit:
        """The bit `cells` cells further on (or back), through all ranges, stopped at the area's ends."""
        index, bit = place.range_index, place.bit - place.bit % self.bits_per_cell + cells * self.bits_per_cell
        while bit < 0 and index > 0:
            index -= 1
            bit += self._whole_cells(index)
        while bit >= self.range_bits[index] and index + 1 < len(self.range_bits):
            bit -= self._whole_cells(index)
            index += 1
        last = self._whole_cells(index) - self.bits_per_cell
        return Bit(index, max(0, min(bit, last)))

    def move_rows(self, place: Bit, rows: int) -> Bit:
        """The cell `rows` lines further down (or up) in the same column, past headings, stopped at the area's ends."""
        x, y = self.place_of(place)
        step = 1 if rows > 0 else -1
        target = max(0, min(y + rows, self.height - 1))
        while (row := self.row(target)) is not None and row.count_bits == 0:
            target += step if 0 < target < self.height - 1 else -step
        if row is None:
            return place
        last = (row.count_bits - 1) // self.bits_per_cell
        return Bit(row.range_index, row.start_bit + min(x, last) * self.bits_per_cell)

    def _whole_cells(self, index: int) -> int:
        return -(-self.range_bits[index] // self.bits_per_cell) * self.bits_per_cell


def bits_per_cell_for(range_bits: Sequence[int], width: int, height: int) -> int:
    """The finest power of two of bits a cell at which the whole area is in sight in `width` x `height`."""
    bits_per_cell = 1
    ceiling = bits_per_cell_max(range_bits, width)
    while bits_per_cell < ceiling and MapLayout(tuple(range_bits), width, bits_per_cell).height > height:
        bits_per_cell *= 2
    return bits_per_cell


def bits_per_cell_max(range_bits: Sequence[int], width: int) -> int:
    """The coarsest cell: the longest range in one row."""
    longest = max(range_bits, default=1)
    bits_per_cell = 1
    while bits_per_cell * max(1, width) < longest:
        bits_per_cell *= 2
    return bits_per_cell


def shade(used_bits: int, cell_bits: int) -> str:
    """A cell by how much of it is used. The outermost shades are for wholly free and wholly used alone."""
    if used_bits <= 0:
        return SHADES[0]
    if used_bits >= cell_bits:
        return SHADES[-1]
    return SHADES[1 + used_bits * (len(SHADES) - 2) // cell_bits]


class Stretch(NamedTuple):
    """Neighbouring cells that look alike in kind: `free`, `part`, `used`, `unknown`, `room` where a request could be
    placed, `owner` where the buffer under the cursor lies, or the style of whoever holds the buffer that lies there.
    """

    text: str
    kind: str


class Cell(NamedTuple):
    """A cell: how many of its bits are used, whether it lies in a run with room, and whose it is: a letter where a
    buffer begins, and the style. `kind` is empty where that is not known.
    """

    used_bits: int
    bits: int
    has_room: bool = False
    letter: str = ""
    kind: str = ""


def stretches(row: Iterable[Cell]) -> tuple[Stretch, ...]:
    """A row's cells, joined where alike."""
    found: list[Stretch] = []
    for cell in row:
        is_free, is_full = cell.used_bits == 0, cell.used_bits >= cell.bits
        kind = "room" if cell.has_room else "free" if is_free else "used" if is_full else "part"
        char = ROOM if cell.has_room and is_free else shade(cell.used_bits, cell.bits)
        if cell.kind and not is_free:
            kind = cell.kind
            char = (cell.letter if is_full else cell.letter.lower()) or char
        if found and found[-1].kind == kind:
            found[-1] = Stretch(found[-1].text + char, kind)
        else:
            found.append(Stretch(char, kind))
    return tuple(found)


def draw_row(
    bitmap: bytes | None,
    row: Row,
    bits_per_cell: int,
    room: Sequence[Run] = (),
    signs: Sequence[tuple[str, str]] = (),
) -> tuple[Stretch, ...]:
    """The cells of one row. `room` are the runs of its range that a request could use, rising; `signs` the letter and
    the style of each cell's owner (both may be empty), where any is known.
    """
    full, rest = divmod(row.count_bits, bits_per_cell)
    sizes = (bits_per_cell,) * full + ((rest,) if rest else ())
    if bitmap is None:
        return (Stretch(UNKNOWN * len(sizes), "unknown"),)
    used = cells(bitmap, row.start_bit, full * bits_per_cell, full) if full else ()
    if rest:
        used += cells(bitmap, row.start_bit + full * bits_per_cell, rest, 1)
    inside = _cells_in(room, row, bits_per_cell, len(sizes))
    told = zip(used, sizes, inside, signs or (("", ""),) * len(sizes), strict=True)
    return stretches(Cell(bits, size, has_room, *sign) for bits, size, has_room, sign in told)


def _cells_in(room: Sequence[Run], row: Row, bits_per_cell: int, cell_count: int) -> list[bool]:
    """Which cells of a row have a bit in one of the runs."""
    inside = [False] * cell_count
    end_bit = row.start_bit + row.count_bits
    first = max(0, bisect_right(room, row.start_bit, key=lambda run: run.start_bit) - 1)
    for run in room[first:]:
        if run.start_bit >= end_bit:
            break
        low = max(run.start_bit, row.start_bit) - row.start_bit
        high = min(run.start_bit + run.count_bits, end_bit) - row.start_bit
        for cell in range(low // bits_per_cell, -(-high // bits_per_cell)):
            inside[cell] = True
    return inside


def range_bits(area: CmaArea) -> tuple[int, ...]:
    """The length of each range's bitmap (mm/cma.c, cma_bitmap_maxno)."""
    return tuple(part.count_pages >> (area.order_per_bit or 0) for part in area.ranges)

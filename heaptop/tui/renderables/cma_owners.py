"""Whose the cells of a CMA map are: a letter and a colour for each holder, the same for as long as the app runs.

The letter stands on the first cell of each buffer and of each line, so that nothing is told by colour alone:
`A██▓A█B███·`. It is small where that cell is used in part.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import Final, NamedTuple

from heaptop.analysis.placement import Placement
from heaptop.model import Buffer, CmaArea
from heaptop.tui.renderables.cma_map import Row
from heaptop.units import format_size, printable

COLOURS: Final = 6
"""So many colours there are (the theme's `owner-1` and on): neighbours in the order of coming have different ones."""
NOBODY: Final = "nobody seen"
NOBODY_LETTER: Final = "?"

Spans = tuple[tuple[str, str], ...]


class Owner(NamedTuple):
    """A holder's sign on the map: `colour` is from 1 to COLOURS."""

    letter: str
    colour: int

    @property
    def style(self) -> str:
        """The name of its style."""
        return f"owner-{self.colour}"


class Lies(NamedTuple):
    """Bits of one range that a buffer has."""

    start_bit: int
    count_bits: int
    inode: int
    owner: Owner


class Owners:
    """Gives holders their signs, in the order in which they are met, and never takes one away."""

    def __init__(self) -> None:
        self._signs: dict[str, Owner] = {}

    def of(self, buffer: Buffer) -> Owner:
        """The sign of the first of those who hold a buffer."""
        name = holder_name(buffer)
        if name not in self._signs:
            number = len(self._signs)
            letter = NOBODY_LETTER if name == NOBODY else ascii_uppercase[number % len(ascii_uppercase)]
            self._signs[name] = Owner(letter, 1 + number % COLOURS)
        return self._signs[name]

    def meet(self, buffers: Iterable[Buffer]) -> None:
        """Give signs to all of these: who has the most gets the first."""
        sizes: Counter[str] = Counter()
        first: dict[str, Buffer] = {}
        for buffer in buffers:
            name = holder_name(buffer)
            sizes[name] += buffer.size_bytes or 0
            first.setdefault(name, buffer)
        for name, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
            self.of(first[name])


def holder_name(buffer: Buffer) -> str:
    """Who holds a buffer: the first of them."""
    return buffer.holders[0].comm if buffer.holders else NOBODY


def lying_in(
    area: CmaArea, placement: Placement | None, buffers: Mapping[int, Buffer], owners: Owners
) -> tuple[tuple[Lies, ...], ...]:
    """Whose bits the ranges' are, rising; empty where it is not known."""
    order = area.order_per_bit or 0
    known = [] if placement is None else [one for one in placement.lying if one.inode in buffers]
    owners.meet(buffers[inode] for inode in dict.fromkeys(one.inode for one in known))
    found = []
    for part in area.ranges:
        lies = []
        for pfn, count, inode in known if part.base_pfn is not None else ():
            page = pfn - (part.base_pfn or 0)
            first, end = max(page, 0), min(page + count, part.count_pages)
            if first < end:
                bit = first >> order
                lies.append(Lies(bit, -(-end >> order) - bit, inode, owners.of(buffers[inode])))
        found.append(tuple(lies))
    return tuple(found)


def owned_cells(lies: Sequence[Lies], row: Row, bits_per_cell: int) -> list[Lies | None]:
    """Who has the most of each cell of a row; None where no buffer is known to lie."""
    cells: list[Lies | None] = [None] * -(-row.count_bits // bits_per_cell)
    most = [0] * len(cells)
    end_bit = row.start_bit + row.count_bits
    first = max(0, bisect_right(lies, row.start_bit, key=lambda one: one.start_bit) - 1)
    for one in lies[first:]:
        if one.start_bit >= end_bit:
            break
        low = max(one.start_bit - row.start_bit, 0)
        high = min(one.start_bit + one.count_bits, end_bit) - row.start_bit
        for cell in range(low // bits_per_cell, -(-high // bits_per_cell)):
            inside = min(high, (cell + 1) * bits_per_cell) - max(low, cell * bits_per_cell)
            if inside > most[cell]:
                cells[cell], most[cell] = one, inside
    return cells


def signs(cells: Sequence[Lies | None], chosen: int | None) -> list[tuple[str, str]]:
    """Letter and style of each cell of a row. The buffer `chosen` (under the cursor) has a style of its own."""
    found = []
    last = None
    for cell in cells:
        if cell is None:
            found.append(("", ""))
        else:
            letter = "" if cell.inode == last else cell.owner.letter
            found.append((letter, "owner" if cell.inode == chosen else cell.owner.style))
        last = None if cell is None else cell.inode
    return found


def legend_spans(
    lies: Sequence[Sequence[Lies]], area: CmaArea, buffers: Mapping[int, Buffer], page_bytes: int
) -> Spans:
    """`A cameraserver 12.0 MiB  B codec 3.00 MiB  other 1.00 MiB`: who has how much of an area, the most first."""
    bit_bytes = page_bytes << (area.order_per_bit or 0)
    sizes: Counter[tuple[str, Owner]] = Counter()
    for part in lies:
        for one in part:
            sizes[holder_name(buffers[one.inode]), one.owner] += one.count_bits * bit_bytes
    spans: list[tuple[str, str]] = []
    for (name, owner), size_bytes in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        spans += [(f"{owner.letter} ", f"bold $owner-{owner.colour}"), (f"{printable(name)} ", "")]
        spans.append((f"{format_size(size_bytes)}  ", "$unknown"))
    if area.used_pages is not None and spans and (other := area.used_pages * page_bytes - sizes.total()) > 0:
        spans.append((f"█ of no known dma-buf {format_size(other)}", "$unknown"))
    return tuple(spans)

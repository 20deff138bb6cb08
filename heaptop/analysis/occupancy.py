"""What a CMA bitmap says: runs, cells of a map, free runs by order, and whether a request will fit and where.

Bitmaps are `CmaRange.bitmap`: bit 0 of byte 0 first, 1 = allocated, one bit per `1 << order_per_bit` pages. Areas reach
a million bits, so bits are searched as text of `0` and `1` with the C speed of `bytes.find`, not one by one.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from operator import sub
from typing import Final, NamedTuple

from heaptop.model import CmaArea, CmaRange
from heaptop.pattern import pattern

CMA_ALIGNMENT_ORDER: Final = 8
"""The CMA heap aligns to at most this order: CONFIG_CMA_ALIGNMENT's default (kernel/dma/Kconfig), 1 MiB of 4 KiB."""

_RUN: Final = pattern(rb"0+|1+")
_FREE: Final = pattern(rb"0+")
_TO_NUMBERS: Final = bytes.maketrans(b"01", b"\0\1")


class Run(NamedTuple):
    """Equal consecutive bits."""

    start_bit: int
    count_bits: int
    used: bool


class Fit(NamedTuple):
    """Whether and where a request fits, in pages and absolute page frames.

    `fits` is None where no bitmap tells. `pfn` is where the kernel would put it now. Where it does not fit:
    `largest_hole_pages` is the most that one allocation could get at this alignment, `nearest_pfn` the position with
    the least used pages in the way (the lowest of equals), `in_the_way_pages` how many; both are None where the
    request is larger than every range. Positions are None too where base_pfn is not known; `range_index` and
    `start_bit` tell them all the same (of `pfn`, or of `nearest_pfn`).
    """

    fits: bool | None
    pfn: int | None = None
    largest_hole_pages: int | None = None
    nearest_pfn: int | None = None
    in_the_way_pages: int | None = None
    range_index: int | None = None
    start_bit: int | None = None


def used_bits(bitmap: bytes, count_bits: int) -> int:
    """Bits set among the first `count_bits`."""
    return (int.from_bytes(bitmap, "little") & ((1 << count_bits) - 1)).bit_count()


def runs(bitmap: bytes, count_bits: int) -> tuple[Run, ...]:
    """All runs of the first `count_bits` bits, in order: used and free alternate."""
    text = _text(bitmap, count_bits)
    return tuple(
        Run(match.start(), match.end() - match.start(), text[match.start()] == _USED) for match in _RUN.finditer(text)
    )


def run_at(bitmap: bytes, count_bits: int, bit: int) -> Run:
    """The run that `bit` lies in (0 <= bit < count_bits)."""
    text = _text(bitmap, count_bits)
    other = b"0" if text[bit] == _USED else b"1"
    start = text.rfind(other, 0, bit) + 1
    end = text.find(other, bit)
    return Run(start, (count_bits if end < 0 else end) - start, text[bit] == _USED)


def cell_edges(start_bit: int, count_bits: int, cell_count: int) -> tuple[int, ...]:
    """Where the cells of a map begin, and where the last ends: `cell_count + 1` bits, as even as can be."""
    return tuple(start_bit + index * count_bits // cell_count for index in range(cell_count + 1))


def plain_cells(bitmap: bytes, start_bit: int, count_bits: int, cell_count: int) -> tuple[int, ...]:
    """Used bits of each cell, where `cell_edges` cuts `count_bits` from `start_bit` on into `cell_count` cells."""
    edges = cell_edges(start_bit, count_bits, cell_count)
    return tuple(_used_between(bitmap, first, end) for first, end in pairwise(edges))


def _fastest_cells() -> Callable[[bytes, int, int, int], tuple[int, ...]]:
    """By the compiled part, where this device has it."""
    try:
        from heaptop.analysis._cells import cells as compiled  # noqa: PLC0415
    except ImportError:
        return plain_cells
    return compiled


cells: Final = _fastest_cells()
"""As plain_cells: a map of a million pages is drawn with every look."""


def free_runs_by_order(area_range: CmaRange, order_per_bit: int) -> tuple[int, ...]:
    """How many free runs there are of 2^n to 2^(n+1) - 1 pages, by n; up to the largest order there is.

    Empty where the bitmap is not readable or nothing is free.
    """
    counts: dict[int, int] = {}
    for first, end in _free_runs(_range_text(area_range, order_per_bit)):
        order = ((end - first) << order_per_bit).bit_length() - 1
        counts[order] = counts.get(order, 0) + 1
    return tuple(counts.get(order, 0) for order in range(max(counts, default=-1) + 1))


def fitting_runs(area_range: CmaRange, order_per_bit: int, size_pages: int, align_order: int) -> tuple[Run, ...]:
    """The free runs that a request of this size and alignment could be placed in."""
    request = _Request.of(area_range, order_per_bit, size_pages, align_order)
    return tuple(
        Run(first, end - first, used=False)
        for first, end in _free_runs(_range_text(area_range, order_per_bit))
        if request.align(first) + request.count_bits <= end
    )


def heap_align_order(size_pages: int, limit: int = CMA_ALIGNMENT_ORDER) -> int:
    """The alignment that the CMA heap asks for: the order of the size rounded up, capped (heaps/cma_heap.c, 5.6 on)."""
    return min(max(size_pages - 1, 0).bit_length(), limit)


def fit(area: CmaArea, size_pages: int, align_order: int) -> Fit:
    """Where `cma_alloc()` would place a request now: first fit in each range in turn, aligned by absolute pfn.

    mm/cma.c and lib/bitmap.c, 5.10 to 7.3. Pages that cannot be migrated away (EBUSY) show in no bitmap.
    """
    order_per_bit = area.order_per_bit or 0
    readable = [(index, part) for index, part in enumerate(area.ranges) if part.bitmap is not None]
    misses: list[tuple[int, _Request, bytes]] = []
    for index, part in readable:
        request = _Request.of(part, order_per_bit, size_pages, align_order)
        text = _range_text(part, order_per_bit)
        bit = request.first_fit(text)
        if bit is not None:
            return Fit(fits=True, pfn=request.pfn(bit), range_index=index, start_bit=bit)
        misses.append((index, request, text))
    known = bool(readable) and len(readable) == len(area.ranges)
    if not known and not _is_too_large(area, size_pages):
        return Fit(fits=None)
    return _nearest(misses)


def _is_too_large(area: CmaArea, size_pages: int) -> bool:
    limits = (area.max_free_run_pages, area.count_pages)
    return any(limit is not None and size_pages > limit for limit in limits)


def _nearest(misses: list[tuple[int, "_Request", bytes]]) -> Fit:
    holes = [request.largest_hole_bits(text) << request.order_per_bit for _, request, text in misses]
    found = [(*spot, index, request) for index, request, text in misses if (spot := request.least_used(text))]
    if not found:
        return Fit(fits=False, largest_hole_pages=max(holes, default=None))
    used, bit, index, request = min(found, key=lambda item: item[0])
    return Fit(
        fits=False,
        largest_hole_pages=max(holes),
        nearest_pfn=request.pfn(bit),
        in_the_way_pages=used << request.order_per_bit,
        range_index=index,
        start_bit=bit,
    )


class _Request(NamedTuple):
    """A request as `cma_alloc` puts it to one range: bits, and the mask and offset of its alignment."""

    base_pfn: int | None
    order_per_bit: int
    count_bits: int
    mask: int
    offset: int

    @classmethod
    def of(cls, part: CmaRange, order_per_bit: int, size_pages: int, align_order: int) -> "_Request":
        """cma_bitmap_aligned_mask(), cma_bitmap_aligned_offset(), cma_bitmap_pages_to_bits() of mm/cma.c."""
        return cls(
            base_pfn=part.base_pfn,
            order_per_bit=order_per_bit,
            count_bits=-(-size_pages >> order_per_bit),
            mask=(1 << (align_order - order_per_bit)) - 1 if align_order > order_per_bit else 0,
            offset=((part.base_pfn or 0) & ((1 << align_order) - 1)) >> order_per_bit,
        )

    def align(self, bit: int) -> int:
        """The first aligned bit from `bit` on."""
        return ((bit + self.offset + self.mask) & ~self.mask) - self.offset

    def pfn(self, bit: int) -> int | None:
        """The page frame of a bit."""
        return None if self.base_pfn is None else self.base_pfn + (bit << self.order_per_bit)

    def first_fit(self, text: bytes) -> int | None:
        """bitmap_find_next_zero_area_off(). It goes on behind the *last* used bit of a window, where the kernel goes on
        behind the first: the windows left out all hold that bit, so the answer is the same, sooner.
        """
        if self.count_bits <= 0:
            return None
        start = 0
        while (free := text.find(b"0", start)) >= 0:
            first = self.align(free)
            end = first + self.count_bits
            if end > len(text):
                return None
            last_used = text.rfind(b"1", first, end)
            if last_used < 0:
                return first
            start = last_used + 1
        return None

    def largest_hole_bits(self, text: bytes) -> int:
        """The longest aligned free stretch."""
        return max((end - min(self.align(first), end) for first, end in _free_runs(text)), default=0)

    def least_used(self, text: bytes) -> tuple[int, int] | None:
        """(used bits, first bit) of the aligned window that has the fewest used bits; None if none is large enough."""
        first = self.align(0)
        if self.count_bits <= 0 or first + self.count_bits > len(text):
            return None
        step = self.mask + 1
        used_before = list(accumulate(text.translate(_TO_NUMBERS), initial=0))
        ends, starts = used_before[first + self.count_bits :: step], used_before[first::step]
        used = list(map(sub, ends, starts))
        least = min(used)
        return least, first + used.index(least) * step


_USED: Final = ord("1")


def _text(bitmap: bytes, count_bits: int) -> bytes:
    """The bits as `0` and `1`, first bit first; bits that the bitmap does not have are 0."""
    if count_bits <= 0:
        return b""
    number = int.from_bytes(bitmap, "little") & ((1 << count_bits) - 1)
    return f"{number:0{count_bits}b}".encode()[::-1]


def _range_text(part: CmaRange, order_per_bit: int) -> bytes:
    return b"" if part.bitmap is None else _text(part.bitmap, part.count_pages >> order_per_bit)


def _free_runs(text: bytes) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _FREE.finditer(text))


def _used_between(bitmap: bytes, first: int, end: int) -> int:
    if end <= first:
        return 0
    part = int.from_bytes(bitmap[first >> 3 : (end + 7) >> 3], "little") >> (first & 7)
    return (part & ((1 << (end - first)) - 1)).bit_count()

"""The allocators again, as plainly as can be: what the compiled ones must equal."""

ORDERS = 11
PAGEBLOCK = 512
UNMOVABLE, MOVABLE = 0, 1


class NaiveBuddy:
    """Free blocks of each kind and order in a dict, the newest last."""

    def __init__(self, count_pages: int) -> None:
        self.count_pages = count_pages
        self.lists: list[list[dict[int, None]]] = [[{} for _ in range(ORDERS)] for _ in (UNMOVABLE, MOVABLE)]
        self.allocated: dict[int, tuple[int, int]] = {}
        self.kinds = [MOVABLE] * -(-count_pages // PAGEBLOCK)
        page = count_pages
        while page:
            order = max(o for o in range(ORDERS) if page % (1 << o) == 0)
            page -= 1 << order
            self.lists[MOVABLE][order][page] = None

    @property
    def free_pages(self) -> int:
        return sum(len(blocks) << order for lists in self.lists for order, blocks in enumerate(lists))

    def allocate(self, order: int, kind: int = UNMOVABLE) -> int:
        lists = self.lists[kind]
        found = next((o for o in range(order, ORDERS) if lists[o]), None)
        page = self._steal(order, kind) if found is None else self._split(kind, found, order, kind)
        if page >= 0:
            self.allocated[page] = order, kind
        return page

    def _split(self, listed: int, found: int, order: int, rest: int) -> int:
        """The newest block of a list, cut to `order`; the rest becomes free of the kind `rest`."""
        page, _ = self.lists[listed][found].popitem()
        for smaller in range(found - 1, order - 1, -1):
            self.lists[rest][smaller][page + (1 << smaller)] = None
        return page

    def _steal(self, order: int, kind: int) -> int:
        other = 1 - kind
        large_enough = [o for o in range(order, ORDERS) if self.lists[other][o]]
        if not large_enough:
            return -1
        found = large_enough[-1]
        may_claim = kind == UNMOVABLE or found >= 4
        if not may_claim:
            found = large_enough[0]
        page = next(reversed(self.lists[other][found]))
        first = page // PAGEBLOCK
        if found >= 9:
            for pageblock in range(first, first + (1 << found) // PAGEBLOCK):
                self.kinds[pageblock] = kind
            return self._split(other, found, order, kind)
        start, end = first * PAGEBLOCK, (first + 1) * PAGEBLOCK
        if may_claim and end <= self.count_pages:
            free = {p: o for o in range(9) for p in self.lists[other][o] if start <= p < end}
            alike = [1 << o for p, (o, k) in self.allocated.items() if start <= p < end and k == kind]
            if sum(1 << o for o in free.values()) + sum(alike) >= PAGEBLOCK // 2:
                self.kinds[first] = kind
                for p, o in sorted(free.items()):
                    del self.lists[other][o][p]
                    self.lists[kind][o][p] = None
                found = next(o for o in range(order, ORDERS) if self.lists[kind][o])
                return self._split(kind, found, order, kind)
        return self._split(other, found, order, self.kinds[first])

    def free(self, page: int, order: int) -> None:
        if self.allocated.get(page, (None,))[0] != order:
            raise ValueError(page)
        del self.allocated[page]
        kind = self.kinds[page // PAGEBLOCK]
        while order < ORDERS - 1:
            buddy = page ^ (1 << order)
            listed = next((lists for lists in self.lists if buddy in lists[order]), None)
            if listed is None:
                break
            del listed[order][buddy]
            if order >= 9:
                self.kinds[buddy // PAGEBLOCK] = kind
            page = min(page, buddy)
            order += 1
        self.lists[kind][order][page] = None

    def allocate_chunks(
        self, count_pages: int, orders: tuple[int, ...], keep: int, kind: int = UNMOVABLE
    ) -> list[tuple[int, int]] | None:
        """alloc_largest_available in a loop, as system_heap.c has it."""
        if count_pages + keep > self.free_pages:
            return None
        taken: list[tuple[int, int]] = []
        max_order = ORDERS
        while count_pages:
            for order in orders:
                if order <= max_order and 1 << order <= count_pages and (page := self.allocate(order, kind)) >= 0:
                    break
            else:
                for page, order in reversed(taken):
                    self.free(page, order)
                return None
            taken.append((page, order))
            count_pages -= 1 << order
            max_order = order
        return taken

    def allocate_contiguous(self, count_pages: int) -> list[tuple[int, int]] | None:
        """alloc_pages, split_page, and a free of each page that was not asked for."""
        order = (count_pages - 1).bit_length()
        page = self.allocate(order) if order < ORDERS else -1
        if page < 0:
            return None
        del self.allocated[page]
        blocks = self._mark(page, count_pages)
        for single in range(page + count_pages, page + (1 << order)):
            self.allocated[single] = 0, UNMOVABLE
        for single in range(page + count_pages, page + (1 << order)):
            self.free(single, 0)
        return blocks

    def _mark(self, page: int, count_pages: int) -> list[tuple[int, int]]:
        blocks = []
        while count_pages:
            order = max(o for o in range(ORDERS) if page % (1 << o) == 0 and 1 << o <= count_pages)
            blocks.append((page, order))
            self.allocated[page] = order, UNMOVABLE
            page += 1 << order
            count_pages -= 1 << order
        return blocks

    def free_heads(self, blocks: list[tuple[int, int]]) -> None:
        for page, order in blocks:
            kind = self.allocated.pop(page)[1]
            for single in range(page, page + (1 << order)):
                self.allocated[single] = 0, kind
            self.free(page, 0)

    def claim(self, page: int, count_pages: int) -> list[tuple[int, int]]:
        used = self.used()
        if count_pages == 0 or page + count_pages > self.count_pages or any(used[page : page + count_pages]):
            raise ValueError(page)
        wanted = range(page, page + count_pages)
        hit = [
            (block, order, blocks)
            for lists in self.lists
            for order, blocks in enumerate(lists)
            for block in blocks
            if block < wanted.stop and wanted.start < block + (1 << order)
        ]
        for block, order, blocks in sorted(hit, key=lambda one: one[0]):
            del blocks[block]
            self._put_back([p for p in range(block, block + (1 << order)) if p not in wanted])
        return self._mark(page, count_pages)

    def _put_back(self, rest: list[int]) -> None:
        """Free these pages, as the largest blocks that can be."""
        while rest:
            first = rest[0]
            order = max(
                o for o in range(ORDERS) if first % (1 << o) == 0 and set(range(first, first + (1 << o))) <= set(rest)
            )
            self.lists[self.kinds[first // PAGEBLOCK]][order][first] = None
            rest = rest[1 << order :]

    def free_counts(self, kind: int | None = None) -> tuple[int, ...]:
        kinds = (UNMOVABLE, MOVABLE) if kind is None else (kind,)
        return tuple(sum(len(self.lists[k][order]) for k in kinds) for order in range(ORDERS))

    def used(self) -> list[bool]:
        """For each page whether it is allocated."""
        bits = [True] * self.count_pages
        for lists in self.lists:
            for order, pages in enumerate(lists):
                for page in pages:
                    bits[page : page + (1 << order)] = [False] * (1 << order)
        return bits


class NaiveCma:
    """One bool a bit."""

    def __init__(self, count_pages: int, base_pfn: int, order_per_bit: int) -> None:
        self.base_pfn = base_pfn
        self.order_per_bit = order_per_bit
        self.bits = [False] * (count_pages >> order_per_bit)

    @classmethod
    def of(cls, bits: list[bool], base_pfn: int) -> "NaiveCma":
        """Pages of which some are taken."""
        made = cls(len(bits), base_pfn, 0)
        made.bits = bits
        return made

    def count(self, count_pages: int) -> int:
        """Bits for so many pages."""
        return -(-count_pages // (1 << self.order_per_bit))

    def allocate(self, count_pages: int, align_order: int, start: int = 0) -> int:
        """Try every bit in turn: an alignment finer than a bit asks nothing, and a coarser one is the PFN's.

        Where base_pfn itself is not aligned to a bit, the kernel rounds its remainder down to whole bits.
        """
        count = self.count(count_pages)
        step = max(1, (1 << align_order) >> self.order_per_bit)
        offset = (self.base_pfn % (1 << align_order)) >> self.order_per_bit
        for bit in range(start, len(self.bits) - count + 1):
            if (bit + offset) % step == 0 and not any(self.bits[bit : bit + count]):
                self.bits[bit : bit + count] = [True] * count
                return bit
        return -1

    def claim(self, bit: int, count_pages: int) -> None:
        count = self.count(count_pages)
        if not 0 < count <= len(self.bits) - bit or any(self.bits[bit : bit + count]):
            raise ValueError(bit)
        self.bits[bit : bit + count] = [True] * count

    def release(self, bit: int, count_pages: int) -> None:
        count = self.count(count_pages)
        if not 0 < count <= len(self.bits) - bit or not all(self.bits[bit : bit + count]):
            raise ValueError(bit)
        self.bits[bit : bit + count] = [False] * count

    def free_counts(self) -> tuple[int, ...]:
        """Take the largest naturally aligned free block at each free page."""
        first = self.base_pfn
        free = [not bit for bit in self.bits for _ in range(1 << self.order_per_bit)]
        counts = [0] * ORDERS
        page = 0
        while page < len(free):
            if not free[page]:
                page += 1
                continue
            order = max(
                o
                for o in range(ORDERS)
                if (first + page) % (1 << o) == 0 and page + (1 << o) <= len(free) and all(free[page : page + (1 << o)])
            )
            counts[order] += 1
            page += 1 << order
        return tuple(counts)


class NaiveArea:
    """A CMA area, page by page: `taken`, `lent` to movable pages, or `pinned` there; free otherwise."""

    def __init__(self, bases: list[int], counts: list[int], order_per_bit: int) -> None:
        self.bases = bases
        self.bits = [NaiveCma(count, base, order_per_bit) for base, count in zip(bases, counts, strict=True)]
        self.pages = [["free"] * count for count in counts]
        self.order_per_bit = order_per_bit
        self.room_elsewhere = 0

    def allocate(self, count_pages: int, align_order: int) -> int | str:
        """First page frame, or `EBUSY` or `ENOMEM`."""
        failure = "ENOMEM"
        step = max(1, (1 << align_order) >> self.order_per_bit)
        for base, bits, pages in zip(self.bases, self.bits, self.pages, strict=True):
            start = 0
            while (bit := bits.allocate(count_pages, align_order, start)) >= 0:
                window = slice(bit << self.order_per_bit, (bit << self.order_per_bit) + count_pages)
                if "pinned" in pages[window]:
                    failure = "EBUSY"
                elif (moved := pages[window].count("lent")) > self.room_elsewhere:
                    bits.release(bit, count_pages)
                    return "ENOMEM"
                else:
                    self.room_elsewhere -= moved
                    pages[window] = ["taken"] * count_pages
                    return base + window.start
                bits.release(bit, count_pages)
                start = bit + step
        return failure

    def release(self, pfn: int, count_pages: int) -> None:
        for base, bits, pages in zip(self.bases, self.bits, self.pages, strict=True):
            if base <= pfn < base + len(pages):
                bits.release(pfn - base >> self.order_per_bit, count_pages)
                pages[pfn - base : pfn - base + count_pages] = ["free"] * count_pages

    def lend(self, count_pages: int) -> int:
        lent = 0
        for pages in self.pages:
            for page, state in enumerate(pages):
                if state == "free" and lent < count_pages:
                    pages[page] = "lent"
                    lent += 1
        return lent

    def pin(self, number: int) -> bool:
        """Whether it could: a page of a bit that is set is the user's, unless it was pinned before."""
        for bits, pages in zip(self.bits, self.pages, strict=True):
            if number < len(pages):
                if bits.bits[number >> self.order_per_bit] and pages[number] != "pinned":
                    return False
                pages[number] = "pinned"
                return True
            number -= len(pages)
        raise ValueError(number)

    def unpin(self, number: int) -> None:
        for pages in self.pages:
            if 0 <= number < len(pages) and pages[number] == "pinned":
                pages[number] = "lent"
            number -= len(pages)


def longest_free(bits: list[bool]) -> int:
    """Length of the longest stretch of False."""
    longest = run = 0
    for bit in bits:
        run = 0 if bit else run + 1
        longest = max(longest, run)
    return longest


def packed(bits: list[bool]) -> bytes:
    """As bytes, bit 0 of byte 0 first."""
    number = sum(1 << index for index, bit in enumerate(bits) if bit)
    return number.to_bytes(-(-len(bits) // 8), "little")

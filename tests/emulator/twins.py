"""The allocators again, as plainly as can be: what the compiled ones must equal."""

ORDERS = 11


class NaiveBuddy:
    """Free blocks in one list an order, the newest last."""

    def __init__(self, count_pages: int) -> None:
        self.count_pages = count_pages
        self.lists: list[list[int]] = [[] for _ in range(ORDERS)]
        self.allocated: dict[int, int] = {}
        page = count_pages
        while page:
            order = max(o for o in range(ORDERS) if page % (1 << o) == 0)
            page -= 1 << order
            self.lists[order].append(page)

    @property
    def free_pages(self) -> int:
        return sum(len(pages) << order for order, pages in enumerate(self.lists))

    def allocate(self, order: int) -> int:
        found = next((o for o in range(order, ORDERS) if self.lists[o]), None)
        if found is None:
            return -1
        page = self.lists[found].pop()
        for smaller in range(found - 1, order - 1, -1):
            self.lists[smaller].append(page + (1 << smaller))
        self.allocated[page] = order
        return page

    def free(self, page: int, order: int) -> None:
        if self.allocated.get(page) != order:
            raise ValueError(page)
        del self.allocated[page]
        while order < ORDERS - 1 and page ^ (1 << order) in self.lists[order]:
            self.lists[order].remove(page ^ (1 << order))
            page &= ~(1 << order)
            order += 1
        self.lists[order].append(page)

    def allocate_chunks(self, count_pages: int, orders: tuple[int, ...], keep: int) -> list[tuple[int, int]] | None:
        """alloc_largest_available in a loop, as system_heap.c has it."""
        if count_pages + keep > self.free_pages:
            return None
        taken: list[tuple[int, int]] = []
        max_order = ORDERS
        while count_pages:
            for order in orders:
                if order <= max_order and 1 << order <= count_pages and (page := self.allocate(order)) >= 0:
                    break
            else:
                for page, order in reversed(taken):
                    self.free(page, order)
                return None
            taken.append((page, order))
            count_pages -= 1 << order
            max_order = order
        return taken

    def free_counts(self) -> tuple[int, ...]:
        return tuple(len(pages) for pages in self.lists)

    def used(self) -> list[bool]:
        """For each page whether it is allocated."""
        bits = [True] * self.count_pages
        for order, pages in enumerate(self.lists):
            for page in pages:
                bits[page : page + (1 << order)] = [False] * (1 << order)
        return bits


class NaiveCma:
    """One bool a bit."""

    def __init__(self, count_pages: int, base_pfn: int, order_per_bit: int) -> None:
        self.base_pfn = base_pfn
        self.order_per_bit = order_per_bit
        self.bits = [False] * (count_pages >> order_per_bit)

    def _count(self, count_pages: int) -> int:
        return -(-count_pages // (1 << self.order_per_bit))

    def allocate(self, count_pages: int, align_order: int) -> int:
        """Try every bit in turn: an alignment finer than a bit asks nothing, and a coarser one is the PFN's.

        Where base_pfn itself is not aligned to a bit, the kernel rounds its remainder down to whole bits.
        """
        count = self._count(count_pages)
        step = max(1, (1 << align_order) >> self.order_per_bit)
        offset = (self.base_pfn % (1 << align_order)) >> self.order_per_bit
        for bit in range(len(self.bits) - count + 1):
            if (bit + offset) % step == 0 and not any(self.bits[bit : bit + count]):
                self.bits[bit : bit + count] = [True] * count
                return bit
        return -1

    def release(self, bit: int, count_pages: int) -> None:
        count = self._count(count_pages)
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

"""The buddy allocator in plain Python, as fast as that can be said plainly."""

from typing import Final

ORDERS: Final = 11


class PlainBuddy:
    """Free blocks of each order in a dict, which gives the newest first and forgets any at once."""

    def __init__(self, count_pages: int) -> None:
        self.free_pages = count_pages
        self._free: list[dict[int, None]] = [{} for _ in range(ORDERS)]
        self._free[-1] = dict.fromkeys(range(count_pages - 1024, -1, -1024))

    def allocate(self, order: int) -> int:
        """First page of a block, -1 where there is none."""
        found = order
        while not self._free[found]:
            found += 1
            if found == ORDERS:
                return -1
        page, _ = self._free[found].popitem()
        while found > order:
            found -= 1
            self._free[found][page + (1 << found)] = None
        self.free_pages -= 1 << order
        return page

    def free(self, page: int, order: int) -> None:
        """Give a block back."""
        self.free_pages += 1 << order
        while order < ORDERS - 1 and (page ^ 1 << order) in self._free[order]:
            del self._free[order][page ^ 1 << order]
            page &= ~(1 << order)
            order += 1
        self._free[order][page] = None

    def allocate_chunks(self, count_pages: int, orders: tuple[int, ...]) -> list[tuple[int, int]] | None:
        """Exactly so many pages, or None."""
        taken: list[tuple[int, int]] = []
        for order in orders:
            while count_pages >= 1 << order:
                page = self.allocate(order)
                if page < 0:
                    break
                taken.append((page, order))
                count_pages -= 1 << order
        if not count_pages:
            return taken
        self.free_chunks(taken)
        return None

    def free_chunks(self, taken: list[tuple[int, int]]) -> None:
        """Give blocks back."""
        for page, order in taken:
            self.free(page, order)

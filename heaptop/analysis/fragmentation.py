"""How fragmented a zone's free memory is: the kernel's two indices (mm/vmstat.c, debugfs extfrag), in thousandths."""

from collections.abc import Sequence


def unusable_index(free_blocks: Sequence[int], order: int) -> int:
    """How much of the free memory is in blocks too small for this order. 1000 where nothing is free."""
    pages = [count << each for each, count in enumerate(free_blocks)]
    return 1000 if not any(pages) else sum(pages[:order]) * 1000 // sum(pages)


def extfrag_index(free_blocks: Sequence[int], order: int) -> int:
    """Why an allocation of this order would fail: towards 0 for lack of memory, towards 1000 for fragmentation; -1000
    where it would not fail.
    """
    blocks = sum(free_blocks)
    if not blocks:
        return 0
    if any(free_blocks[order:]):
        return -1000
    pages = sum(count << each for each, count in enumerate(free_blocks))
    return 1000 - (1000 + (pages * 1000 >> order)) // blocks

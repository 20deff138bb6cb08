"""How much of the memory that is available may be asked of a heap without being told twice."""

from typing import Final

from heaptop.errors import UsageError
from heaptop.model import Snapshot
from heaptop.units import format_size

SHARE_MAX: Final = 0.5
"""Of MemAvailable. The system heap takes all memory if asked to (5.11 on), and the OOM killer cannot see who did."""


def check_budget(snapshot: Snapshot, size_bytes: int, count: int, force: str) -> None:
    """Refuse `count` buffers of `size_bytes` where that is too much; `force` says how to have them all the same.

    Raises:
        UsageError: more than `SHARE_MAX` of what is available, or it is not known what is.
    """
    total_bytes = -(-size_bytes // snapshot.page_bytes) * snapshot.page_bytes * count
    available_bytes = snapshot.memory.available_bytes
    what = f"alloc of {format_size(total_bytes)}"
    if available_bytes is None:
        raise UsageError(what, f"how much memory {snapshot.source} has available is not known", force)
    if total_bytes > available_bytes * SHARE_MAX:
        share = f"more than half of the {format_size(available_bytes)} available"
        raise UsageError(what, share, f"take less, or {force}")

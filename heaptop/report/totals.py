"""The sums under the process list, as Android's `dmabuf_dump` has them (libmeminfo, libdmabufinfo)."""

from typing import NamedTuple

from heaptop.model import Snapshot


class Totals(NamedTuple):
    """`kernel_rss_bytes` are buffers that no process is seen to hold; a buffer in two processes counts twice in
    `userspace_rss_bytes` and once, in shares, in `userspace_pss_bytes`. `total_bytes` counts each buffer once.
    """

    total_bytes: int
    kernel_rss_bytes: int
    kernel_buffers: int
    userspace_rss_bytes: int
    userspace_pss_bytes: int


def totals(snapshot: Snapshot) -> Totals:
    """Sums over all buffers and processes of `snapshot`. Sizes not known count as 0."""
    orphans = [buffer for buffer in snapshot.buffers if buffer.is_orphan]
    return Totals(
        total_bytes=snapshot.size_bytes,
        kernel_rss_bytes=sum(buffer.size_bytes or 0 for buffer in orphans),
        kernel_buffers=len(orphans),
        userspace_rss_bytes=sum(process.rss_bytes for process in snapshot.processes),
        userspace_pss_bytes=sum(process.pss_bytes or 0 for process in snapshot.processes),
    )

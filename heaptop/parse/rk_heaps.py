r"""Rockchip's `dma_heap_info`, below /proc/rk_dma_heap and debugfs' rk_dma_heap (rk-dma-heap.c, 5.10).

dma-heap:<cma> -dmabuf\ti_ino = 62
\tAlloc by (camera              )\t[0x0000000010000000-0x00000000107fffff]\t0x0000000000800000 (8192 KiB)
\t\tAttached Devices:
\t\tfdff0000.rkisp
Total 1 devices attached

dma-heap:<cma> -non dmabuf
\tAlloc by (rkvdec              )\t[0x…-0x…]\t0x… (4 KiB)

Total : 0x804000 (8208 KiB)

Addresses are physical. What is no dma-buf has no identity.
"""

from typing import Final

from heaptop.parse.dump import Dumped, DumpedBuffer, kept
from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_BUFFER: Final = pattern(rb"dma-heap:<(.+)> -dmabuf\ti_ino = ([0-9]{1,20})")
_OTHER: Final = pattern(rb"dma-heap:<(.+)> -non dmabuf")
_PLACE: Final = pattern(
    rb"\tAlloc by \((.*?) *\)\t\[0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16})\]\t0x([0-9a-f]{1,16}) \([0-9]+ KiB\)"
)
_DEVICE: Final = pattern(rb"\t\t(?!Attached Devices:)(\S.*)")
_ATTACHED: Final = pattern(rb"Total ([0-9]+) devices attached")
_TOTAL: Final = pattern(rb"Total : 0x([0-9a-f]{1,16}) \([0-9]+ KiB\)")


def is_dump(data: bytes) -> bool:
    """Whether a heap's line is there."""
    return any(_BUFFER.fullmatch(line) or _OTHER.fullmatch(line) for line in data[: 1 << 18].splitlines())


def parse(data: bytes) -> Dumped:
    """Buffers with their place, and bytes by heap.

    Raises:
        ParseError: there is neither a heap's line nor the total.
    """
    lines = data.splitlines()
    total = next((int(found[1], 16) for line in lines if (found := _TOTAL.fullmatch(line))), None)
    if total is None and not is_dump(data):
        raise error_at("dma_heap_info", "no heap", data)
    buffers: dict[int, DumpedBuffer] = {}
    heaps: dict[bytes, int] = {}
    nameless: list[tuple[bytes, int]] = []
    heap = b""
    inode: int | None = None
    unread = 0
    for line in lines:
        if found := (buffer := _BUFFER.fullmatch(line)) or _OTHER.fullmatch(line):
            heap, inode = found[1], int(buffer[2]) if buffer else None
            if inode is not None:
                buffers.setdefault(inode, DumpedBuffer(inode, exporter=heap, attachments=()))
        elif found := _PLACE.fullmatch(line):
            first, last, size = (int(found[number], 16) for number in (2, 3, 4))
            heaps[heap] = heaps.get(heap, 0) + size
            if inode is None:
                nameless.append((heap, size))
            else:
                buffers[inode] = buffers[inode]._replace(
                    size=size, name=kept(found[1], b"(null)"), spans=((first, last),)
                )
        elif (found := _DEVICE.fullmatch(line)) and inode is not None:
            buffers[inode] = buffers[inode]._replace(attachments=(*(buffers[inode].attachments or ()), found[1]))
        else:
            known = _ATTACHED.fullmatch(line) or _TOTAL.fullmatch(line) or line.strip() in (b"", b"Attached Devices:")
            unread += not known
    told = sum(heaps.values())
    trouble = "" if total in (None, told) else f"its rows sum up to {told} bytes, its total says {total}"
    return Dumped(tuple(buffers.values()), heaps=heaps, nameless=tuple(nameless), unread=unread, trouble=trouble)

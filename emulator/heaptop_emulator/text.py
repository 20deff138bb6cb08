"""The kernel's text about the emulated machine, byte for byte as 6.12 prints it.

What depends on who holds a buffer (references) is made by those who have looked: `fdinfo`, `bufinfo`, `link`,
`map_path`. What the machine alone knows is in text_machine.py.
"""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from heaptop_emulator.heap import Run

FILE_PREFIX: Final = "dmabuf:"
"""How the name of every buffer's memfd begins."""

PLACES: Final = "bpf/dmabuf_pages"
"""The file that tells where buffers lie: heaptop makes its like on a real kernel, which has no such text."""
DMABUF_DEVICE: Final = (0, 11)
"""Major and minor of the dmabuf pseudo file system: an anonymous device, so it differs per boot."""
DMABUF_MODE: Final = 0o600
"""st_mode of a buffer, which has no file type (dma_buf_getfile: alloc_anon_inode)."""
_FMODE_BY_ACCESS: Final = {os.O_RDONLY: 5, os.O_WRONLY: 6, os.O_RDWR: 7, os.O_ACCMODE: 4}
_FMODE_LSEEK_CAN: Final = 0x00080000


class BufferLike(Protocol):
    """What the text of a buffer is made from."""

    @property
    def inode(self) -> int:
        """Inode number."""

    @property
    def exporter(self) -> str:
        """exp_name."""

    @property
    def size_bytes(self) -> int:
        """Size."""

    @property
    def access(self) -> int:
        """O_RDONLY, O_WRONLY, O_RDWR, or 3 for neither."""

    @property
    def serial(self) -> int:
        """Counts all buffers of a boot."""

    @property
    def name(self) -> bytes | None:
        """None: never named."""


def link(name: bytes | None) -> bytes:
    """Target of an fd link (dmabuffs_dname)."""
    return b"/dmabuf:" + (name or b"")


def map_path(name: bytes | None) -> bytes:
    r"""Path in /proc/PID/maps, where a newline is `\012` (fs/proc/task_mmu.c, seq_path)."""
    return link(name).replace(b"\n", b"\\012")


def fdinfo(buffer: BufferLike, *, flags: int, mnt_id: int, count: int) -> bytes:
    """/proc/PID/fdinfo/N of one descriptor (fs/proc/fd.c, dma_buf_show_fdinfo; 5.14 on). `flags` are open(2)'s."""
    text = b"pos:\t0\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n" % (flags, mnt_id, buffer.inode)
    text += b"size:\t%d\ncount:\t%d\nexp_name:\t%s\n" % (buffer.size_bytes, count, buffer.exporter.encode())
    return text if buffer.name is None else text + b"name:\t%s\n" % buffer.name


def bufinfo(buffers: Iterable[BufferLike], counts: Mapping[int, int]) -> bytes:
    """/sys/kernel/debug/dma_buf/bufinfo, newest buffer first (dma_buf_debug_show, 6.1 to 6.12). `counts` by inode."""
    listed = sorted(buffers, key=lambda buffer: buffer.serial, reverse=True)
    rows = [b"\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n"]
    for buffer in listed:
        mode = _FMODE_LSEEK_CAN | _FMODE_BY_ACCESS[buffer.access]
        name = b"<none>" if buffer.name is None else buffer.name
        rows.append(
            b"%08d\t%08x\t%08x\t%08d\t%s\t%08d\t%s\n\tAttached Devices:\nTotal 0 devices attached\n\n"
            % (
                buffer.size_bytes,
                buffer.access,
                mode,
                counts[buffer.inode],
                buffer.exporter.encode(),
                buffer.inode,
                name,
            )
        )
    rows.append(b"\nTotal %d objects, %d bytes\n" % (len(listed), sum(buffer.size_bytes for buffer in listed)))
    return b"".join(rows)


def place(inode: int, runs: "Iterable[Run]") -> bytes:
    """A buffer's line in the file that tells where buffers lie: each block as its heap took it."""
    return b"%d\t%s\n" % (inode, b" ".join(b"%d+%d" % (run.pfn, run.count_pages) for run in runs))

"""How the kernel numbers its struct pages: from the address of one to the page frame that it stands for.

Where all struct pages lie in one array, as on every 64-bit machine (SPARSEMEM_VMEMMAP, or FLATMEM), that takes the
array's address alone. It differs per boot (KASLR), and no file tells it without kernel symbols; so it is measured:
/proc/self/pagemap tells the page frame of a page of our own, and BPF the struct page of the same one.
"""

import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_SAMPLES: Final = 8
_MFD_NOEXEC_SEAL: Final = 8
"""Which some systems insist on (6.3 on, vm.memfd_noexec=2), and older kernels refuse."""
_PRESENT: Final = 1 << 63
_FRAME_MASK: Final = (1 << 55) - 1
"""Bits of an entry of pagemap (Documentation/admin-guide/mm/pagemap.rst)."""
_NOT_A_PAGE: Final = 3
"""Low bits of a page cache's entry that is a node or a value (include/linux/xarray.h)."""


def first_struct_page(cached_pages: Callable[[], Mapping[int, int]], struct_page_bytes: int) -> int:
    """The address that page frame 0's struct page has, or would have. `cached_pages` looks, by fd, at the struct page
    of each file with one page.

    Raises:
        OSError: EPERM where pagemap does not tell page frames (it takes CAP_SYS_ADMIN), ENOTSUP where what was
            measured does not agree with one array of struct pages.
    """
    with ExitStack() as opened:
        pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        opened.callback(os.close, pagemap)
        addresses = {}
        for _ in range(_SAMPLES):
            file = _file()
            opened.callback(os.close, file)
            os.ftruncate(file, _PAGE_BYTES)
            page = opened.enter_context(mmap.mmap(file, _PAGE_BYTES))
            with suppress(OSError):  # where there are no huge pages
                page.madvise(mmap.MADV_NOHUGEPAGE)
            page[0] = 1
            addresses[file] = ctypes.addressof(ctypes.c_char.from_buffer(page))
        before = {file: _frame(pagemap, address) for file, address in addresses.items()}
        if not all(before.values()):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        pages = cached_pages()
        found = {
            pages.get(file, _NOT_A_PAGE) - frame * struct_page_bytes
            for file, frame in before.items()
            if frame == _frame(pagemap, addresses[file])  # else it was moved meanwhile
        }
    if len(found) != 1 or (first := found.pop()) & _NOT_A_PAGE:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    return first


def _file() -> int:
    """A new empty file in memory."""
    try:
        return os.memfd_create("heaptop-page", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create("heaptop-page", os.MFD_CLOEXEC)


def _frame(pagemap: int, address: int) -> int:
    """The page frame at an address; 0 where it is not told."""
    (entry,) = struct.unpack("=Q", os.pread(pagemap, 8, address // _PAGE_BYTES * 8))
    return entry & _FRAME_MASK if entry & _PRESENT else 0

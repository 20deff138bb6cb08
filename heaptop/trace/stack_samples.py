"""The call stacks of allocations in all processes, by perf: nobody is stopped, the kernel copies registers and stack.

Samples are taken where a dma-buf has been made, in the thread that makes it: at the tracepoint (7.0 on), else at the
return of dma_buf_export(). A thread of this process reads them at once, as a stack can only be understood while its
process has the same memory.
"""

import contextlib
import mmap
import os
import platform
import select
import struct
import threading
import time
from collections.abc import Callable, Collection
from typing import Final, Self

from heaptop.errors import ParseError, SourceError, errno_text
from heaptop.parse import perf_stack, trace_format
from heaptop.parse.perf_stack import StackSample
from heaptop.parse.trace_format import Format
from heaptop.scan.files import read_file
from heaptop.stacks.catch import Spaces, of_sample
from heaptop.stacks.recorder import Allocated, StackRecorder
from heaptop.stacks.registers import PERF_REGISTERS, of_perf
from heaptop.stacks.shelf import KERNEL, Shelf
from heaptop.trace.attach import PERF_TYPE_TRACEPOINT, perf_event_open
from heaptop.trace.definitions import TRACEFS, Definitions
from heaptop.trace.perf_ring import online
from heaptop.trace.perf_way import find_layout

STACK_BYTES: Final = 8 << 10
RING_BYTES: Final = 4 << 20
"""For each processor: some five hundred allocations that nobody has read yet."""
_ATTRIBUTE: Final = struct.Struct("<IIQQQQQIIQQQQIi")
_SAMPLE_TYPE: Final = 1 << 1 | 1 << 2 | 1 << 10 | 1 << 12 | 1 << 13
"""TID, TIME, RAW, REGS_USER, STACK_USER."""
_USE_CLOCKID: Final = 1 << 25
_HEAD_AT, _TAIL_AT = 1024, 1032
_POSITION: Final = struct.Struct("<Q")
_WAIT_S: Final = 0.1
_END_S: Final = 5.0
_EXPORT: Final = "dma_buf/dma_buf_export"
_INODE: Final = ("ino", "inode")
_WHAT: Final = "call stacks"
_REMEDY: Final = "run as root, on a kernel with CONFIG_KPROBE_EVENTS and tracefs"


class StackSamples:
    """Watches from when it is made until it is closed. `taken` counts stacks, `missed` those that came too late."""

    def __init__(self, alive: Callable[[], Collection[int] | None]) -> None:
        """`alive` tells the inodes of all live buffers (see StackRecorder); it is called in a thread of its own.

        Raises:
            SourceError: this kernel cannot, or this process may not.
        """
        self.taken = self.missed = self.lost = 0
        self._bug: BaseException | None = None
        self._spaces = Spaces()
        self._is_over = threading.Event()
        with contextlib.ExitStack() as held:
            if platform.machine() not in PERF_REGISTERS:
                raise SourceError(_WHAT, f"not known how to take them on {platform.machine()}", "take x86-64 or arm64")
            held.callback(self._spaces.close)
            self._recorder = StackRecorder(Shelf(KERNEL), alive)
            held.callback(self._recorder.close)
            try:
                self._format = _place(held)
                self._rings = [held.enter_context(_Ring(cpu, self._format.id)) for cpu in online()]
            except OSError as error:
                why = errno_text(error.errno or 0)
                raise SourceError(
                    _WHAT, why, "run as root, on a kernel with CONFIG_KPROBE_EVENTS and tracefs"
                ) from error
            self._held = held.pop_all()
        self._offset_s = time.time() - time.monotonic()
        self._thread = threading.Thread(target=self._work, name="heaptop-stacks")
        self._thread.start()

    def close(self) -> None:
        """Watch no more, and take all away. May be called twice. Raises what was a bug."""
        self._is_over.set()
        self._thread.join(_END_S)
        self._held.close()
        if self._bug is not None:
            raise self._bug

    def _work(self) -> None:
        poll = select.poll()
        for ring in self._rings:
            poll.register(ring.fd, select.POLLIN)
        try:
            while not self._is_over.is_set():
                poll.poll(1000 * _WAIT_S)
                self._read()
            self._read()
        except BaseException as error:  # noqa: BLE001  told by `close`
            self._bug = error

    def _read(self) -> None:
        for ring in self._rings:
            samples, lost = perf_stack.parse(ring.take(), len(PERF_REGISTERS[platform.machine()]))
            self.lost += lost
            for sample in samples:
                self._take(sample)
        self._recorder.settle()

    def _take(self, sample: StackSample) -> None:
        try:
            fields = self._format.decode(sample.raw)
        except ParseError:
            self.lost += 1
            return
        inode = next((fields[name] for name in _INODE if name in fields), None)
        known = of_perf(platform.machine(), sample.abi, sample.registers)
        copy = None if known is None else of_sample(self._spaces, sample.pid, *known, sample.stack)
        if copy is None or not isinstance(inode, int):
            self.missed += 1
            return
        self.taken += 1
        at = sample.time_ns / 1e9 + self._offset_s
        self._recorder.add(copy, Allocated(inode, sample.pid, sample.tid, _comm(sample), at))


def _comm(sample: StackSample) -> bytes:
    """The thread's name, or the process's where the thread has ended already."""
    texts = (read_file(f"/proc/{number}/comm") for number in (sample.tid, sample.pid))
    return next((text.rstrip(b"\n") for text in texts if isinstance(text, bytes)), b"")


def _place(held: contextlib.ExitStack) -> Format:
    """Where a buffer has been made and its inode is known. Raises OSError where there is no such place."""
    for folder in TRACEFS:
        text = read_file(f"{folder}/events/{_EXPORT}/format")
        with contextlib.suppress(ParseError):
            format_ = trace_format.parse(text) if isinstance(text, bytes) else None
            if format_ is not None and any(name in format_.fields for name in _INODE):
                return format_
    definitions = Definitions()
    held.callback(definitions.close)
    layout = find_layout(definitions)
    if layout is not None:
        inode = f"inode=+{layout.inode_number}(+{layout.file_inode}(+8($retval))):u64"
        found = definitions.add("r", "stack", "dma_buf_export", inode)
        if found is not None:
            return found
    raise OSError(95, os.strerror(95))


class _Ring:
    """The samples of one processor."""

    def __init__(self, cpu: int, number: int) -> None:
        mask = sum(1 << bit for bit in PERF_REGISTERS[platform.machine()])
        head = (PERF_TYPE_TRACEPOINT, _ATTRIBUTE.size, number, 1, _SAMPLE_TYPE, 0, _USE_CLOCKID, 1)
        tail = (0, 0, 0, 0, mask, STACK_BYTES, time.CLOCK_MONOTONIC)
        self.fd = perf_event_open(_ATTRIBUTE.pack(*head, *tail), cpu)
        try:
            self._pages = mmap.mmap(self.fd, mmap.PAGESIZE + RING_BYTES, mmap.MAP_SHARED)
        except BaseException:
            os.close(self.fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pages.close()
        os.close(self.fd)

    def take(self) -> bytes:
        """All whole records there are, and room for more."""
        (end,) = _POSITION.unpack_from(self._pages, _HEAD_AT)
        (at,) = _POSITION.unpack_from(self._pages, _TAIL_AT)
        first, length = at % RING_BYTES, end - at
        data = self._pages[mmap.PAGESIZE + first : mmap.PAGESIZE + min(first + length, RING_BYTES)]
        data += self._pages[mmap.PAGESIZE : mmap.PAGESIZE + length - len(data)]
        _POSITION.pack_into(self._pages, _TAIL_AT, end)
        return data

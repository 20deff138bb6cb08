"""Answers a command's heap and buffer ioctls from an emulator's heaps, as the kernel would."""

import contextlib
import errno
import os
import resource
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from heaptop.trace.supervise import _native, memory
from heaptop.trace.supervise.base import Abi, Allocation, Buffers, Granted, Outcome, Wanted
from heaptop.trace.supervise.faults import Injector
from heaptop.trace.supervise.live import LiveBytes
from heaptop.trace.supervise.seccomp import Call, Listener
from heaptop.trace.supervise.stops import Stopped

BUFFER_PREFIX: Final = "/memfd:dmabuf:"
"""How the link of an emulated buffer's fd begins; of a real dma-buf's: DMABUF_PREFIX."""
DMABUF_PREFIX: Final = "/dmabuf:"
BUFFER_COMMANDS: Final = (0x40086200, 0x40046201, 0x40086201, 0xC0086202, 0x40086203)
"""SYNC, SET_NAME_A and _B, EXPORT and IMPORT_SYNC_FILE (uapi/linux/dma-buf.h)."""
_SET_NAMES: Final = BUFFER_COMMANDS[1:3]
_NAME_BYTES_MAX: Final = 31
_PASS: Final = Outcome(passes=True)


class _KilledError(Exception):
    """The caller is gone: nobody waits for the answer."""


class _Caller:
    """A thread that waits in a call: its memory, and its table of descriptors."""

    def __init__(self, listener: Listener, call: Call) -> None:
        self._listener = listener
        self._call = call
        self._is_known = False
        self.granted: Granted | None = None
        self.installed: int | None = None

    def copy_in(self, address: int, count_bytes: int) -> bytes:
        """Read its memory."""
        return memory.read(self._call.tid, address, count_bytes)

    def string_in(self, address: int, count_bytes: int) -> bytes:
        """Read a string."""
        return memory.read_string(self._call.tid, address, count_bytes)

    def copy_out(self, address: int, raw: bytes) -> None:
        """Write into its memory, and not into that of another that was given its number since."""
        if not self._is_known and not self._listener.is_waiting(self._call):
            raise _KilledError
        self._is_known = True
        memory.write(self._call.tid, address, raw)

    def has_room(self) -> bool:
        """Whether a number below its limit is free."""
        limit, _ = resource.prlimit(self._call.tid, resource.RLIMIT_NOFILE)
        return sum(int(name) < limit for name in os.listdir(f"/proc/{self._call.tid}/fd")) < limit

    def install(self, flags: int) -> int:
        """Give it the buffer."""
        if self.granted is None:
            raise ValueError("nothing was allocated")
        self.installed = self._listener.add_fd(self._call, self.granted.fd, flags)
        if self.installed is None:
            raise _KilledError
        return self.installed


class Node(NamedTuple):
    """A heap's node below /dev/dma_heap, and the heap that it stands for."""

    name: str
    heap: str


class Emulation:
    """The heaps by device and inode of their nodes, and whom to ask for buffers. `live` where bytes alive matter."""

    def __init__(
        self,
        listener: Listener,
        abi: Abi,
        buffers: Buffers,
        nodes: Mapping[tuple[int, int], Node],
        *,
        injector: Injector,
        live: LiveBytes | None,
        tend: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._listener = listener
        self._abi = abi
        self._buffers = buffers
        self._nodes = nodes
        self._injector = injector
        self._live = live
        self.tend = tend

    def handle(self, call: Call) -> Outcome:
        """Do what the ioctl asks where it is one of a heap or a buffer; else the kernel does."""
        try:
            if call.command in BUFFER_COMMANDS:
                file = f"/proc/{call.tid}/fd/{call.fd}"
                link = os.readlink(file)
                if link.startswith(BUFFER_PREFIX):
                    return self._buffer(call, file)
                if link.startswith(DMABUF_PREFIX):
                    return self._real(call, file)
        except OSError:  # no such fd: the kernel says EBADF
            return _PASS
        found = _native.identity(call.tid, call.fd)
        node = self._nodes.get(found) if isinstance(found, tuple) else None
        return _PASS if node is None else self._heap(call, node)

    def close(self) -> None:
        """Nothing is to be given back."""

    def returned(self, _call: Call, _allocation: Allocation, _stopped: Stopped) -> bool:
        """All is known already."""
        return True

    def _real(self, call: Call, file: str) -> Outcome:
        """The kernel does what is asked of a real dma-buf. The emulator is told of a name, if it is its buffer."""
        if call.command in _SET_NAMES:
            with contextlib.suppress(OSError):
                name = memory.read_string(call.tid, call.argument, _NAME_BYTES_MAX + 1)
                if len(name) <= _NAME_BYTES_MAX:
                    self._buffers.set_name(os.stat(file).st_ino, name)
        return _PASS

    def _buffer(self, call: Call, file: str) -> Outcome:
        def set_name(name: bytes) -> None:
            self._buffers.set_name(os.stat(file).st_ino, name)

        try:
            self._abi.buffer_ioctl(_Caller(self._listener, call), call.command, call.argument, set_name)
        except OSError as error:
            return Outcome(_number(error))
        return Outcome()

    def _heap(self, call: Call, node: Node) -> Outcome:
        allocation = Allocation(call.tid, node.name, time.time())
        caller = _Caller(self._listener, call)

        def allocate(wanted: Wanted) -> None:
            allocation.size_bytes = wanted.size_bytes
            number = self._injector.refuses(
                node.name, wanted.size_bytes, None if self._live is None else self._live.settled
            )
            if number:
                raise OSError(number, os.strerror(number))
            caller.granted = self._buffers.allocate(node.heap, wanted, call.tid)
            allocation.inode = caller.granted.inode
            if self._live is not None:
                self._live.add(caller.granted.fd)

        try:
            self._abi.heap_ioctl(caller, call.command, call.argument, allocate)
            allocation.number = 0
        except _KilledError:
            allocation.number = errno.EINTR
        except OSError as error:
            allocation.number = _number(error)
        finally:
            if caller.granted is not None:
                os.close(caller.granted.fd)
        allocation.fd = caller.installed
        allocation.took_s = time.time() - allocation.began
        return Outcome(allocation.number, allocation=allocation)


def _number(error: OSError) -> int:
    return error.errno or errno.EIO

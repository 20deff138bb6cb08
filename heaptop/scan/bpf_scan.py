"""Who holds buffers, by BPF: loads the programs, runs them, and reads what they told. Nothing stays behind."""

import errno
import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from heaptop.scan import bpf_passes, bpf_walk
from heaptop.scan._records import Records
from heaptop.scan.bpf_call import Iterator, SharedMemory, is_known_machine
from heaptop.scan.bpf_records import HEADER, RECORD, TASKS, Shared, StandIns
from heaptop.scan.btf import FUNC, BtfError, Types
from heaptop.scan.files import read_file
from heaptop.scan.told import Told

_RECORDS_BYTES: Final = 4 << 20
_RECORDS_BYTES_MAX: Final = 256 << 20
_QUEUE_BYTES: Final = 256 << 10
"""Room for the nodes of a process with some 250,000 mappings: one with more is left to /proc."""
_PIDS_MAX: Final = 1 << 22
_ATTEMPTS: Final = 5
_FIRST_NAMESPACE: Final = 4026531836
"""The inode of /proc/self/ns/pid in the first pid namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h)."""


class BpfScan:
    """Looks at this kernel's processes. The programs go with it, or with this process."""

    def __init__(self, types: Types, stand_ins: StandIns | None = None, *, walks: bool = True) -> None:
        """`stand_ins` are files to be found in place of dma-bufs. Without `walks` the quick way is not tried.

        Raises:
            BtfError, OSError: this kernel has not what it takes, or does not allow it.
        """
        if not is_known_machine():
            raise OSError(errno.ENOSYS, "this machine's system calls are not known")
        if os.stat("/proc/self/ns/pid").st_ino != _FIRST_NAMESPACE:
            raise OSError(errno.EXDEV, "this is a pid namespace of its own")
        self._types = types
        self._stand_ins = stand_ins
        self._skipped = len(stand_ins.prefix) if stand_ins else 0
        self._open = ExitStack()
        self._programs = ExitStack()
        self._iterators: Sequence[Iterator] = ()
        self._set: list[int] = []
        self.newest = Records(b"")
        """What the last look found."""
        try:
            self._wanted = self._memory(-(-_count_pids() // 8) + 7 & ~7)
            self._queue = self._memory(_QUEUE_BYTES)
            self.walks = walks and self._can_walk()
            if not self.walks:
                self._load(_RECORDS_BYTES)
        except BaseException:
            self.close()
            raise

    def look(self, pids: Iterable[int]) -> Mapping[int, Told]:
        """What these processes hold. Of one that has ended, or is the kernel's own, there is nothing.

        Raises:
            OSError: the kernel stopped it.
        """
        self._want(pids)
        while True:
            HEADER.pack_into(self._records.memory, 0, 0)
            for iterator in self._iterators:
                iterator.run()
            (used,) = HEADER.unpack_from(self._records.memory)
            if used <= self._records_bytes - HEADER.size:
                self.newest = Records(self._records.memory[HEADER.size : HEADER.size + used], self._skipped)
                return self.newest.told()
            if used > _RECORDS_BYTES_MAX:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            self._load(used + used // 4)

    def knows(self, pid: int) -> bool:
        """Whether there is room for its number: it may have become possible since."""
        return pid // 8 < len(self._wanted.memory)

    def close(self) -> None:
        """Take the programs and their memory away. May be called twice."""
        self._programs.close()
        self._open.close()

    def _memory(self, count_bytes: int) -> SharedMemory:
        shared = SharedMemory(-(-count_bytes // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._open.callback(shared.close)
        return shared

    def _want(self, pids: Iterable[int]) -> None:
        bits = self._wanted.memory
        for at in self._set:
            bits[at] = 0
        self._set = []
        for pid in pids:
            at = pid >> 3
            if not bits[at]:
                self._set.append(at)
            bits[at] |= 1 << (pid & 7)

    def _load(self, records_bytes: int) -> None:
        """The programs, with so much room for records."""
        self._programs.close()
        room = -(-records_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._records = SharedMemory(room)
        self._records_bytes = room
        self._programs.callback(self._records.close)
        shared = Shared(
            *(self._records.fd, room),
            *(self._wanted.fd, len(self._wanted.memory)),
            *(self._queue.fd, len(self._queue.memory)),
        )
        if self.walks:
            programs = {TASKS: bpf_walk.walk_program(self._types, shared, self._stand_ins)}
        else:
            programs = bpf_passes.pass_programs(self._types, shared, self._stand_ins)
        found = []
        for name, program in programs.items():
            iterator = Iterator(program, self._types.id_of(name, FUNC))
            self._programs.callback(iterator.close)
            found.append(iterator)
        self._iterators = found

    def _can_walk(self) -> bool:
        """Whether the quick way is to be had, and finds the mappings of this very process (which may change them while
        it looks: then it looks again).
        """
        self.walks, own = True, os.getpid()
        try:
            self._load(_RECORDS_BYTES)
        except PermissionError:
            raise
        except (BtfError, OSError):
            return False
        for _ in range(_ATTEMPTS):
            told = self.look([own]).get(own)
            if told is not None and not told.is_odd:
                return True
        return False


def _count_pids() -> int:
    raw = read_file("/proc/sys/kernel/pid_max")
    return min(int(raw), _PIDS_MAX) if isinstance(raw, bytes) else _PIDS_MAX


assert HEADER.size % 8 == RECORD.size % 8 == 0

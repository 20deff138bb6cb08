"""bpf(2) through ctypes: as much as loading and running an iterator takes. Every descriptor is closed on exec."""

import ctypes
import mmap
import os
import struct
from typing import Final

_SYSCALLS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280}
"""64-bit little-endian machines. A program of another word size would ask for another call."""
_MAP_CREATE, _PROG_LOAD, _LINK_CREATE, _ITER_CREATE = 0, 5, 28, 33
_MAP_TYPE_ARRAY: Final = 2
_MAP_IS_MAPPABLE: Final = 1 << 10
_PROG_TYPE_TRACING: Final = 26
_TRACE_ITER: Final = 28
_ATTRIBUTE_BYTES: Final = 144
_LOG_BYTES: Final = 1 << 16
_LOG_TAIL: Final = 400
_READ_BYTES: Final = 1 << 16
_ARRAY_KEY_BYTES: Final = 4
_TASK_BYTES: Final = 12
"""Of union bpf_iter_link_info's task: tid, pid, pid_fd."""
OUTPUT_BYTES_MAX: Final = 64 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def is_known_machine() -> bool:
    """Whether this program can ask this kernel."""
    return os.uname().machine in _SYSCALLS and struct.calcsize("P") == 8


def call(command: int, attribute: bytes) -> int:
    """bpf(2).

    Raises:
        OSError: with the kernel's errno.
    """
    buffer = ctypes.create_string_buffer(attribute, _ATTRIBUTE_BYTES)
    result = _libc.syscall(_SYSCALLS[os.uname().machine], command, buffer, _ATTRIBUTE_BYTES)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


def load(program: bytes, function_id: int, *, log: bool = False) -> int:
    """Load a program for the iterator that the function of this BTF number stands for; returns its fd.

    Raises:
        OSError: EPERM without CAP_BPF and CAP_PERFMON; what the verifier says about a program that it refuses is in
            the error's notes.
    """
    code, licence = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"GPL")
    text = ctypes.create_string_buffer(_LOG_BYTES)
    attribute = bytearray(_ATTRIBUTE_BYTES)
    struct.pack_into("<IIQQ", attribute, 0, _PROG_TYPE_TRACING, len(program) // 8, _address(code), _address(licence))
    if log:
        struct.pack_into("<IIQ", attribute, 24, 1, _LOG_BYTES, _address(text))
    struct.pack_into("<16s", attribute, 48, b"heaptop")
    struct.pack_into("<I", attribute, 68, _TRACE_ITER)
    struct.pack_into("<I", attribute, 108, function_id)
    try:
        return call(_PROG_LOAD, bytes(attribute))
    except OSError as error:
        if log:
            error.add_note(text.value.decode("latin-1")[-_LOG_TAIL:])
        raise


class Iterator:
    """A program attached to its iterator. Nothing is pinned: it is gone when this process is."""

    def __init__(self, program: bytes, function_id: int, *, of_this_process: bool = False) -> None:
        """`of_this_process` restricts an iterator over tasks.

        Raises:
            OSError: with the kernel's errno; see `load`.
        """
        loaded = load(program, function_id)
        try:
            task = ctypes.create_string_buffer(struct.pack("<III", 0, os.getpid(), 0))
            about = (_address(task), _TASK_BYTES) if of_this_process else (0, 0)
            self._link = call(_LINK_CREATE, struct.pack("<IIIIQI", loaded, 0, _TRACE_ITER, 0, *about))
        finally:
            os.close(loaded)

    def run(self) -> bytes:
        """All that the program writes.

        Raises:
            OSError: with the kernel's errno.
        """
        output = call(_ITER_CREATE, struct.pack("<II", self._link, 0))
        try:
            parts = []
            left = OUTPUT_BYTES_MAX
            while left > 0 and (part := os.read(output, _READ_BYTES)):
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
        finally:
            os.close(output)

    def close(self) -> None:
        """Take the program away. May be called twice."""
        if self._link >= 0:
            os.close(self._link)
            self._link = -1


class SharedMemory:
    """Memory that programs write and this process reads: the only element of an array map."""

    def __init__(self, count_bytes: int) -> None:
        """`count_bytes` are whole pages. Raises OSError with the kernel's errno."""
        kind = struct.pack("<IIIII", _MAP_TYPE_ARRAY, _ARRAY_KEY_BYTES, count_bytes, 1, _MAP_IS_MAPPABLE)
        self.fd = call(_MAP_CREATE, kind)
        try:
            self.memory = mmap.mmap(self.fd, count_bytes, mmap.MAP_SHARED)
        except BaseException:
            os.close(self.fd)
            raise

    def close(self) -> None:
        """Give it back."""
        self.memory.close()
        os.close(self.fd)


def _address(buffer: "ctypes.Array[ctypes.c_char]") -> int:
    return ctypes.addressof(buffer)

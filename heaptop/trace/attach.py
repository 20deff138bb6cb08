"""Puts BPF programs on tracepoints, functions' entries and returns, by perf_event_open(2).

All of it hangs on file descriptors, closed on exec: it is gone when this process is, even after SIGKILL. (A probe made
through tracefs would stay.)
"""

import ctypes
import fcntl
import os
import platform
import struct
from typing import Final

from heaptop.scan.bpf_call import call
from heaptop.scan.files import read_file

PROG_KPROBE: Final = 2
PROG_TRACEPOINT: Final = 5
_PROG_LOAD, _GET_INFO, _ENABLE_STATS = 5, 15, 32
_LICENCE: Final = b"Dual MIT/GPL"
"""These few instructions may be had under either licence; the helpers they call want to hear so."""
_PERF_EVENT_OPEN: Final = {"x86_64": 298, "aarch64": 241}
PERF_TYPE_TRACEPOINT: Final = 2
_PERF_FLAG_FD_CLOEXEC: Final = 8
_ATTRIBUTE: Final = struct.Struct("<IIQQQQQIIQQ")
"""perf_event_attr: type, size, config, sample_period, sample_type, read_format, flags, wakeup_events, bp_type, config1
and config2."""
_SET_BPF: Final = 0x40042408
_ENABLE: Final = 0x2400
_LOG_BYTES: Final = 1 << 16
_INFO_BYTES: Final = 208
_INFO_RUN_TIME: Final = 192
"""run_time_ns in struct bpf_prog_info (5.1 on)."""
KPROBE_PMU: Final = "/sys/bus/event_source/devices/kprobe"

_libc = ctypes.CDLL(None, use_errno=True)


def load(program: bytes, kind: int) -> int:
    """Load a program; returns its fd.

    Raises:
        OSError: EPERM without CAP_BPF and CAP_PERFMON; a refused program's error has the verifier's last words as note.
    """
    code, licence = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(_LICENCE)
    head = (kind, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    try:
        return call(_PROG_LOAD, struct.pack("<IIQQIIQII16s", *head, 0, 0, 0, 0, 0, b"heaptop"))
    except PermissionError:
        raise
    except OSError as error:
        log = ctypes.create_string_buffer(_LOG_BYTES)
        try:
            told = (1, _LOG_BYTES, ctypes.addressof(log))
            return call(_PROG_LOAD, struct.pack("<IIQQIIQII16s", *head, *told, 0, 0, b"heaptop"))
        except OSError:
            error.add_note(log.value.decode("latin-1")[-1000:])
            raise error from None


class Probe:
    """One program at one place. Raises OSError where the place is not there, or may not be watched."""

    def __init__(self, program: bytes, kind: int, event: int) -> None:
        self._program = -1
        self._event = event
        try:
            self._program = load(program, kind)
            fcntl.ioctl(event, _SET_BPF, self._program)
            fcntl.ioctl(event, _ENABLE)
        except BaseException:
            self.close()
            raise

    def run_ns(self) -> int:
        """Nanoseconds that it ran: counted while statistics are enabled."""
        info = ctypes.create_string_buffer(_INFO_BYTES)
        call(_GET_INFO, struct.pack("<IIQ", self._program, _INFO_BYTES, ctypes.addressof(info)))
        (nanoseconds,) = struct.unpack_from("<Q", info, _INFO_RUN_TIME)
        return int(nanoseconds)

    def close(self) -> None:
        """Take it away. May be called twice."""
        for fd in (self._event, self._program):
            if fd >= 0:
                os.close(fd)
        self._event = self._program = -1


def at_tracepoint(program: bytes, number: int) -> Probe:
    """At a tracepoint, by its number (`format` tells it)."""
    return Probe(program, PROG_TRACEPOINT, _open_event(PERF_TYPE_TRACEPOINT, number))


def at_function(program: bytes, function: str, *, on_return: bool = False) -> Probe:
    """Where a function of the kernel begins or returns (the kprobe PMU, 4.17 on)."""
    kind = _number(f"{KPROBE_PMU}/type")
    name = ctypes.create_string_buffer(function.encode())
    return Probe(program, PROG_KPROBE, _open_event(kind, int(on_return), ctypes.addressof(name)))


def enable_statistics() -> int:
    """Let the kernel count how long programs run, while the returned fd is open (5.8 on)."""
    return call(_ENABLE_STATS, struct.pack("<I", 0))


def _open_event(kind: int, config: int, name: int = 0) -> int:
    """On processor 0, as perf wants one named; a program runs on all."""
    return perf_event_open(_ATTRIBUTE.pack(kind, _ATTRIBUTE.size, config, 1, 0, 0, 0, 1, 0, name, 0), 0)


def perf_event_open(attribute: bytes, cpu: int) -> int:
    """An event of every process on one processor; its fd.

    Raises:
        OSError: with the kernel's errno.
    """
    buffer = ctypes.create_string_buffer(attribute, len(attribute))
    fd = _libc.syscall(_PERF_EVENT_OPEN[platform.machine()], buffer, -1, cpu, -1, _PERF_FLAG_FD_CLOEXEC)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(fd)


def _number(path: str) -> int:
    text = read_file(path)
    if not isinstance(text, bytes):
        number = 2 if text is None else text.errno
        raise OSError(number, os.strerror(number), path)
    return int(text)

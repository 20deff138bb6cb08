"""What there is to watch on the running kernel: each place is tried, never concluded from a version."""

import contextlib
import errno
import os
from collections.abc import Callable
from typing import Final

from heaptop.capture import Raw, ReadError
from heaptop.errors import ParseError
from heaptop.model import Gap
from heaptop.parse import trace_format
from heaptop.parse.event_record import What
from heaptop.parse.trace_format import Format
from heaptop.scan.files import read_file
from heaptop.trace.attach import Probe, at_function, at_tracepoint
from heaptop.trace.layout import find_layout
from heaptop.trace.programs import Layout, Programs
from heaptop.trace.ring import Ring

_TRACEFS: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_EXPORT: Final = "dma_buf/dma_buf_export"
CMA_TRACEPOINTS: Final = {
    What.TRACE_CMA_BUSY: "cma/cma_alloc_busy_retry",
    What.TRACE_CMA_DONE: "cma/cma_alloc_finish",
}
RELEASES: Final = ("dma_buf_file_release", "dma_buf_release")
"""The file operation of 5.8 and later, and of earlier kernels (where it is later a dentry's)."""
NO_PROBES: Final = "the kernel cannot be probed there"
CONFIGURE: Final = "a kernel with CONFIG_KPROBE_EVENTS"


class Watch:
    """Puts the programs where they belong; `held` takes them away."""

    def __init__(self, ring: Ring, programs: Programs, held: contextlib.ExitStack) -> None:
        """Raises OSError (EPERM, EACCES) where nothing may be watched by this process."""
        self._programs = programs
        self._held = held
        self.probes: list[Probe] = []
        self.formats: dict[What, Format] = {}
        self.watched: list[str] = []
        self.gaps: list[Gap] = []
        self._layout = self._find_layout(ring)
        # Frees first and calls last: whatever belongs to an allocation is there before the allocation.
        self._watch_frees()
        self._watch_cma()
        self._watch_allocations()

    def _find_layout(self, ring: Ring) -> Layout | None:
        try:
            return find_layout(self._programs, ring)
        except OSError as error:
            _raise_if_forbidden(error)
            return None

    def _watch_frees(self) -> None:
        if self._layout is None or not any(
            self._at_function(self._programs.release(self._layout), name) for name in RELEASES
        ):
            self.gaps.append(Gap("frees", NO_PROBES, CONFIGURE))

    def _watch_cma(self) -> None:
        missing = [name for what, name in CMA_TRACEPOINTS.items() if not self._at_tracepoint(what, name)]
        if missing:
            what = f"CMA failures ({', '.join(missing)})"
            if any(isinstance(_format_of(name), ReadError) for name in missing):
                self.gaps.append(Gap(what, "tracefs may not be read", "run heaptop as root"))
            elif any(os.path.isdir(f"{folder}/events") for folder in _TRACEFS):
                self.gaps.append(Gap(what, "the kernel has no such tracepoint", ""))
            else:
                self.gaps.append(Gap(what, "tracefs is not mounted", "mount -t tracefs tracefs /sys/kernel/tracing"))

    def _watch_allocations(self) -> None:
        if not self._at_tracepoint(What.TRACE_EXPORTED, _EXPORT):
            self._watch_exports()
        ends = self._at_function(self._programs.heap_return(), "dma_heap_ioctl", on_return=True)
        if not ends or not self._at_function(self._programs.heap_call(), "dma_heap_ioctl"):
            self.gaps.append(Gap("latencies and failed allocations", NO_PROBES, CONFIGURE))

    def _watch_exports(self) -> None:
        if not self._at_function(self._programs.export_call(), "dma_buf_export"):
            self.gaps.append(Gap("allocations", NO_PROBES, CONFIGURE))
        elif self._layout is None:
            self.gaps.append(Gap("which buffer was allocated", "the layout of struct inode could not be found out", ""))
        elif not self._at_function(self._programs.export_return(self._layout), "dma_buf_export", on_return=True):
            self.gaps.append(Gap("which buffer was allocated", NO_PROBES, "a kernel with CONFIG_KRETPROBES"))

    def _at_tracepoint(self, what: What, name: str) -> bool:
        text = _format_of(name)
        if not isinstance(text, bytes):
            return False
        try:
            self.formats[what] = trace_format.parse(text)
        except ParseError:
            return False
        number = self.formats[what].id
        return self._attached(name.replace("/", ":"), lambda: at_tracepoint(self._programs.tracepoint(what), number))

    def _at_function(self, program: bytes, function: str, *, on_return: bool = False) -> bool:
        return self._attached(f"{function}()", lambda: at_function(program, function, on_return=on_return))

    def _attached(self, name: str, attach: Callable[[], Probe]) -> bool:
        try:
            probe = attach()
        except OSError as error:
            _raise_if_forbidden(error)
            return False
        self._held.callback(probe.close)
        self.probes.append(probe)
        if name not in self.watched:
            self.watched.append(name)
        return True


def _format_of(name: str) -> Raw | None:
    """A tracepoint's format, or why it cannot be read; None where it is not there."""
    return next((raw for folder in _TRACEFS if (raw := read_file(f"{folder}/events/{name}/format")) is not None), None)


def _raise_if_forbidden(error: OSError) -> None:
    if error.errno in {errno.EPERM, errno.EACCES}:
        raise error

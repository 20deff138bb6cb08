"""A scenario of the emulator in simulated time: ten minutes of it, a capture a second, made when they are asked for.

Nothing runs and nothing is allocated: what the scenario's processes would hold at each moment is computed, and told in
the kernel's own texts. The same scenario and seed give the same captures each time.
"""

import os
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final

from heaptop.backend.chosen import without
from heaptop.capture import Capture, FdLink, FdStat, FdTable, ProcessCapture, Raw
from heaptop.errors import UsageError
from heaptop.units import printable
from heaptop_emulator import text
from heaptop_emulator.scenarios import SCENARIOS
from heaptop_emulator.simulation import SimulatedProcess, Simulation
from heaptop_emulator.wire import BufferState

DURATION_S: Final = 600
BEGAN_AT: Final = 1_767_225_600.0
"""2026-01-01, so that recordings of it are alike too."""
_BUFINFO: Final = "sys/kernel/debug/dma_buf/bufinfo"
_TICKS_PER_S: Final = 100
_SOCKET_FD: Final = 3
_LINK_MODE: Final = 0o120700
_RDWR: Final = os.O_RDWR | os.O_CLOEXEC
_MAPS_PATH_COLUMN: Final = 73
"""Where /proc/PID/maps has the path on 64-bit machines (fs/proc/task_mmu.c, show_vma_header_prefix)."""


class SimulatedBackend:
    """A Timeline of one scenario, `interval_s` from moment to moment."""

    def __init__(
        self,
        scenario: str,
        *,
        seed: int = 1,
        duration_s: float = DURATION_S,
        interval_s: float = 1.0,
        off: frozenset[str] = frozenset(),
    ) -> None:
        """Sources that are `off` are left out.

        Raises:
            UsageError: no such scenario.
        """
        if scenario not in SCENARIOS:
            raise UsageError(f"no scenario {printable(scenario)!r}", "", f"one of: {', '.join(SCENARIOS)}")
        self._scenario = scenario
        self._seed = seed
        self._interval_s = interval_s
        self._off = off
        self._count = int(duration_s / interval_s) + 1
        self._index = self._count - 1
        self._simulation = Simulation(scenario, seed)

    @property
    def source(self) -> str:
        """As `-b` takes it."""
        return f"simulation:{self._scenario}"

    def moments(self) -> Sequence[float]:
        """Of all captures, in seconds since the epoch."""
        return [BEGAN_AT + index * self._interval_s for index in range(self._count)]

    def seek(self, index: int) -> None:
        """Let the next capture be that of `moments()[index]`. IndexError where there is none."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        self._index = index

    def capture(self) -> Capture:
        """The capture of the moment that was sought; that of the last one before any seek."""
        at_s = self._index * self._interval_s
        if self._simulation.now_s > at_s:
            self._simulation = Simulation(self._scenario, self._seed)
        self._simulation.advance(at_s - self._simulation.now_s)
        state = self._simulation.state()
        buffers = {buffer.inode: buffer for buffer in state.buffers}
        counts = self._simulation.counts()
        processes = self._simulation.processes.values()
        whole = Capture(
            source=self.source,
            captured_at=BEGAN_AT + at_s,
            files=MappingProxyType({**state.files, _BUFINFO: text.bufinfo(state.buffers, counts)}),
            links=state.links,
            processes=tuple(_process(process, buffers, counts) for process in processes if _is_holder(process)),
            processes_seen=len(processes),
        )
        return without(whole, self._off)

    def close(self) -> None:
        """Nothing is left to give back."""


def _is_holder(process: SimulatedProcess) -> bool:
    return bool(process.fds or process.maps or process.in_flight)


def _process(process: SimulatedProcess, buffers: dict[int, BufferState], counts: dict[int, int]) -> ProcessCapture:
    links = []
    infos: dict[int, Raw] = {}
    if process.in_flight:
        links.append(FdLink(_SOCKET_FD, b"socket:[%d]" % process.pid))
        infos[_SOCKET_FD] = b"pos:\t0\nflags:\t02004002\nmnt_id:\t10\nino:\t%d\nscm_fds:\t%d\n" % (
            process.pid,
            len(process.in_flight),
        )
    for fd, inode in sorted(process.fds.items()):
        buffer = buffers[inode]
        blocks = buffer.size_bytes // 512
        stat = FdStat(text.DMABUF_DEVICE, inode, buffer.size_bytes, text.DMABUF_MODE, nlink=1, blocks=blocks)
        links.append(FdLink(fd, text.link(buffer.name), stat, _LINK_MODE))
        infos[fd] = text.fdinfo(buffer, flags=_RDWR, mnt_id=15, count=counts[inode])
    maps = b"".join(_map_lines(process, buffers))
    return ProcessCapture(
        process.pid,
        MappingProxyType({**_details(process), "maps": maps}),
        FdTable(tuple(links), MappingProxyType(infos)),
    )


def _map_lines(process: SimulatedProcess, buffers: dict[int, BufferState]) -> Iterator[bytes]:
    yield b"00400000-00500000 r-xp 00000000 fe:00 1001".ljust(_MAPS_PATH_COLUMN) + b"/usr/bin/app\n"
    for start, inode in sorted(process.maps.items()):
        buffer = buffers[inode]
        line = b"%012x-%012x rw-s 00000000 %02x:%02x %d" % (
            start,
            start + buffer.size_bytes,
            *text.DMABUF_DEVICE,
            inode,
        )
        yield line.ljust(_MAPS_PATH_COLUMN) + text.map_path(buffer.name) + b"\n"


def _details(process: SimulatedProcess) -> dict[str, Raw]:
    """What tells of the process itself, as /proc has it."""
    comm = os.fsencode(process.comm)
    started = int(process.started_s * _TICKS_PER_S)
    escaped = comm.replace(b"\\", rb"\\").replace(b"\n", rb"\n")
    ids = b"1000\t1000\t1000\t1000"
    return {
        "comm": comm + b"\n",
        "cmdline": comm + b"\0",
        "stat": b"%d (%s) S 1 %d %d" % (process.pid, comm, process.pid, process.pid)
        + b" 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 %d 8388608 256" % started
        + b" 0" * 28
        + b"\n",
        "status": b"Name:\t%s\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t1\n"
        % (escaped, process.pid, process.pid)
        + b"TracerPid:\t0\nUid:\t%s\nGid:\t%s\nFDSize:\t64\nVmSize:\t    8192 kB\nVmRSS:\t    1024 kB\nThreads:\t1\n"
        % (ids, ids),
        "statm": b"2048 256 128 16 0 64 0\n",
        "cgroup": b"0::/\n",
        "oom_score_adj": b"0\n",
    }

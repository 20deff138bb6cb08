"""A scenario in simulated time: its roles play in this one process, and their descriptors are only numbers.

Minutes pass in moments, and what is allocated is the same each time. The heaps are the real ones; a buffer has no file.
"""

import heapq
import os
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from typing import Final, Self
from uuid import UUID

from heaptop_emulator.framework import Buffer
from heaptop_emulator.layout import PAGE_BYTES
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of
from heaptop_emulator.role import NO_ROOM, Holding, Role, seeded
from heaptop_emulator.scenarios import SCENARIOS, layout_of
from heaptop_emulator.view import View
from heaptop_emulator.wire import State

PID_FIRST: Final = 1000
_FD_FIRST: Final = 4
_MAP_FIRST: Final = 0x7F00_0000_0000


@dataclass(slots=True)
class SimulatedProcess:
    """A process and what it holds: inodes by descriptor and by the start of a mapping. `started_s` is since boot."""

    pid: int
    comm: str
    started_s: float
    fds: dict[int, int] = field(default_factory=dict)
    maps: dict[int, int] = field(default_factory=dict)
    in_flight: list[int] = field(default_factory=list)
    _free_fds: list[int] = field(default_factory=list)
    _next_map: int = _MAP_FIRST

    def open(self, inode: int) -> int:
        """The lowest free descriptor, which now refers to the buffer."""
        fd = heapq.heappop(self._free_fds) if self._free_fds else _FD_FIRST + len(self.fds)
        self.fds[fd] = inode
        return fd

    def close(self, fd: int) -> int:
        """The inode that the descriptor referred to."""
        heapq.heappush(self._free_fds, fd)
        return self.fds.pop(fd)

    def map(self, inode: int, size_bytes: int) -> int:
        """Where the buffer is mapped now."""
        start = self._next_map
        self._next_map += size_bytes
        self.maps[start] = inode
        return start


class Simulation:
    """A scenario on a machine of its own, `now_s` seconds after it started."""

    def __init__(self, scenario: str, seed: int = 1) -> None:
        """Its processes have made their first allocations. KeyError where there is no such scenario."""
        self.scenario = SCENARIOS[scenario]
        self.now_s = 0.0
        self.buffers: dict[int, Buffer] = {}
        self.processes: dict[int, SimulatedProcess] = {}
        self.allocations = 0
        self._machine = Machine(layout_of(scenario))
        heaps = heaps_of(self._machine)
        self._heaps = {heap.name: heap for heap in heaps}
        boot_id = str(UUID(int=Random(seed).getrandbits(128), version=4))
        self._view = View(self._machine, tuple(self._heaps), scenario, boot_id)
        self._references: Counter[int] = Counter()
        self._inboxes: dict[str, deque[tuple[str, int]]] = {}
        self._roles: list[tuple[Role, _Means]] = []
        for role in self.scenario.roles:
            means = _Means(self, self.add_process(role.comm), seeded(seed, role.comm))
            self._roles.append((role(means), means))
            self._inboxes[role.comm] = deque()
        for each, _ in self._roles:
            each.start()
        self._deliver()
        self._due = [(role.period_s, number) for number, (role, _) in enumerate(self._roles)]
        heapq.heapify(self._due)

    def advance(self, seconds: float) -> None:
        """Let every role do what it does in this time, in the order of time."""
        end_s = self.now_s + seconds
        while self._due and self._due[0][0] <= end_s:
            self.now_s, number = heapq.heappop(self._due)
            role = self._roles[number][0]
            try:
                role.turn()
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
            self._deliver()
            heapq.heappush(self._due, (self.now_s + role.period_s, number))
        self.now_s = end_s

    def state(self) -> State:
        """What an emulator would tell at this moment."""
        return self._view.state(self.buffers, {process.pid: process.comm for process in self.processes.values()})

    def counts(self) -> dict[int, int]:
        """References to each buffer, in flight or not."""
        return dict(self._references)

    def add_process(self, comm: str) -> SimulatedProcess:
        """One more process, which holds nothing."""
        process = SimulatedProcess(PID_FIRST + len(self.processes), comm, self.now_s)
        self.processes[process.pid] = process
        return process

    def allocate(self, heap: str, size_bytes: int, name: str | None) -> Buffer:
        """A buffer without a reference. OSError with the heap's errno."""
        count_pages = -(-size_bytes // PAGE_BYTES)
        pages = self._heaps[heap].allocate(count_pages)
        self.allocations += 1
        raw = None if name is None else os.fsencode(name)
        serial = self.allocations
        buffer = Buffer(
            serial, heap, self._heaps[heap].exporter, count_pages * PAGE_BYTES, os.O_RDWR, serial, pages, raw
        )
        self.buffers[buffer.inode] = buffer
        return buffer

    def hold(self, inode: int) -> int:
        """One more reference."""
        self._references[inode] += 1
        return inode

    def let_go(self, inode: int) -> None:
        """One less; the last one frees it."""
        self._references[inode] -= 1
        if not self._references[inode]:
            del self._references[inode]
            self.buffers.pop(inode).pages.release()

    def post(self, to: str, label: str, inode: int) -> None:
        """A reference on its way to another role."""
        self._inboxes[to].append((label, self.hold(inode)))

    def _deliver(self) -> None:
        while any(self._inboxes.values()):
            for role, means in self._roles:
                inbox = self._inboxes[role.comm]
                while inbox:
                    label, inode = inbox.popleft()
                    role.receive(label, _Held(self, means.process, self.buffers[inode]))
                    self.let_go(inode)


class _Held:
    """A buffer that a simulated process holds; see role.Holding."""

    def __init__(self, simulation: Simulation, process: SimulatedProcess, buffer: Buffer) -> None:
        self._simulation = simulation
        self._process = process
        self.buffer = buffer
        self._fd: int | None = process.open(simulation.hold(buffer.inode))
        self._map: int | None = None

    @property
    def fd(self) -> int:
        if self._fd is None:
            raise ValueError("the descriptor is closed")
        return self._fd

    def map(self, *, writable: bool = True, touch_bytes: int = 0) -> Self:  # noqa: ARG002  (nothing is written)
        self._map = self._process.map(self._simulation.hold(self.buffer.inode), self.buffer.size_bytes)
        return self

    def close_fd(self) -> Self:
        if self._fd is not None:
            self._simulation.let_go(self._process.close(self._fd))
            self._fd = None
        return self

    def drop(self) -> None:
        self.close_fd()
        if self._map is not None:
            self._simulation.let_go(self._process.maps.pop(self._map))
            self._map = None


class _Means:
    """What a simulated process can do; see role.Means."""

    def __init__(self, simulation: Simulation, process: SimulatedProcess, random: Random) -> None:
        self._simulation = simulation
        self.process = process
        self.random = random

    def allocate(self, heap: str, size_bytes: int, name: str | None = None) -> _Held:
        return _Held(self._simulation, self.process, self._simulation.allocate(heap, size_bytes, name))

    def share(self, held: Holding, to: str, label: str) -> None:
        self._simulation.post(to, label, self.process.fds[held.fd])

    def send_unread(self, held: Holding) -> None:
        self.process.in_flight.append(self._simulation.hold(self.process.fds[held.fd]))

    def fork(self, comm: str, held: Holding) -> None:
        self._simulation.add_process(comm).open(self._simulation.hold(self.process.fds[held.fd]))

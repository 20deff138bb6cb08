"""A small source whose buffers come and go, for recordings: captures as a kernel would give them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from heaptop import recording
from heaptop.backend.base import Backend
from heaptop.capture import Capture, FdLink, FdStat, FdTable, ProcessCapture, Raw
from heaptop.recording.series import Series

NOON = 1_700_000_000.0
BOOT = "11111111-2222-3333-4444-555555555555"


def process(pid: int, comm: str, inodes: dict[int, int]) -> ProcessCapture:
    """A process that holds these buffers (inode to bytes), each by one descriptor."""
    fds = dict(enumerate(sorted(inodes), 3))
    stats = {fd: FdStat((0, 12), inode, inodes[inode], 0o600, 1, 0) for fd, inode in fds.items()}
    links = tuple(FdLink(fd, b"/dmabuf:b%d" % inode, stats[fd], 0o120700) for fd, inode in fds.items())
    texts: dict[int, Raw] = {
        fd: b"pos:\t0\nflags:\t02\nino:\t%d\nsize:\t%d\ncount:\t1\nexp_name:\tsystem\nname:\tb%d\n"
        % (inode, inodes[inode], inode)
        for fd, inode in fds.items()
    }
    files: dict[str, Raw] = {
        "comm": f"{comm}\n".encode(),
        "stat": f"{pid} ({comm}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {pid * 10} 0 0\n".encode(),
        "maps": b"",
    }
    return ProcessCapture(pid, files, FdTable(links, texts))


@dataclass
class Phone(Backend):
    """A source for tests. `tick` moves its clock by a second; `set` changes what a process holds."""

    at: float = NOON
    up: float = 1000.0
    boot: str = BOOT
    held: dict[int, dict[int, int]] = field(default_factory=lambda: {70: {10: 4096}, 80: {11: 8192, 12: 65536}})
    ticks: int = 0
    _made: dict[int, tuple[dict[int, int], ProcessCapture]] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return "phone"

    def tick(self, seconds: float = 1.0) -> None:
        self.at += seconds
        self.up += seconds
        self.ticks += 1

    def give(self, pid: int, inode: int, size_bytes: int = 4096) -> None:
        self.held[pid] = {**self.held.get(pid, {}), inode: size_bytes}

    def take(self, pid: int, inode: int) -> None:
        self.held[pid] = {one: size for one, size in self.held[pid].items() if one != inode}

    def capture(self) -> Capture:
        for pid, inodes in self.held.items():
            if self._made.get(pid, ({}, None))[0] != inodes:
                self._made[pid] = inodes, process(pid, f"app{pid}", inodes)
        processes = tuple(self._made[pid][1] for pid in sorted(self.held) if self.held[pid])
        files: dict[str, Raw] = {
            "proc/vmstat": b"nr_free_pages %d\n" % self.ticks,
            "proc/sys/kernel/random/boot_id": f"{self.boot}\n".encode(),
            "proc/sys/kernel/osrelease": b"6.12.0\n",
        }
        return Capture("phone", self.at, files, {}, processes, len(processes))

    def close(self) -> None:
        pass


def lives(seed: int, looks: int) -> Iterator[Phone]:
    """The phone at so many looks, with buffers and processes that come and go; the very same object each time."""
    rng, phone = random.Random(seed), Phone()
    for look in range(looks):
        yield phone
        phone.tick()
        pid = rng.choice([70, 80, 90, 100])
        if rng.random() < 0.5:
            phone.give(pid, 1000 + look, rng.randrange(1, 64) * 4096)
        elif phone.held.get(pid):
            phone.take(pid, rng.choice(sorted(phone.held[pid])))


def opened(path: Path) -> Series:
    """The recording at this path, of many moments."""
    series = recording.read_all(str(path))
    assert isinstance(series, Series)
    return series

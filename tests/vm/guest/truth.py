"""What the workload says that it holds: the ground truth (see workload.c)."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

WAYS = (
    "one_fd",
    "two_fds",
    "fd_and_map",
    "map_only",
    "map_part",
    "fork",
    "shared_table",
    "passed_on",
    "in_flight",
    "thread_table",
    "dead_leader",
    "namespaces",
    "io_uring",
    "attached",
    "gem_handle",
    "gem_export",
    "udmabuf",
    "names",
    "names_in_maps",
    "unnamed",
    "odd_size",
    "read_only",
    "other_user",
    "cma",
    "cma_fragments",
)
OTHER_USER = 1000

Json = dict[str, object]
Fd = tuple[int, int | None]
"""A descriptor and the thread whose own table it is in; None in the process's table."""
Map = tuple[int, int, int, str]
"""Start, length, offset, permissions."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One reference to a buffer, as its holder knows it."""

    way: str
    kind: str
    pid: int
    tid: int
    uid: int
    comm: bytes
    inode: int
    size_bytes: int
    exporter: str
    name: bytes | None
    attached: bool
    fd: int = -1
    start: int = 0
    length_bytes: int = 0
    offset_bytes: int = 0
    perms: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """All that one process visibly holds of one buffer."""

    pid: int
    comm: bytes
    fds: frozenset[Fd]
    maps: frozenset[Map]


@dataclass(frozen=True, slots=True)
class TrueBuffer:
    """A buffer with all its holders. `is_hidden` where a reference exists that nothing in /proc shows."""

    inode: int
    size_bytes: int
    exporter: str
    name: bytes | None
    is_attached: bool
    is_hidden: bool
    holders: frozenset[Held]
    ways: frozenset[str]

    @property
    def visible_refs(self) -> int:
        """References that /proc shows; a table that two processes share counts once."""
        tables = {fd if "shared_table" in self.ways else (held.pid, *fd) for held in self.holders for fd in held.fds}
        return len(tables) + sum(len(held.maps) for held in self.holders)


@dataclass(frozen=True, slots=True)
class Truth:
    """All that the workload holds, and the ways that this kernel does not offer, with the reason."""

    pid: int
    cma_heap: str
    holds: tuple[Hold, ...]
    left_out: Mapping[str, str]

    @property
    def buffers(self) -> Mapping[int, TrueBuffer]:
        """By inode."""
        return {inode: self._buffer([hold for hold in self.holds if hold.inode == inode]) for inode in self.inodes()}

    def inodes(self, way: str | None = None) -> frozenset[int]:
        """Of all buffers, or of those that are held in one way."""
        return frozenset(hold.inode for hold in self.holds if way in {None, hold.way})

    def comms(self) -> Mapping[int, bytes]:
        """Names of the processes."""
        return {hold.pid: hold.comm for hold in self.holds}

    def _buffer(self, holds: list[Hold]) -> TrueBuffer:
        first = holds[0]
        pids = {hold.pid for hold in holds if hold.kind != "hidden"}
        return TrueBuffer(
            inode=first.inode,
            size_bytes=first.size_bytes,
            exporter=first.exporter,
            name=first.name,
            is_attached=first.attached,
            is_hidden=any(hold.kind == "hidden" for hold in holds),
            holders=frozenset(self._held(pid, [hold for hold in holds if hold.pid == pid]) for pid in pids),
            ways=frozenset(hold.way for hold in holds),
        )

    def _held(self, pid: int, holds: list[Hold]) -> Held:
        return Held(
            pid=pid,
            comm=self.comms()[pid],
            fds=frozenset((h.fd, None if h.tid == h.pid else h.tid) for h in holds if h.kind == "fd"),
            maps=frozenset((h.start, h.length_bytes, h.offset_bytes, h.perms) for h in holds if h.kind == "map"),
        )


def parse(text: str) -> Truth:
    """The workload's document."""
    document = json.loads(text)
    rows = document["holds"]
    for row in rows:
        row["comm"] = row["comm"].encode("latin-1")
        row["name"] = None if row["name"] is None else row["name"].encode("latin-1")
    return Truth(document["pid"], document["cma_heap"], tuple(Hold(**row) for row in rows), document["left_out"])


def bytes_of(text: object) -> bytes | None:
    """heaptop's text: UTF-8, where invalid bytes are lone surrogates."""
    return None if text is None else str(text).encode("utf-8", "surrogateescape")


def holders_of(buffer: Mapping[str, object]) -> frozenset[Held]:
    """The holders that a buffer of `heaptop buffers --json` has."""
    return frozenset(
        Held(
            pid=number(holder["pid"]),
            comm=bytes_of(holder["comm"]) or b"",
            fds=frozenset((number(ref["fd"]), optional(ref["tid"])) for ref in rows(holder["fd_refs"])),
            maps=frozenset(
                (number(ref["start"]), number(ref["length_bytes"]), number(ref["offset_bytes"]), str(ref["perms"]))
                for ref in rows(holder["maps"])
            ),
        )
        for holder in rows(buffer["holders"])
    )


def rows(value: object) -> Iterator[Json]:
    """A list of objects."""
    assert isinstance(value, Iterable)
    for row in value:
        assert isinstance(row, dict)
        yield row


def number(value: object) -> int:
    """A number that must be there."""
    assert isinstance(value, int)
    return value


def optional(value: object) -> int | None:
    """A number that may be missing."""
    return None if value is None else number(value)

"""Where references that nobody is seen to have may be, as far as that is told; and buffers that have no others."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from heaptop.model import Buffer, HidingKind, HidingPlace, ProcessId, Snapshot

UNSEEN: Final = "the kernel or a process that cannot be seen"
WHO_SHOWN: Final = 3


class Kind(StrEnum):
    """Where references are."""

    THREAD = "thread"
    IO_URING = "io_uring"
    ATTACHED = "attached"
    IN_FLIGHT = "in flight"
    UNSEEN = "kernel or unseen"


class Part(NamedTuple):
    """So many references of a kind. `is_certain` is whether it is told of this very buffer, and not only of some;
    `is_hidden` whether they are among the hidden ones (those in a thread's own table are seen). `who` says it in words.
    """

    kind: Kind
    references: int
    is_certain: bool
    who: str
    is_hidden: bool = True


class LetGo(NamedTuple):
    """The last ones who were seen to hold a buffer, and when first a look showed that they no longer do."""

    holders: tuple[tuple[ProcessId, str], ...]
    at: float


def parts_of(buffer: Buffer, snapshot: Snapshot) -> tuple[Part, ...]:
    """The hidden references of a buffer, split by what is known; and those in a thread's own table.

    Rings and attachments tell their buffer; a socket only tells how many descriptors wait in it. The rest is the
    kernel's own, or of a process that may not be read.
    """
    threads = [(holder.comm, ref) for holder in buffer.holders for ref in holder.fds if ref.tid is not None]
    parts = []
    if threads:
        who = ", ".join(f"{comm} thread {ref.tid} fd {ref.fd}" for comm, ref in threads[:WHO_SHOWN])
        parts.append(Part(Kind.THREAD, len(threads), is_certain=True, who=who, is_hidden=False))
    left = buffer.hidden_refs or 0
    for part in (_in_rings(buffer, snapshot, left), *_attached(buffer), _in_flight(snapshot.hiding)):
        if part is not None and left > 0:
            count = min(part.references, left)
            left -= count
            parts.append(Part(part.kind, count, part.is_certain, part.who))
    if left > 0:
        parts.append(Part(Kind.UNSEEN, left, is_certain=False, who=UNSEEN))
    return tuple(parts)


def _in_rings(buffer: Buffer, snapshot: Snapshot, hidden: int) -> Part | None:
    """Rings that have a buffer of this name, or of whatever name where the kernel tells none."""
    rings = [place for place in snapshot.hiding if place.kind is HidingKind.IO_URING]
    if not rings or not hidden:
        return None
    named = [(ring, sum(name == (buffer.name or "") for name in ring.names)) for ring in rings]
    named = [(ring, count) for ring, count in named if count]
    if named:
        alike = sum(bool(one.hidden_refs) and (one.name or "") == (buffer.name or "") for one in snapshot.buffers)
        who = _who(ring for ring, _ in named)
        return Part(Kind.IO_URING, sum(count for _, count in named), is_certain=alike == 1, who=who)
    nameless = [ring for ring in rings if None in ring.names]
    count = sum(ring.names.count(None) for ring in nameless)
    return Part(Kind.IO_URING, count, is_certain=False, who=_who(nameless)) if nameless else None


def _attached(buffer: Buffer) -> tuple[Part, ...]:
    """An importer holds a reference for as long as it is attached (dma_buf_get by fd), whatever became of that fd."""
    devices = buffer.attachments or ()
    return (Part(Kind.ATTACHED, len(devices), is_certain=True, who=", ".join(devices)),) if devices else ()


def _in_flight(places: Iterable[HidingPlace]) -> Part | None:
    sockets = [place for place in places if place.kind is HidingKind.IN_FLIGHT]
    if not sockets:
        return None
    return Part(Kind.IN_FLIGHT, sum(place.held for place in sockets), is_certain=False, who=_who(sockets))


def _who(places: Iterable[HidingPlace]) -> str:
    """`streamd 812 fd 5 (34)`, and how many more."""
    found = sorted(places, key=lambda place: -place.held)
    shown = ", ".join(f"{one.comm} {one.process.pid} fd {one.fd} ({one.held})" for one in found[:WHO_SHOWN])
    return shown + (f" and {len(found) - WHO_SHOWN} more" if len(found) > WHO_SHOWN else "")


def has_hidden(buffers: Sequence[Buffer]) -> bool:
    """Whether there is anything to search for."""
    return any(buffer.hidden_refs for buffer in buffers)


class Orphan(NamedTuple):
    """A buffer that no process reaches, where its references may be, and who let go of it last, if that was seen."""

    buffer: Buffer
    parts: tuple[Part, ...]
    let_go: LetGo | None


def orphans(snapshot: Snapshot, let_go: Mapping[int, LetGo]) -> tuple[Orphan, ...]:
    """All of them, largest first."""
    found = [buffer for buffer in snapshot.buffers if buffer.is_orphan]
    found.sort(key=lambda buffer: (-(buffer.size_bytes or 0), buffer.inode))
    return tuple(Orphan(buffer, parts_of(buffer, snapshot), let_go.get(buffer.inode)) for buffer in found)

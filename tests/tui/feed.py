"""Looks at a small phone, one after the other, through the real session: deltas, history and trends are its own."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, cast

from heaptop.capture import Capture
from heaptop.model import (
    Buffer,
    ExporterTotal,
    FdRef,
    Fence,
    Gap,
    Heap,
    Holder,
    MapRef,
    Process,
    ProcessId,
    Snapshot,
    Source,
)
from heaptop.session import Session
from heaptop.tui.app import HeaptopApp
from heaptop.tui.poller import Poller
from tests.tui.stage import KIB, MIB, NOON, FakeBackend, snapshot

HOSTILE = "[/x]evil\nname\x1b[31m\u202e"
"""Markup, a line feed, an escape sequence, and a turn of the writing direction, in one name."""

TOLD = MappingProxyType(
    {
        "inode": (Source.FDINFO, Source.BUFINFO),
        "name": (Source.FD_LINK, Source.FDINFO),
        "size_bytes": (Source.FD_STAT, Source.FDINFO),
        "exporter": (Source.FDINFO,),
        "file_count": (Source.FDINFO,),
        "hidden_refs": (Source.DERIVED,),
        "heap": (Source.DERIVED,),
    }
)
CAMERA, FLINGER, MEDIA, GALLERY = (ProcessId(pid, pid * 100) for pid in (812, 500, 700, 900))
DENIED = Gap("bufinfo", "open: EACCES (Permission denied)", "run as root to read debugfs")


def holder(process: ProcessId, comm: str, *fds: int, maps: int = 0) -> Holder:
    mapped = tuple(MapRef(0x7F00_0000_0000 + n * MIB, MIB, 0, "rw-s") for n in range(maps))
    return Holder(process, comm, tuple(FdRef(fd, None, 0o2000002) for fd in fds), mapped)


def buffer(
    inode: int, size_bytes: int | None, name: str | None, *holders: Holder, exporter: str = "system", hidden: int = 0
) -> Buffer:
    count = sum(len(one.fds) + len(one.maps) for one in holders) + hidden
    return Buffer(inode, size_bytes, exporter, name, count, hidden, None, (), holders, exporter, TOLD)


FB = buffer(78, 64 * MIB, "fb0", holder(FLINGER, "surfaceflinger", 9))
PREVIEW = buffer(39, 8 * MIB, "cam-preview", holder(CAMERA, "cameraserver", 14, 17, maps=1))
SHARED = buffer(
    62,
    2 * MIB,
    "shared-frame",
    holder(CAMERA, "cameraserver", 21, maps=1),
    holder(FLINGER, "surfaceflinger", 12),
    holder(GALLERY, "app-gallery", 5),
)
IN_FLIGHT = buffer(11, 512 * KIB, "in-flight", hidden=1)
EVIL = buffer(104, 16 * KIB, HOSTILE, holder(MEDIA, HOSTILE, 3), exporter="udmabuf")
UNKNOWN = EVIL._replace(inode=105, size_bytes=None, name=None, hidden_refs=None, provenance=MappingProxyType({}))
SIGNALLED = FB._replace(
    attachments=("vgem", HOSTILE), fences=(Fence("write", HOSTILE, signalled=True),), inode=79, size_bytes=4 * KIB
)
PHONE = (FB, PREVIEW, SHARED, IN_FLIGHT, EVIL, UNKNOWN)


def processes(buffers: Sequence[Buffer]) -> tuple[Process, ...]:
    """Those that hold these buffers."""
    comms = {one.process: one.comm for b in buffers for one in b.holders}
    made = []
    for process, comm in sorted(comms.items()):
        held = [b for b in buffers if any(one.process == process for one in b.holders)]
        rss = sum(b.size_bytes or 0 for b in held)
        pss = sum((b.size_bytes or 0) // len(b.holders) for b in held)
        command = ("/vendor/bin/" + comm, "--fast")
        inodes = tuple(sorted(b.inode for b in held))
        made.append(Process(process, comm, 0, command, "/" + comm, -900, rss, pss, inodes, (815,)))
    return tuple(made)


def look(*buffers: Buffer, second: float = 0, gaps: Sequence[Gap] = (DENIED,)) -> Snapshot:
    """What one look saw, so many seconds after noon."""
    size = sum(b.size_bytes or 0 for b in buffers)
    one = snapshot(
        heaps=[Heap("system", "system", len(buffers), size, None)],
        exporters=[ExporterTotal("system", len(buffers), size, is_heap=True)],
        buffers=sorted(buffers, key=lambda b: b.inode),
        gaps=gaps,
    )
    return one._replace(processes=processes(buffers), captured_at=NOON + second)


class _Plays:
    """Stands where the assembler does: hands over the looks in turn, and the last one again and again."""

    def __init__(self, looks: Sequence[Snapshot]) -> None:
        self._looks = list(looks)
        self._at = NOON

    def assemble(self, _capture: Capture) -> Snapshot:
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        self._at = look.captured_at or NOON
        return look

    def uptime(self) -> float:
        """A clock that goes on with the looks: none is set."""
        return self._at


def playing(*looks: Snapshot, backend: FakeBackend | None = None, theme: str | None = None, **more: Any) -> HeaptopApp:
    """The app on these looks: the first is shown at once, each F5 shows the next."""
    backend = backend or FakeBackend()
    plays = _Plays(looks or (look(*PHONE),))
    session = Session(backend, lambda: NOON, cpu_clock=lambda: 0.0, timer=lambda: 0.0, uptime=plays.uptime)
    session._assembler = cast("Any", plays)
    poller = Poller(backend, None, lambda: NOON, session=session)
    app = HeaptopApp(backend, interval_s=None, poller=poller, theme=theme, clock=lambda: NOON, **more)
    app.NOTIFICATION_TIMEOUT = 3600  # type: ignore[misc]  # on a slow machine they would be gone before they are read
    return app

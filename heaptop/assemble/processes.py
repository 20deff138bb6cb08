"""What one process tells of buffers.

A pure function of its capture, so that the very same capture need not be read again.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from heaptop.assemble.gaps import AS_TRACER, NOT_CAPTURED, is_denied, is_gone, reason, remedy
from heaptop.assemble.parts import FdSight, Holding
from heaptop.capture import FdLink, FdStat, FdTable, ProcessCapture, Raw, ReadError
from heaptop.compiled import compiled
from heaptop.errors import ParseError
from heaptop.model import FdRef, Holder, MapRef, ProcessId
from heaptop.parse import cgroup, cmdline, comm, fdinfo, fdlink, maps, oom_score_adj, stat, statm, status
from heaptop.parse.fdinfo import DmabufFdinfo
from heaptop.parse.fdlink import Kind
from heaptop.parse.maps import Vma
from heaptop.units import text_of

_quick = compiled("heaptop.assemble._quick")

TICKS_BYTES_MAX: Final = 21

Device = tuple[int, int]
ANONYMOUS_MAJOR: Final = 0
"""Major number of every pseudo filesystem's device (fs/super.c get_anon_bdev)."""
PAGE_SIZES: Final = frozenset(1 << order for order in range(12, 19))
"""Those that Linux machines have: 4 KiB to 256 KiB."""


class Trouble(NamedTuple):
    """Something about a process that could not be read; `what` has a `{}` for `3 of 40 processes`."""

    what: str
    why: str
    remedy: str = ""


class View(NamedTuple):
    """One process as far as buffers go.

    `anonymous` counts references to buffers without identity (up to 5.2), `unidentified` those to buffers whose
    identity could not be read; `lacking` are details that are not there, `page_bytes` the page size by this process.
    `shares_fds` and `shares_maps` say that its table or memory is also that of a process with a lower pid.
    """

    id: ProcessId
    comm: str
    uid: int | None
    cmdline: tuple[str, ...] | None
    cgroup: str | None
    oom_score_adj: int | None
    libraries: tuple[str, ...] | None
    fds: tuple[FdSight, ...]
    vmas: tuple[Vma, ...]
    own_tables: tuple[int, ...]
    anonymous: int
    unidentified: int
    troubles: tuple[Trouble, ...]
    lacking: tuple[str, ...]
    page_bytes: int | None
    shares_fds: bool
    shares_maps: bool

    @property
    def devices(self) -> frozenset[Device]:
        """Devices of the buffers' pseudo filesystem, as stat through the descriptors has them."""
        return frozenset(sight.stat.dev for sight in self.fds if sight.stat is not None)


def view(process: ProcessCapture) -> View:
    """Read all that a process's capture says. Never fails."""
    return _Reader(process).view()


def holdings(seen: View, devices: frozenset[Device]) -> dict[int, Holding]:
    """What the process holds, by inode. A mapping counts only where it is of one of `devices` (of any pseudo
    filesystem where none is known): a file `/dmabuf:x` in the root directory looks the same but for its device.
    """
    mapped = tuple([vma for vma in seen.vmas if (vma.dev in devices if devices else vma.dev[0] == ANONYMOUS_MAJOR)])
    if _quick is not None:
        found: dict[int, Holding] = _quick.holdings(
            seen.id, seen.comm, seen.fds, mapped, seen.shares_fds, seen.shares_maps
        )
        return found
    fds: dict[int, list[FdSight]] = {}
    for sight in seen.fds:
        fds.setdefault(sight.inode, []).append(sight)
    vmas: dict[int, list[Vma]] = {}
    for vma in mapped:
        vmas.setdefault(vma.inode, []).append(vma)
    return {inode: _holding(seen, fds.get(inode, []), vmas.get(inode, [])) for inode in fds.keys() | vmas.keys()}


@lru_cache(maxsize=256)
def _cgroup_path(data: bytes) -> bytes | None:
    """Most processes are in few groups."""
    return cgroup.path(cgroup.parse(data))


def _holding(seen: View, sights: list[FdSight], vmas: list[Vma]) -> Holding:
    infos = [sight.info for sight in sights if sight.info is not None]
    return Holding(
        holder=Holder(
            process=seen.id,
            comm=seen.comm,
            fds=tuple(sight.ref for sight in sights),
            maps=tuple(MapRef(vma.start, vma.length, vma.offset, vma.perms) for vma in vmas),
        ),
        references=(0 if seen.shares_maps else len(vmas))
        + sum(not seen.shares_fds or sight.ref.tid is not None for sight in sights),
        stat=next((sight.stat for sight in sights if sight.stat is not None), None),
        info=infos[0] if infos else None,
        file_count=min((info.file_count for info in infos), default=None),
        link_name=next((sight.name for sight in sights if sight.name), None),
        map_name=next((name for vma in vmas if (name := fdlink.dmabuf_name(vma.path))), None),
    )


Parsed = TypeVar("Parsed")


class _Reader:
    """Reads one process, noting what is amiss."""

    def __init__(self, process: ProcessCapture) -> None:
        self._process = process
        self._is_later = "details.later" in process.files
        self._troubles: dict[Trouble, None] = {}
        self._lacking: list[str] = []
        self._anonymous = 0
        self._unidentified = 0

    def view(self) -> View:
        process = self._process
        about = self._detail("stat", stat.parse)
        uid = self._detail("status", status.real_uid)
        name = self._detail("comm", comm.parse)
        if name is None:
            name = about.comm if about else self._name_in_status()
        arguments = self._detail("cmdline", cmdline.parse)
        group = self._detail("cgroup", _cgroup_path)
        vmas = self._vmas()
        fds, own_tables = self._tables()
        return View(
            id=ProcessId(process.pid, about.starttime if about else self._start()),
            comm=text_of(name),
            uid=uid,
            cmdline=None if arguments is None else tuple(map(text_of, arguments)),
            cgroup=None if group is None else text_of(group),
            oom_score_adj=self._detail("oom_score_adj", oom_score_adj.parse),
            libraries=self._libraries(),
            fds=fds,
            vmas=vmas,
            own_tables=own_tables,
            anonymous=self._anonymous,
            unidentified=self._unidentified,
            troubles=tuple(self._troubles),
            lacking=tuple(self._lacking),
            page_bytes=page_bytes(process.files.get("status"), process.files.get("statm")),
            shares_fds="fd.shared" in process.files,
            shares_maps="maps.shared" in process.files,
        )

    def _detail(self, name: str, parse: Callable[[bytes], Parsed]) -> Parsed | None:
        """A file that only adds to the picture; it may be still to be read."""
        raw = self._process.files.get(name)
        if raw is None and self._is_later:
            return None
        if isinstance(raw, bytes):
            try:
                return parse(raw)
            except ParseError:
                self._lacking.append(name)
        elif not is_gone(raw):
            self._lacking.append(name)
        return None

    def _start(self) -> int | None:
        """Where details are still to be read, their place may tell it."""
        raw = self._process.files.get("details.later")
        return int(raw) if isinstance(raw, bytes) and len(raw) <= TICKS_BYTES_MAX and raw[:-1].isdigit() else None

    def _name_in_status(self) -> bytes:
        raw = self._process.files.get("status")
        try:
            return status.parse(raw).name if isinstance(raw, bytes) else b""
        except ParseError:
            return b""

    def _maps(self) -> Raw | None:
        """Of a leader that has ended there is none: the threads that live on still have the memory."""
        raw = self._process.files.get("maps")
        if raw == b"":
            raw = next((text for task in self._process.tasks if (text := task.files.get("maps"))), raw)
        return raw

    def _libraries(self) -> tuple[str, ...] | None:
        """Libraries it allocates through; None where the mappings are not there."""
        raw = self._process.files.get("maps.libraries")
        if raw == b"":
            return ()
        raw = raw or self._maps()
        if not isinstance(raw, bytes) or not raw:
            return None
        try:
            return tuple(map(text_of, maps.allocator_libraries(raw)))
        except ParseError:
            return None  # the mappings of buffers in the same text tell of the trouble

    def _vmas(self) -> tuple[Vma, ...]:
        """All mappings of buffers."""
        raw = self._process.files.get("maps.buffers", self._maps())
        if isinstance(raw, bytes):
            try:
                found = maps.dmabufs(raw)
            except ParseError as error:
                self._trouble("mappings of {} could not be read", str(error))
                return ()
            anonymous = sum([vma.path == fdlink.DMABUF_ANON for vma in found])
            self._anonymous += anonymous
            return tuple(vma for vma in found if vma.path != fdlink.DMABUF_ANON) if anonymous else found
        if raw is not None:
            self._failed("mappings of {} could not be read", raw)
        elif self._process.table.error is None:  # else nothing of it could be read, which is told already
            self._trouble("mappings of {} could not be read", NOT_CAPTURED)
        return ()

    def _tables(self) -> tuple[tuple[FdSight, ...], tuple[int, ...]]:
        """All descriptors, and the threads that have a table of their own.

        A thread whose table is like one that was seen already shares that one.
        """
        process = self._process
        self._listing(process.table)
        if not process.tasks:
            return self._only_sights(process.table), ()
        sights = list(self._sights(process.table, None))
        tables = {_fingerprint(process.table)}
        own = []
        for task in process.tasks:
            self._listing(task.table)
            fingerprint = _fingerprint(task.table)
            if fingerprint in tables or not any(fingerprint):
                continue
            tables.add(fingerprint)
            own.append(task.tid)
            sights.extend(self._sights(task.table, task.tid))
        return tuple(sights), tuple(own)

    def _only_sights(self, table: FdTable) -> tuple[FdSight, ...]:
        """Those of a process whose threads have no other table."""
        found: tuple[FdSight, ...] | None = None
        if _quick is not None and not table.fdinfo:
            found = _quick.sights(table.links)
        return tuple(self._sights(table, None)) if found is None else found

    def _listing(self, table: FdTable) -> None:
        if table.error is not None:
            self._failed("descriptors of {} could not be read", table.error)

    def _sights(self, table: FdTable, tid: int | None) -> Iterator[FdSight]:
        if not table.fdinfo:
            yield from filter(None, (self._sight(link.fd, tid, link, None) for link in table.links))
            return
        links = {link.fd: link for link in table.links}
        for fd in sorted(links.keys() | table.fdinfo.keys()):
            sight = self._sight(fd, tid, links.get(fd), table.fdinfo.get(fd))
            if sight is not None:
                yield sight

    def _sight(self, fd: int, tid: int | None, link: FdLink | None, raw: Raw | None) -> FdSight | None:
        kind = fdlink.classify(link) if link is not None else None
        if kind is Kind.DMABUF_ANON:
            self._anonymous += 1
            return None
        if kind not in (Kind.DMABUF, None):
            return None
        stat_of_file = link.stat if link is not None and _is_possible(link.stat) else None
        info, is_read = (None, False) if raw is None else self._info(raw)
        if stat_of_file is None and info is None and (is_read or kind is None or is_gone(raw)):
            return None  # closed by now, or a file that only has a dma-buf's name
        inode = stat_of_file.inode if stat_of_file is not None else info.ino if info is not None else None
        if inode is None:
            self._unidentified += 1
            return None
        name = None if link is None else fdlink.dmabuf_name(link.target)
        return FdSight(inode, FdRef(fd, tid, None if info is None else info.flags), stat_of_file, info, name)

    def _info(self, raw: Raw | None) -> tuple[DmabufFdinfo | None, bool]:
        """A descriptor's fdinfo, and whether it could be read at all."""
        if isinstance(raw, bytes):
            try:
                return fdinfo.parse(raw), True
            except ParseError as error:
                self._trouble("fdinfo of descriptors of {} could not be read", str(error))
        elif isinstance(raw, ReadError):
            self._failed("fdinfo of descriptors of {} could not be read", raw)
        return None, False

    def _failed(self, what: str, error: ReadError) -> None:
        if not is_gone(error):
            self._trouble(what, reason(error), AS_TRACER if is_denied(error) else remedy(error))

    def _trouble(self, what: str, why: str, remedy: str = "") -> None:
        self._troubles[Trouble(what, why, remedy)] = None


def page_bytes(about: Raw | None, sizes: Raw | None) -> int | None:
    """A process's size in bytes (status) by its size in pages (statm), unless it grew between the two readings."""
    if not isinstance(about, bytes) or not isinstance(sizes, bytes):
        return None
    try:
        pages, size_bytes = statm.parse(sizes).size, (status.parse(about).vmsize or 0) * 1024
    except ParseError:
        return None  # only one of many processes that tell it
    return size_bytes // pages if pages and size_bytes / pages in PAGE_SIZES else None


def _fingerprint(table: FdTable) -> tuple[object, ...]:
    """What makes two tables the same: descriptors and what they refer to."""
    links = tuple((link.fd, link.target, link.stat.inode if link.stat else None) for link in table.links)
    return links or tuple(sorted(table.fdinfo))


def _is_possible(stat_of_file: FdStat | None) -> bool:
    """Whether a kernel can have said so: a recording may hold any number."""
    return stat_of_file is not None and 0 <= stat_of_file.inode < 1 << 64 and 0 <= stat_of_file.size_bytes < 1 << 64


def is_unreadable(process: ProcessCapture) -> bool:
    """Whether neither descriptors nor mappings could be read for want of rights."""
    return is_denied(process.table.error) and (is_denied(raw := process.files.get("maps")) or raw is None)

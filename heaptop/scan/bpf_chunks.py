"""Looks at processes by BPF, and in /proc at what BPF does not tell: details, and processes that are odd."""

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from heaptop.capture import FdTable, ProcessCapture, Raw
from heaptop.scan._reader import LATER
from heaptop.scan._records import Records
from heaptop.scan.bpf_here import make
from heaptop.scan.bpf_scan import BpfScan
from heaptop.scan.btf import BtfError
from heaptop.scan.chunks import MAPS, STAND_IN, Chunks, Found, Wanted
from heaptop.scan.holders import Way
from heaptop.scan.patience import TIMEOUT_S, Patience
from heaptop.scan.proc import ProcScan
from heaptop.scan.told import Told

SHARE_OF_ALL: Final = 3
"""Where each pass is over all processes, less than one of so many of them are quicker looked at in /proc."""
WORTH: Final = 64
"""Programs are not made before so many processes were looked at in /proc: that takes as long."""
HOLDS_S: Final = 30
BPF: Final = "BPF"
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_FIRST_TIME_NAMESPACE: Final = 4026531834
"""Its inode (PROC_TIME_INIT_INO, include/linux/proc_ns.h)."""
SAMPLES: Final = 4
_MORE_THAN_THERE_ARE: Final = 1000


class _Depth(IntEnum):
    """How much of a process was read."""

    HURRIED = 0
    PLAIN = 1
    COMPLETE = 2


class _Known(NamedTuple):
    """A process as it was found, which holds good while BPF tells the same of it, until `end`: BPF does not look at
    its arguments, group and libraries.
    """

    signature: int
    depth: _Depth
    capture: ProcessCapture
    end: float

    def holds(self, told: Told, depth: _Depth, now: float) -> bool:
        """Whether a look of that depth is not needed."""
        return self.signature == told.signature and self.depth >= depth and now < self.end


class BpfChunks(Chunks):
    """As `Chunks`; where BPF fails, it goes on without for good. One call at a time."""

    def __init__(
        self,
        scan: ProcScan,
        timeout_s: float = TIMEOUT_S,
        *,
        make: Callable[[], BpfScan] = make,
        worth: int = WORTH,
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        """`make` loads the programs, once `worth` processes were looked at; `options` are as `Chunks` has them."""
        super().__init__(scan, timeout_s, **options)
        self._make = make
        self._bpf: BpfScan | None = None
        self._is_over = False
        self._telling: Patience[tuple[int, ...], Mapping[int, Told]] = Patience(self._tell, timeout_s)
        self._by_signature: dict[int, _Known] = {}
        self._why = ""
        self._told_now: dict[int, tuple[Records, Told]] = {}
        self._is_asked = False
        self._is_start_known = _has_the_first_clock()
        self._is_fdinfo_known: bool | None = None
        self._clock = clock
        self._count = self._count_max = 0
        self._worth = worth

    @property
    def way(self) -> Way:
        """By BPF, once the programs are loaded."""
        return Way(BPF) if self._bpf is not None else super().way._replace(why=self._why)

    def each(self, pids: Sequence[int], *, complete: bool, hurried: bool = False) -> Iterator[Found]:
        """See `Chunks`. What BPF tells as before needs no other look, however close that one was to be."""
        told = self._told(pids)
        if told is None:
            yield from super().each(pids, complete=complete, hurried=hurried)
            return
        depth = _Depth.COMPLETE if complete else _Depth.HURRIED if hurried else _Depth.PLAIN
        stuck = self.stuck
        odd: list[int] = []
        new: list[int] = []
        now = self._clock()
        for pid in pids:
            about = told.get(pid)
            known = self._by_signature.get(pid)
            if pid in stuck:
                continue
            if about is None:
                self._by_signature.pop(pid, None)
                yield Found(pid, None, 0)
            elif about.is_odd:
                odd.append(pid)
            elif known is not None and known.holds(about, depth, now):
                yield Found(pid, known.capture, about.table)
            elif not about.links and not about.maps:
                self._by_signature.pop(pid, None)
                yield Found(pid, None, about.table)
            elif complete:
                odd.append(pid)
            else:
                new.append(pid)
        yield from self._with_details(new, told, depth)
        yield from self._by_proc(odd, told, complete=complete, hurried=hurried)

    def infos(self, wanted: Sequence[Wanted]) -> list[Raw | None]:
        """See `Chunks`. What BPF told in the looks since the last call is fdinfo's own text, as far as this kernel is
        seen to print the same.
        """
        composed = [self._info(*each) for each in wanted] if self._is_fdinfo_known is not False else []
        if self._is_fdinfo_known is None:
            self._compare(wanted, composed)
        self._is_asked = True
        if not self._is_fdinfo_known:
            return super().infos(wanted)
        others = iter(super().infos([each for each, text in zip(wanted, composed, strict=True) if text is None]))
        return [next(others) if text is None else text for text in composed]

    def _info(self, pid: int, tid: int, fd: int, inode: int) -> bytes | None:
        about = self._told_now.get(pid)
        if tid or about is None:
            return None
        records, told = about
        text = records.info(told.first, fd, inode)
        return text + STAND_IN if text is not None and self._options["stand_ins"] else text

    def _compare(self, wanted: Sequence[Wanted], composed: Sequence[bytes | None]) -> None:
        """Learn from a few whether this kernel's fdinfo says what is expected: a count may change meanwhile."""
        few = [(each, text) for each, text in zip(wanted, composed, strict=True) if text is not None][:SAMPLES]
        said = super().infos([each for each, _ in few])
        if any(isinstance(raw, bytes) for raw in said):
            self._is_fdinfo_known = any(raw == text for raw, (_, text) in zip(said, few, strict=True))

    def close(self) -> None:
        """Take the programs away. May be called twice."""
        if self._bpf is not None:
            self._bpf.close()
        self._bpf = None
        self._is_over = True

    def _told(self, pids: Sequence[int]) -> Mapping[int, Told] | None:
        """What BPF tells of them; None where /proc is to be asked."""
        if self._is_over or not pids:
            return None
        self._count_max = max(self._count_max, len(pids))
        if len(self._by_signature) > 2 * self._count_max + _MORE_THAN_THERE_ARE:
            self._by_signature.clear()  # most have ended
        self._count += len(pids)
        is_seldom_worth = self._bpf is not None and not self._bpf.walks
        if self._count < self._worth or (is_seldom_worth and len(pids) * SHARE_OF_ALL < self._count_max):
            return None
        asked = tuple(pids)
        try:
            told, hanging = self._telling.each((asked,))
        except BtfError as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(error.strerror or str(error))
        else:
            if not hanging and self._bpf is not None:
                if self._is_asked:
                    self._told_now, self._is_asked = {}, False
                records = self._bpf.newest
                self._told_now.update((pid, (records, about)) for pid, about in told[asked].items() if about.links)
                return told[asked]
            self._is_over, self._bpf, self._why = True, None, "no answer in time"  # who hangs in it has it still
        return None

    def _tell(self, pids: tuple[int, ...]) -> Mapping[int, Told]:
        if self._bpf is None:
            self._bpf = self._make()
        if not self._bpf.knows(max(pids)):
            raise OSError(errno.ERANGE, "numbers of processes have grown")
        return self._bpf.look(pids)

    def _fail(self, why: str) -> None:
        self.close()
        self._why = why

    def _with_details(self, pids: Sequence[int], told: Mapping[int, Told], depth: _Depth) -> Iterator[Found]:
        """Holders whose descriptors and mappings are told, and whose details are not, but for who it is."""
        is_told = depth is _Depth.HURRIED and self._is_start_known
        details = {} if is_told else self.details(pids, hurried=depth is _Depth.HURRIED)
        for pid in pids:
            about, files = told[pid], dict(details.get(pid, {}))
            if is_told:
                files = {"comm": about.comm + b"\n", LATER: b"%d\n" % (about.start_ns // _TICK_NS)}
            elif ("stat" if depth is _Depth.HURRIED else "comm") not in files:
                yield Found(pid, None, about.table)  # ended meanwhile
                continue
            elif depth is _Depth.HURRIED:
                files[LATER] = b""
            files[MAPS] = about.maps
            capture = ProcessCapture(pid, MappingProxyType(files), FdTable(about.links))
            self._by_signature[pid] = _Known(about.signature, depth, capture, self._clock() + HOLDS_S)
            yield Found(pid, capture, about.table)

    def _by_proc(
        self, pids: Sequence[int], told: Mapping[int, Told], *, complete: bool, hurried: bool
    ) -> Iterator[Found]:
        end = self._clock() + HOLDS_S
        for pid, capture, _ in super().each(pids, complete=complete, hurried=hurried):
            about = told[pid]
            if complete and capture is not None and _agree(capture, about):
                self._by_signature[pid] = _Known(about.signature, _Depth.COMPLETE, capture, end)
            else:
                self._by_signature.pop(pid, None)
            yield Found(pid, capture, about.table)


def _has_the_first_clock() -> bool:
    """Whether /proc shows times as the kernel has them: not so in a time namespace (5.6 on)."""
    try:
        return os.stat("/proc/self/ns/time").st_ino == _FIRST_TIME_NAMESPACE
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _agree(capture: ProcessCapture, told: Told) -> bool:
    """Whether both have seen the process in the very same state: else it changed between the two looks."""
    links = tuple(link for link in capture.table.links if link.stat is not None)
    comm = capture.files.get("comm")
    return (
        not told.is_odd
        and not capture.tasks
        and links == told.links
        and capture.files.get(MAPS) == told.maps
        and isinstance(comm, bytes)
        and comm.removesuffix(b"\n") == told.comm
    )

"""The compiled pass over some processes, in a thread that may hang without its caller."""

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from heaptop.capture import FdLink, FdTable, ProcessCapture, Raw, ReadError
from heaptop.scan import floor
from heaptop.scan._reader import DETAIL_NAMES, LATER, Details, Infos
from heaptop.scan._scan import Look, table_sum
from heaptop.scan.holders import Way
from heaptop.scan.patience import TIMEOUT_S, Patience
from heaptop.scan.proc import DMABUF_LINKS, ProcScan, silent
from heaptop.sources import LIBRARY_WORDS

Name = TypeVar("Name")

MAPS: Final = "maps.buffers"
LIBRARIES: Final = "maps.libraries"
QUERY: Final = "PROCMAP_QUERY"
TEXT: Final = "the text of maps"
"""Ways to look at mappings, as they are shown."""
CHUNK: Final = 256
"""How many processes are looked at in one go."""

STAND_IN: Final = b"size:\t0\ncount:\t1\nexp_name:\tsystem\n"
"""What the fdinfo of a stand-in lacks."""

Sight = tuple[tuple[FdLink, ...], dict[int, bytes | int], dict[str, bytes | int]]
"""What `Look` finds: links, fdinfo by fd, other files by name. An int is an errno."""

Wanted = tuple[int, int, int, int]
"""Whose fdinfo is asked: pid, thread (0 for the process's own table), fd, inode."""


class Found(NamedTuple):
    """What a process holds: `capture` is None for one that holds nothing or has ended; one that hangs is one that
    cannot be read. Processes that share an fd table have the same `table`, which is 0 for an empty one.
    """

    pid: int
    capture: ProcessCapture | None
    table: int


class Chunks:
    """Looks at processes, with what the pass found odd left to the plain twin. One call at a time."""

    def __init__(
        self,
        scan: ProcScan,
        timeout_s: float = TIMEOUT_S,
        *,
        prefixes: tuple[bytes, ...] = DMABUF_LINKS,
        stand_ins: bool = False,
        **ways: bool,
    ) -> None:
        """`scan` is the twin, and says where proc is; `prefixes`, `stand_ins` and `ways` are as `Look` has them."""
        self._scan = scan
        self._prefixes = prefixes
        self._options = {"stand_ins": stand_ins, "maps": "maps" not in scan.off, **ways}
        self._at_work: _Looking | Details | Infos | None = None
        self._patience: Patience[_Looking | Details | Infos, None] = Patience(
            lambda work: work.run(), timeout_s, self._steps
        )
        self._stuck: dict[int, _Looking | Details] = {}
        self._asks = bool(ways.get("asks", True))

    @property
    def way(self) -> Way:
        """How mappings are looked at."""
        return Way(QUERY if self._asks else TEXT)

    @property
    def stuck(self) -> frozenset[int]:
        """Processes in which a look still hangs: they are left alone."""
        self._stuck = {pid: work for pid, work in self._stuck.items() if not _is_over(work)}
        return frozenset(self._stuck)

    def each(self, pids: Sequence[int], *, complete: bool, hurried: bool = False) -> Iterator[Found]:
        """Each process. `complete` and `hurried` are as `Look` has them."""
        stuck = self.stuck
        waiting = [pid for pid in pids if pid not in stuck]
        while waiting:
            chunk, waiting = waiting[:CHUNK], waiting[CHUNK:]
            how = {"complete": complete, "hurried": hurried, **self._options}
            look = Look(self._scan.root, chunk, self._prefixes, libraries=LIBRARY_WORDS, **how)
            looking = _Looking(self._scan, look, chunk)
            if self._is_done(looking):
                self._asks = look.asks
                yield from looking.found
            else:
                hanging = looking.at
                self._stuck[hanging] = looking
                yield Found(hanging, silent(hanging), 0)
                waiting = [*(pid for pid in chunk if pid != hanging), *waiting]

    def details(self, pids: Sequence[int], *, hurried: bool = False) -> dict[int, Mapping[str, Raw]]:
        """The details of processes (`hurried`: those that such a look has), by name, by process. One that hangs is left
        alone: it told nothing in time.
        """
        stuck = self.stuck
        waiting = [pid for pid in pids if pid not in stuck]
        silent_ones: dict[int, Mapping[str, Raw]] = {}
        while not self._is_done(details := Details(self._scan.root, waiting, hurried=hurried)):
            told_nothing = ReadError("read", errno.ETIMEDOUT)
            hanging = waiting[details.index]
            self._stuck[hanging] = details
            silent_ones[hanging] = dict.fromkeys(DETAIL_NAMES, told_nothing)
            waiting = [pid for pid in waiting if pid not in silent_ones]
        found = (_texts(texts.items()) for texts in details.found())
        return dict(zip(waiting, found, strict=True)) | silent_ones

    def close(self) -> None:
        """Let go of what it holds in the kernel: nothing."""

    def infos(self, wanted: Sequence[Wanted]) -> list[Raw | None]:
        """The fdinfo of each; None where the descriptor is not, or no more, of that inode."""
        infos = Infos(self._scan.root, list(wanted))
        if not self._is_done(infos):
            return [ReadError("read", errno.ETIMEDOUT)] * len(wanted)
        texts = [_raw(text) for text in infos.found()]
        if self._options["stand_ins"]:
            return [text + STAND_IN if isinstance(text, bytes) else text for text in texts]
        return texts

    def _is_done(self, work: "_Looking | Details | Infos") -> bool:
        self._at_work = work
        try:
            _, hanging = self._patience.each((work,))
        finally:
            self._at_work = None  # what it has open goes with it
        return not hanging

    def _steps(self) -> int:
        return 0 if self._at_work is None else self._at_work.steps


def _is_over(work: "_Looking | Details") -> bool:
    return work.is_over if isinstance(work, _Looking) else work.index == work.count


class _Looking:
    """The pass, then the twin."""

    def __init__(self, scan: ProcScan, look: Look, pids: Sequence[int]) -> None:
        self._scan = scan
        self._look = look
        self._pids = pids
        self.found: list[Found] = []
        self.is_over = False

    @property
    def steps(self) -> int:
        """Grow while all is well."""
        return self._look.steps + len(self.found)

    @property
    def at(self) -> int:
        """The process that is being looked at."""
        return self._pids[len(self.found) if self._look.is_done else self._look.index]

    def run(self) -> None:
        """Fill `found`."""
        try:
            self._look.run()
            floor.wait()
            for pid, sight, table in zip(self._pids, self._look.found(), self._look.tables(), strict=True):
                if sight is False:
                    capture = self._scan.process(pid)
                    self.found.append(Found(pid, capture, table_sum(capture.table.links) if capture else 0))
                else:
                    self.found.append(Found(pid, _capture(pid, sight), table))
        finally:
            self.is_over = True


def _capture(pid: int, sight: Sight | None) -> ProcessCapture | None:
    if sight is None:
        return None
    links, infos, texts = sight
    files = _texts(texts.items())
    if ("stat" if LATER in files else "comm") not in files:
        return None  # ended meanwhile
    return ProcessCapture(pid, MappingProxyType(files), FdTable(links, MappingProxyType(_texts(infos.items()))))


def _texts(found: Iterable[tuple[Name, bytes | int]]) -> dict[Name, Raw]:
    return {name: raw for name, text in found if (raw := _raw(text)) is not None}


def _raw(text: bytes | int) -> Raw | None:
    if isinstance(text, bytes):
        return text
    return None if text in (errno.ENOENT, errno.ESRCH) else ReadError("read", text)

r"""Android's `dmabuf_dump` (system/memory/libmeminfo, libdmabufinfo/tools; Android 10 to 16), raw and CSV.

by process (no option, or a PID)     `  comm:pid`, a row of titles, then a row a buffer: name, Rss, Pss, nr_procs, Inode
                                     and, from 15 on, Exporter; `PROCESS TOTAL`; at the end `dmabuf total: …`
-a   buffer by process               a column a process, `2(1) refs` (descriptors, mappings; up to 11 `3 refs` together)
-b   by buffer                       inode, bytes, exporter; then totals by exporter, and in all

Sizes are in kB but for -b. `<unknown>` is no name, or no exporter.
"""

from typing import Final

from heaptop.parse.dump import KIB, Dumped, DumpedBuffer, DumpedHolding, DumpedUse, kept
from heaptop.pattern import pattern

_PROCESS: Final = pattern(rb"[ \t]*(.{1,16}?):([0-9]{1,10})[ ]*")
_TITLES: Final = pattern(rb' *"?Name"?[ ,]+"?Rss(?:\(kB\))?"?[ ,]+"?Pss(?:\(kB\))?"?[ ,]+"?nr_procs"?[ ,]+"?Inode"?.*')
_ROW: Final = pattern(rb" *(.*?) +([0-9]+) kB +([0-9]+) kB +([0-9]+) +([0-9]+)(?: +(\S.*?))? *")
_CSV_ROW: Final = pattern(rb'"(.*)",([0-9]+),([0-9]+),([0-9]+),([0-9]+)(?:,"?(.*?)"?)?')
_PROCESS_TOTAL: Final = pattern(rb" *PROCESS TOTAL +([0-9]+) kB +([0-9]+) kB *")
_CSV_SUM: Final = pattern(rb"([0-9]+),([0-9]+)")
_TOTAL: Final = pattern(rb" *dmabuf total: ([0-9]+) kB kernel_rss: ([0-9]+) kB userspace_rss: [0-9]+ kB .*")
_CSV_TOTAL: Final = pattern(rb"([0-9]+),([0-9]+),[0-9]+,[0-9]+")
_TABLE: Final = pattern(rb' *"?Dmabuf Inode"? *[|,] *"?Size(?:\(kB\))?"? *[|,](.*Ref Counts.*)')
_TABLE_COLUMN: Final = pattern(rb'[ "]*(.+?):([0-9]{1,10})[ "]*(?:\||,|$)')
_TABLE_ROW: Final = pattern(rb" *([0-9]+) \| *([0-9]+) kB \|(.*)\| *")
_TABLE_CSV_ROW: Final = pattern(rb"([0-9]+),([0-9]+),(.*)")
_CELL: Final = pattern(rb'[ "]*([0-9]+)(?:\( *([0-9]+)\))? refs[ "]*')
_NO_CELL: Final = pattern(rb'[ "]*(?:--)?[ "]*')
_PER_BUFFER: Final = pattern(rb' *"?Dmabuf Inode"? *[|,] *"?Size\(bytes\)"? *[|,].*')
_BUFFER: Final = pattern(rb' *([0-9]+)(?: \|| *,) *([0-9]+)(?: \|| *,) *"?(.*?)"?[ |]*')
_PER_EXPORTER: Final = pattern(rb' *"?Exporter Name"? *[|,] *"?Total Count"?.*')
_EXPORTER: Final = pattern(rb' *"?(.*?)"?(?: \| *| *,)([0-9]+)(?: ?\| *| *,)([0-9]+)[ |]*')
_ALL: Final = pattern(rb"Total DMA-BUF count: ([0-9]+), Total DMA-BUF size\(bytes\): ([0-9]+)")
_RULE: Final = pattern(rb'-{8,}.*|\s*|\tTOTALS|"Total DMA-BUF count".*|"Total Size\(kB\)".*|"dmabuf total \(kB\)".*')
_KNOWN: Final = pattern(
    rb'PROCESS TOTAL|"Rss total\(kB\)".*|TOTALS .*|Warning: .*|dmabuf info not found.*|Unable to read .*|[0-9,]+'
)


def is_dump(data: bytes) -> bool:
    """Whether this begins like such a dump: one of its three rows of titles is among the first lines."""
    return any(
        _TITLES.fullmatch(line) or _TABLE.fullmatch(line) or _PER_BUFFER.fullmatch(line)
        for line in data[: 64 * KIB].splitlines()[:50]
    )


def parse(data: bytes) -> Dumped:
    """All parts that are there, in any order, as `dmabuf_dump`, `-a` and `-b` may have been run one after the other.

    Total: what is not understood is counted.
    """
    return _Reader().read(data.splitlines())


class _Reader:
    """Reads a dump line by line; `_state` is what rows belong to."""

    def __init__(self) -> None:
        self._buffers: dict[int, DumpedBuffer] = {}
        self._holdings: dict[tuple[int, int], DumpedHolding] = {}
        self._comms: dict[int, bytes] = {}
        self._uses: dict[int, DumpedUse] = {}
        self._kernel_only: int | None = None
        self._procs: dict[int, int] = {}
        self._columns: tuple[int, ...] = ()
        self._ref_columns = 0
        self._pid: int | None = None
        self._rows_kib = 0
        self._listed: int | None = None
        self._unread = 0
        self._trouble = ""
        self._state = ""

    def read(self, lines: list[bytes]) -> Dumped:
        for index, line in enumerate(lines):
            following = lines[index + 1] if index + 1 < len(lines) else b""
            if not self._title(line, following) and not self._row(line) and not _RULE.fullmatch(line):
                self._unread += _KNOWN.fullmatch(line) is None
        return Dumped(
            buffers=tuple(self._buffers.values()),
            holdings=tuple(self._holdings.values()),
            comms=self._comms,
            uses=self._uses,
            kernel_only=self._kernel_only,
            unread=self._unread,
            trouble=self._trouble or self._unlisted(),
        )

    def _title(self, line: bytes, following: bytes) -> bool:
        """What begins a part. A process's line counts only with its row of titles below: else it is a name's tail."""
        if (process := _PROCESS.fullmatch(line)) and _TITLES.fullmatch(following):
            self._pid, self._rows_kib, self._state = int(process[2]), 0, "process"
            self._comms[self._pid] = b"" if process[1] == b"N/A" else process[1]
            return True
        if _TITLES.fullmatch(line):
            return self._state == "process"
        if table := _TABLE.fullmatch(line):
            self._begin_table(table[1])
            return True
        if _PER_BUFFER.fullmatch(line):
            self._state, self._listed = "buffer", 0
            return True
        if _PER_EXPORTER.fullmatch(line):
            self._state = "exporter"
            return True
        return False

    def _row(self, line: bytes) -> bool:
        if total := _TOTAL.fullmatch(line) or (self._state == "sums" and _CSV_TOTAL.fullmatch(line)):
            self._kernel_only, self._state = int(total[2]) * KIB, ""
            return True
        if all_of_them := _ALL.fullmatch(line):
            self._check_listed(int(all_of_them[1]))
            return True
        match self._state:
            case "process" | "sums":
                return self._process_row(line)
            case "table":
                return self._table_row(line)
            case "buffer":
                return self._buffer_row(line)
            case "exporter":
                return _EXPORTER.fullmatch(line) is not None  # sums of the rows by buffer
        return False

    def _process_row(self, line: bytes) -> bool:
        pid = self._pid
        if pid is None:
            return False
        if total := _PROCESS_TOTAL.fullmatch(line) or (self._state == "sums" and _CSV_SUM.fullmatch(line)):
            rss, pss = int(total[1]), int(total[2])
            self._uses[pid] = DumpedUse(rss * KIB, pss * KIB)
            if rss != self._rows_kib:
                self._trouble = f"rows of process {pid} sum up to {self._rows_kib} kB, its total says {rss} kB"
            self._state, self._pid = "sums", None
            return True
        if line == b"PROCESS TOTAL":
            self._state = "sums"
            return True
        if row := _CSV_ROW.fullmatch(line) or _ROW.fullmatch(line):
            name, size_kib, _, procs, inode, exporter = row.groups()
            self._rows_kib += int(size_kib)
            self._buffer(int(inode), int(size_kib) * KIB, kept(exporter or b""), kept(name))
            self._holdings.setdefault((pid, int(inode)), DumpedHolding(int(inode), pid))
            self._procs[int(inode)] = int(procs)
            return True
        return False

    def _begin_table(self, titles: bytes) -> None:
        self._state = "table"
        refs, columns = titles.count(b"Ref Counts"), titles[titles.rindex(b"Ref Counts") + len(b"Ref Counts") :]
        self._ref_columns = refs
        found = [(column[1].strip(), int(column[2])) for column in _TABLE_COLUMN.finditer(columns.lstrip(b'"|, '))]
        self._columns = tuple(pid for _, pid in found)
        self._comms |= {pid: b"" if comm == b"N/A" else comm for comm, pid in found}

    def _table_row(self, line: bytes) -> bool:
        row = _TABLE_ROW.fullmatch(line)
        csv = None if row else _TABLE_CSV_ROW.fullmatch(line)
        if row is None and csv is None:
            return False
        inode, size_kib, rest = (row or csv).groups()  # type: ignore[union-attr]
        cells = rest.split(b"|" if row else b",")[self._ref_columns :]
        counts = [_counts(cell) for cell in cells]
        if len(cells) != len(self._columns) or None in counts:
            return False
        self._buffer(int(inode), int(size_kib) * KIB, None, None)
        for pid, count in zip(self._columns, counts, strict=True):
            if count:
                self._holdings[pid, int(inode)] = DumpedHolding(int(inode), pid, *count)
        return True

    def _buffer_row(self, line: bytes) -> bool:
        row = _BUFFER.fullmatch(line)
        if row is None:
            return False
        self._listed = (self._listed or 0) + 1
        self._buffer(int(row[1]), int(row[2]), kept(row[3].partition(b" |")[0]), None)
        return True

    def _buffer(self, inode: int, size: int, exporter: bytes | None, name: bytes | None) -> None:
        """One more sight of a buffer: -b has exact bytes and the exporter, the list by process the name."""
        before = self._buffers.get(inode, DumpedBuffer(inode))
        exact = size if before.size is None or self._state == "buffer" else before.size
        self._buffers[inode] = before._replace(
            size=exact, exporter=before.exporter or exporter, name=before.name or name
        )

    def _check_listed(self, count: int) -> None:
        if self._listed is not None and count != self._listed:
            self._trouble = f"{self._listed} rows by buffer, but its total says {count}"
        self._state = ""

    def _unlisted(self) -> str:
        """Of a dump of one process, or a cut one: that some holders are not in it."""
        seen: dict[int, int] = {}
        for holding in self._holdings.values():
            seen[holding.inode] = seen.get(holding.inode, 0) + 1
        missing = sum(procs > seen.get(inode, 0) for inode, procs in self._procs.items())
        return f"{missing} of the buffers are held by processes that are not in it" if missing else ""


def _counts(cell: bytes) -> tuple[int | None, int | None] | tuple[()] | None:
    """Descriptors and mappings; of `3 refs` it is not known which are which. Empty: none; None: no such cell."""
    if _NO_CELL.fullmatch(cell):
        return ()
    found = _CELL.fullmatch(cell)
    if found is None:
        return None
    return (None, None) if found[2] is None else (int(found[1]), int(found[2]))

r"""`/sys/kernel/debug/dma_buf/bufinfo` (drivers/dma-buf/dma-buf.c dma_buf_debug_show), every layout from 3.10 to 7.3.

    size    	flags   	mode    	count   	exp_name	ino     	name
    04194304	00000002	02080007	00000002	system	00000018	preview
        write fence:drm_sched asahi_sched seq 5809165 signalled
        Attached Devices:
        soc:display-subsystem
    Total 1 devices attached

    Total 1 objects, 4194304 bytes

3.10 indents rows by two tabs and has the exporter first; 3.14 to 5.2 end rows with it; 5.3 adds the inode and the name
(without a heading up to 5.19, with `<none>` for unnamed buffers from 6.0). Fence lines changed in 5.17 and 7.0.

A name is raw and may hold newlines. It has at most 31 bytes, so it can never imitate a row, whose first four cells
have at least 8 digits each. Within a row's block the end is the kernel's: it is read backwards, and the name is what
is left. Only a fence line is short enough to stand in a name; names known from elsewhere settle that.
"""

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from heaptop.compiled import compiled
from heaptop.parse.text import error_at
from heaptop.pattern import pattern

_quick = compiled("heaptop.parse._quick")

NAME_BYTES_MAX = 31
"""DMA_BUF_NAME_LEN less its NUL (uapi/linux/dma-buf.h)."""

_HEADING = pattern(rb"\nDma-buf Objects:\n(\t*size *\t[^\n]*|\t+exp_name *\tsize *\t[^\n]*)\n")
_ROW = pattern(
    rb"^(?:\t(?:\t([^\t\n]*)\t)?)?(\d{8,20})\t([0-9a-f]{8})\t([0-9a-f]{8})\t(\d{8,20}|-\d{7,19})(?=[\t\n])",
    re.MULTILINE,
)
_CELLS = pattern(rb"\t([^\t\n]*)(?:\t(\d{8,20})(?=[\t\n])\t?)?")
_FENCE = pattern(rb"\t(kernel|write|read|bookkeep|Exclusive|Shared) fence: ?(.*?)(un)?signalled")
_ATTACHED = pattern(rb"\t{0,2}Total (\d{1,6}) devices attached")
_NOTHING_ATTACHED = b"\n\tAttached Devices:\nTotal 0 devices attached\n\n"
_SKIPPED = b"\tERROR locking buffer object: skipping"
_TRAILER = pattern(rb"\nTotal (\d{1,10}) objects, (\d{1,20}) bytes\n")
_UNNAMED = b"<none>"


class Fence(NamedTuple):
    """A fence: `usage` is kernel, write, read, bookkeep (5.17 on), exclusive or shared; `text` names driver, timeline
    and number as the release has them.
    """

    usage: str
    text: bytes
    signalled: bool


class Row(NamedTuple):
    """One buffer: `size` in bytes, `file_count` references to its file.

    `exp_name` is None in the oldest layout, `ino` before 5.3. `name` is None for an unnamed buffer and where there are
    no names (`Bufinfo.has_names`). `attachments` and `fences` are None where the block has not the kernel's end.
    `extra` are cells and lines that no mainline kernel prints.
    """

    size: int
    flags: int
    mode: int
    file_count: int
    exp_name: bytes | None
    ino: int | None
    name: bytes | None
    attachments: tuple[bytes, ...] | None
    fences: tuple[Fence, ...] | None
    extra: tuple[bytes, ...]


class Bufinfo(NamedTuple):
    """The whole file, newest buffer first. `skipped` buffers were busy, and left out by older kernels.

    `total_count` and `total_size` are those of the last line, None where that is missing: the text is cut.
    """

    rows: tuple[Row, ...]
    skipped: int
    has_names: bool
    total_count: int | None
    total_size: int | None

    @property
    def complete(self) -> bool:
        """Whether the last line is there."""
        return self.total_count is not None

    @property
    def consistent(self) -> bool:
        """Whether the last line is there and agrees with the rows."""
        return not self.trouble()

    def trouble(self) -> str:
        """What is wrong with the last line, with both numbers; empty if nothing is."""
        if not self.complete:
            return f"cut after {len(self.rows)} buffers: the line with the totals is missing"
        size = sum(row.size for row in self.rows)
        if (self.total_count, self.total_size) == (len(self.rows), size):
            return ""
        return (
            f"the rows are {len(self.rows)} buffers, {size} bytes, but the last line says "
            f"{self.total_count} objects, {self.total_size} bytes"
        )


class _Columns(NamedTuple):
    has_ino: bool
    has_name_heading: bool
    extra_cells: int


class Names(Protocol):
    """Buffer names by inode, as other sources have them."""

    def get(self, inode: int, /) -> bytes | None:
        """The name of a buffer; None where it has none, or that is not known."""


class _Read(NamedTuple):
    """A row, the name that was known of its buffer, and whether that was of account."""

    row: Row
    known_name: bytes | None
    hinges: bool


class Known:
    """What was read last: the whole, and each row by its own text."""

    def __init__(self) -> None:
        self._data: bytes | None = None
        self._columns: _Columns | None = None
        self._result: Bufinfo | None = None
        self._rows: dict[bytes, _Read] = {}
        self._hinging: list[_Read] = []

    def result(self, data: bytes, names: Names) -> Bufinfo | None:
        """The whole, where this is the very same text and no other name makes a difference."""
        is_same = data is self._data and not any(_is_renamed(each, names) for each in self._hinging)
        return self._result if is_same else None

    def rows(self, columns: _Columns) -> dict[bytes, _Read]:
        """The rows that are found below this heading again."""
        return self._rows if columns == self._columns else {}

    def keep(self, data: bytes, columns: _Columns, rows: dict[bytes, _Read], result: Bufinfo) -> None:
        """This was read."""
        self._data, self._columns, self._rows, self._result = data, columns, rows, result
        self._hinging = [each for each in rows.values() if each.hinges]


def _is_renamed(each: _Read, names: Names) -> bool:
    return each.row.ino is not None and names.get(each.row.ino) != each.known_name


def parse(data: bytes, names: Names = MappingProxyType({}), known: Known | None = None) -> Bufinfo:
    """All buffers; a file that is cut gives those before the cut.

    `names` are buffer names by inode as other sources have them (fdinfo, fd links): with them a name with newlines is
    exact, and a name `<none>` is told from none. A name that does not fit the text (renamed meanwhile) is not used.
    `known` is what was read before, of which no row is read again; it becomes what is read now.

    Raises:
        ParseError: it does not begin as bufinfo does.
    """
    known = known or Known()
    before = known.result(data, names)
    if before is not None:
        return before
    heading = _HEADING.match(data)
    if heading is None:
        raise error_at("bufinfo", "not the heading of bufinfo, or cut", data)
    columns = _columns(heading[1])
    trailer = _TRAILER.fullmatch(data, max(0, data.rfind(b"\nTotal ")))
    starts = row_starts(data, heading.end())
    ends = [*starts[1:], trailer.start() if trailer else _end_of_blocks(data)]
    found = known.rows(columns)
    now: dict[bytes, _Read] = {}
    rows = []
    for start, end in zip(starts, ends, strict=False):
        text = data[start:end]
        each = found.get(text)
        if each is None or (each.hinges and _is_renamed(each, names)):
            begin = _ROW.match(data, start)
            assert begin is not None  # it is a row's
            each = _row(begin, text[begin.end() - start :], columns, names)
        now[text] = each
        rows.append(each.row)
    if rows and rows[-1].attachments is None:  # cut within the last block; what looks like a trailer is in its name
        rows.pop()
        trailer = None
    result = Bufinfo(
        rows=tuple(rows),
        skipped=data.count(_SKIPPED + b"\n"),
        has_names=columns.has_ino,
        total_count=int(trailer[1]) if trailer else None,
        total_size=int(trailer[2]) if trailer else None,
    )
    known.keep(data, columns, now, result)
    return result


def row_starts(data: bytes, offset: int) -> list[int]:
    """Where rows begin, from the line at `offset` on."""
    if _quick is not None:
        found: list[int] = _quick.bufinfo_rows(data, offset)
        return found
    return [match.start() for match in _ROW.finditer(data, offset)]


def _end_of_blocks(data: bytes) -> int:
    """Where the last whole block of a cut text ends."""
    last_line = b" devices attached\n"
    return data.rfind(last_line) + len(last_line)


def _columns(heading: bytes) -> _Columns:
    cells = [cell.strip() for cell in heading.split(b"\t")]
    named = b"name" in cells
    return _Columns(b"ino" in cells, named, len(cells) - cells.index(b"name") - 1 if named else 0)


def _row(start: re.Match[bytes], block: bytes, columns: _Columns, names: Names) -> _Read:
    first_cell, size, flags, mode, count = start.groups()
    cells = _CELLS.match(block)
    exp_name = first_cell if cells is None else cells[1]
    ino = int(cells[2]) if cells is not None and cells[2] is not None else None
    text, attachments, extra = _split_end(block[cells.end() if cells else 0 :])
    name, fence_lines = _split_name(text, columns, ino, names)
    fences = tuple(_fence(match) for match in map(_FENCE.fullmatch, fence_lines) if match)
    opaque = tuple(line for line in fence_lines if line and not _FENCE.fullmatch(line))
    # All of one line is the name, whoever knows another: but for what stands for none, and in a vendor's cells.
    hinges = ino is not None and (b"\n" in text or columns.extra_cells > 0 or text in (b"", _UNNAMED))
    row = Row(
        size=int(size),
        flags=int(flags, 16),
        mode=int(mode, 16),
        file_count=int(count),
        exp_name=exp_name,
        ino=ino,
        name=name,
        attachments=attachments,
        fences=None if attachments is None else fences,
        extra=opaque + extra,
    )
    return _Read(row, names.get(ino) if hinges and ino is not None else None, hinges)


def _split_end(text: bytes) -> tuple[bytes, tuple[bytes, ...] | None, tuple[bytes, ...]]:
    """What precedes the attachments; the attachments, None if the end is not the kernel's; lines after them."""
    if text.endswith(_NOTHING_ATTACHED):
        return text.removesuffix(_NOTHING_ATTACHED), (), ()
    lines = text.split(b"\n")
    last = next((at for at in range(len(lines) - 2, 0, -1) if _ATTACHED.fullmatch(lines[at])), 0)
    total = _ATTACHED.fullmatch(lines[last])
    if total is None:
        return _without_end(lines)
    end = last - 1 if lines[last - 1] == b"" else last  # 3.10 to 3.14 print an empty line before
    begin = end - int(total[1])
    if begin < 1 or lines[begin - 1].lstrip(b"\t") != b"Attached Devices:":
        return _without_end(lines)
    extra = tuple(line for line in lines[last + 1 :] if line not in (b"", _SKIPPED))
    return b"\n".join(lines[: begin - 1]), tuple(line.lstrip(b"\t") for line in lines[begin:end]), extra


def _without_end(lines: list[bytes]) -> tuple[bytes, None, tuple[bytes, ...]]:
    return lines[0], None, tuple(line for line in lines[1:] if line not in (b"", _SKIPPED))


def _split_name(text: bytes, columns: _Columns, ino: int | None, names: Names) -> tuple[bytes | None, Sequence[bytes]]:
    """The name, and what else stands before the attachments: fence lines and what is not known."""
    if ino is None:
        return None, text.split(b"\n")
    known = names.get(ino)
    if known is not None and text == known:
        return known, ()
    if known is not None and text.startswith(known + b"\n"):
        return known, text[len(known) + 1 :].split(b"\n")
    lines = text.split(b"\n")
    end = len(lines)
    while end > 1 and _FENCE.fullmatch(lines[end - 1]):
        end -= 1
    if columns.extra_cells or len(b"\n".join(lines[:end])) > NAME_BYTES_MAX:
        end = 1  # a vendor's cells or lines
    cells = b"\n".join(lines[:end]).rsplit(b"\t", columns.extra_cells)
    unnamed = cells[0] == (_UNNAMED if columns.has_name_heading else b"")
    return None if unnamed else cells[0], cells[1:] + lines[end:]


def _fence(match: re.Match[bytes]) -> Fence:
    return Fence(match[1].decode("ascii").lower(), match[2].strip(b" "), match[3] is None)

"""Texts that other tools made, found by what is in them: an Android bug report, dmabuf_dump's output, vendors' files.

A text goes to the path that the kernel or the tool has it at, so that the parsers need not know where it came from.
Nothing is extracted; every size is bounded, for a bug report comes from anywhere.
"""

import errno
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Final

from heaptop.capture import Raw, ReadError
from heaptop.pattern import pattern

if TYPE_CHECKING:
    import zipfile

DMABUF_DUMP: Final = "dump/dmabuf_dump"
DMESG: Final = "dmesg.cma-dma"
BUFINFO: Final = "sys/kernel/debug/dma_buf/bufinfo"
ION: Final = "sys/kernel/debug/ion/heaps/"
MEDIATEK: Final = "proc/dma_heap/all_heaps"
ROCKCHIP: Final = "proc/rk_dma_heap/dma_heap_info"
VERSION: Final = "proc/version"

SECTION_BYTES_MAX: Final = 64 << 20
TEXT_BYTES_MAX: Final = 1 << 30
LINE_BYTES_MAX: Final = 64 << 10
ZIP_MEMBERS_MAX: Final = 100_000

_SECTION: Final = pattern(rb"------ (.{1,200}?) \((.{1,400})\) ------")
_SECTION_END: Final = pattern(rb"------ [0-9.]+s was the duration of .*|\[.{1,200}: [0-9.]+s elapsed\]|\*\*\* .*")
_SUBFILE: Final = pattern(rb"--- (/[!-~]{1,200})|=+ ?(/[!-~]{1,200}) ?=+")
_TOOL: Final = pattern(rb"(?:\S*/)?dmabuf_dump(?: .*)?")
_FILE: Final = pattern(rb"(?:cat )?/([!-~]{1,200}?)(?::? .*)?")
_KERNEL: Final = pattern(rb"Kernel: (Linux version .*)")
_WANTED: Final = pattern(
    r"sys/kernel/debug/(?:dma_buf/bufinfo|ion/heaps/[^/]+|cma/.+|rk_dma_heap/dma_heap_info)|sys/kernel/mm/cma/.+"
    r"|proc/(?:meminfo|vmstat|pagetypeinfo|dma_heap/.+|rk_dma_heap/dma_heap_info|version)"
    r"|sys/kernel/dma_heap/total_pools_kb|sys/kernel/dmabuf/buffers/.+"
)
_MARKS: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = (
    (pattern(rb"Dmabuf Inode|nr_procs.{1,20}Inode"), DMABUF_DUMP),
    (pattern(rb"^Dma-buf Objects:$", re.MULTILINE), BUFINFO),
    (pattern(rb"^ *client.{1,24}pid +size", re.MULTILINE), ION),
    (pattern(rb"buffer total size: *[0-9]+ KB|size\(Byte\):|^pid:[0-9]+\(.*\) -+>", re.MULTILINE), MEDIATEK),
    (pattern(rb"^dma-heap:<", re.MULTILINE), ROCKCHIP),
    (pattern(rb"\bcma: (?:_*cma_alloc|number of available|Reserved)|created CMA memory pool"), DMESG),
)
"""What tells a plain text, and where it belongs. One text may hold several."""


def is_zip(magic: bytes) -> bool:
    """Whether a file that begins so is a zip."""
    return magic.startswith((b"PK\3\4", b"PK\5\6"))


def of_text(file: IO[bytes], name: str) -> dict[str, Raw]:
    """What is found in a text; `name` is its file's, and an ION heap's for want of a better one. Empty: nothing."""
    return _Collector(name).collect(file).found


def of_zip(file: IO[bytes]) -> dict[str, Raw]:
    """What is found in a bug report's zip: in its texts, and in the kernel's files that it has below FS/."""
    import zipfile  # noqa: PLC0415  (few recordings are one, and it takes long to load)

    collector = _Collector("bugreport")
    try:
        with zipfile.ZipFile(file) as bundle:
            for info in _chosen(bundle):
                if collector.is_full:
                    break
                with bundle.open(info) as member:
                    inner = info.filename.partition("FS/")[2]
                    if inner:
                        collector.keep_file(inner, member)
                    else:
                        collector.collect(member)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, NotImplementedError):
        collector.found["recording"] = ReadError("zip", errno.EIO)
    return collector.found


def _chosen(bundle: "zipfile.ZipFile") -> "Iterator[zipfile.ZipInfo]":
    """The texts at the top, and the kernel's files. What is encrypted, or of no such name, is left alone."""
    for info in bundle.infolist()[:ZIP_MEMBERS_MAX]:
        folder, _, name = info.filename.rpartition("/")
        is_text = folder.count("/") == 0 and not folder.startswith("FS") and name.endswith(".txt")
        if not info.flag_bits & 1 and (is_text or _WANTED.fullmatch(info.filename.partition("FS/")[2])):
            yield info


class _Collector:
    """Goes through texts line by line and keeps what is wanted, up to the bounds."""

    def __init__(self, name: str) -> None:
        self.found: dict[str, Raw] = {}
        self._name = re.sub(r"[^!-.0-~]|\.(?:txt|log)$", "", name) or "heap"
        self._left_bytes = TEXT_BYTES_MAX
        self._path: str | None = None
        self._parts: dict[str, list[bytes]] = {}
        self._sizes: dict[str, int] = {}

    @property
    def is_full(self) -> bool:
        """Whether the bound is reached."""
        return self._left_bytes <= 0

    def collect(self, file: IO[bytes]) -> "_Collector":
        """Take a bug report's sections, or else the text as a whole."""
        head: list[bytes] = []
        head_bytes = 0
        has_sections = False
        self._path = None
        for line in self._lines(file):
            title = _SECTION.fullmatch(line.rstrip(b"\r\n"))
            if title is not None:
                has_sections = True
                self._path = _path_of(title[1], title[2])
            elif has_sections:
                self._line(line)
            elif (head_bytes := head_bytes + len(line)) <= SECTION_BYTES_MAX:
                head.append(line)
            else:
                self.found["recording"] = ReadError("read", errno.EFBIG)
                break
        if has_sections:
            self._kernel(head)
        else:
            self._whole(b"".join(head))
        self._finish()
        return self

    def keep_file(self, path: str, file: IO[bytes]) -> None:
        """Take a file of the kernel's as it is."""
        if _WANTED.fullmatch(path):
            for line in self._lines(file):
                self._keep(path, line)
            self._finish()

    def _lines(self, file: IO[bytes]) -> Iterator[bytes]:
        while line := file.readline(LINE_BYTES_MAX):
            self._left_bytes -= len(line)
            if self._left_bytes < 0:
                self.found["recording"] = ReadError("read", errno.EFBIG)
                return
            yield line

    def _line(self, line: bytes) -> None:
        text = line.rstrip(b"\r\n")
        if _SECTION_END.fullmatch(text):
            return
        inner = _SUBFILE.fullmatch(text)
        if inner is not None:
            self._path = _wanted(inner[1] or inner[2])
        elif self._path is not None:
            # A line longer than LINE_BYTES_MAX (a large area's bitmap) comes in pieces, of which the last has its end.
            self._keep(self._path, text + b"\n" if line.endswith(b"\n") else line)

    def _keep(self, path: str, line: bytes) -> None:
        size = self._sizes[path] = self._sizes.get(path, 0) + len(line)
        if size <= SECTION_BYTES_MAX:
            self._parts.setdefault(path, []).append(line)
        else:
            self.found["recording"] = ReadError("read", errno.EFBIG)

    def _kernel(self, head: list[bytes]) -> None:
        for line in head[:200]:
            if found := _KERNEL.fullmatch(line.strip()):
                self._parts[VERSION] = [found[1] + b"\n"]

    def _whole(self, text: bytes) -> None:
        for mark, path in _MARKS:
            if mark.search(text):
                self._parts.setdefault(path + self._name if path == ION else path, []).append(_unix(text))

    def _finish(self) -> None:
        for path, parts in self._parts.items():
            self.found.setdefault(path, b"".join(parts))
        self._parts = {}


def _unix(text: bytes) -> bytes:
    """With the kernel's ends of lines: adb's shell made others up to Android 6, and so do mails."""
    text = text.replace(b"\r\n", b"\n")
    return text if text.endswith(b"\n") else text + b"\n"


def _path_of(title: bytes, what: bytes) -> str | None:
    """Where a section belongs; None for one that tells nothing of buffers."""
    if _TOOL.fullmatch(what):
        return DMABUF_DUMP
    if title.startswith((b"KERNEL LOG", b"LAST KMSG")) or what == b"dmesg":
        return DMESG
    found = _FILE.fullmatch(what)
    return None if found is None else _wanted(b"/" + found[1].rstrip(b":"))


def _wanted(path: bytes) -> str | None:
    """The path without its slash, `/d` for debugfs resolved; None where it is not wanted."""
    name = path.decode("ascii", "replace").removeprefix("/")
    name = "sys/kernel/debug/" + name[2:] if name.startswith("d/") else name
    return name if _WANTED.fullmatch(name) and ".." not in name.split("/") else None


def is_found(members: Mapping[str, Raw]) -> bool:
    """Whether anything but damage was found."""
    return any(isinstance(raw, bytes) for raw in members.values())

"""A capture with stand-ins for the names of processes, buffers and files: the same wherever a name occurs. Pure.

A stand-in is made with a key, so that nobody without it can try names out. What is known to hold no names stays as it
is, what is known to hold them is rewritten, and everything else is left out.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from heaptop.capture import Capture, FdLink, FdTable, ProcessCapture, Raw, TaskCapture
from heaptop.errors import ParseError
from heaptop.parse import bufinfo
from heaptop.pattern import pattern

HEX_DIGITS: Final = 8
COMM_BYTES: Final = 15
"""TASK_COMM_LEN is 16 with its NUL (linux/sched.h)."""

_PLAIN: Final = pattern(
    r"proc/(?:meminfo|vmstat|pagetypeinfo|buddyinfo|sys/kernel/osrelease|sys/kernel/random/boot_id)|dev\.ls|bpf/dmabuf_pages"
    r"|proc|dev/dma_heap/[^/]+|recording"
    r"|sys/(?:kernel/mm/cma|kernel/debug/cma|kernel/dmabuf/buffers|class/dma_heap|devices/virtual/dma_heap)(?:/.*)?"
    r"|sys/kernel/debug(?:/extfrag/[a-z_]+)?|sys/kernel/dma_heap/total_pools_kb",
    re.DOTALL,
)
"""System-wide texts without names of processes, buffers or users' files."""
_PLAIN_LINKS: Final = pattern(r"sys/class/dma_heap/.*|sys/devices/virtual/dma_heap/.*|proc/self/ns/pid", re.DOTALL)
_PLAIN_FILES: Final = frozenset({"statm", "oom_score_adj", "fd.shared", "maps.shared"})
_KERNEL_MOUNTS: Final = pattern(
    rb"^(?:proc|sysfs|debugfs|tracefs|devtmpfs|bpf|none) /(?:proc|dev|sys[a-z/_-]*) [^\n]*\n", re.MULTILINE
)
_CMA_LINE: Final = pattern(rb"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? cma: [^\n]*\n", re.MULTILINE)
_BUILDER: Final = pattern(rb"\([^()\n]*@[^()\n]*\)")
_STAT: Final = pattern(rb"(\d+ \().*(\) [^)]*)", re.DOTALL)
_NAME_LINE: Final = pattern(rb"^Name:\t[^\n]*")
_BUFFER_NAME: Final = pattern(rb"(^|\n)name:\t(.*?)(\n?)\Z", re.DOTALL)
_UNDER_URING: Final = pattern(rb"^( *\d+: )(\S[^\n]*)$", re.MULTILINE)
_MAPPED: Final = pattern(rb"^([0-9a-f]+-[0-9a-f]+ \S+ [0-9a-f]+ \S+ \d+ +)(\S[^\n]*)$", re.MULTILINE)
_IN_MAPS: Final = pattern(rb"\\([0-3][0-7]{2})")
_GROUP: Final = pattern(rb"[^/:\n,]+")
_KERNEL_PATH: Final = pattern(
    rb"(?:socket|pipe|mnt|net|pid|ipc|uts|user|cgroup|time):\[\d+\]|anon_inode:.*|\[(?:heap|stack|vdso|vvar|vsyscall|vvar_vclock"
    rb"|uprobes)\]|/dev/[a-z0-9_]+(?:/[a-z0-9_,.:-]+)*|/SYSV[0-9a-f]{8} \(deleted\)",
    re.DOTALL,
)
_LIBRARY: Final = pattern(
    rb".*(/(?:libdmabufheap|libion|(?:lib)?gralloc|android\.hardware\.graphics\.[a-z]+|libgbm|libdrm)[^/]*\.so[^/]*)",
    re.DOTALL,
)
_ROW: Final = pattern(
    rb"^\d{8,20}\t[0-9a-f]{8}\t[0-9a-f]{8}\t(?:\d{8,20}|-\d{7,19})\t[^\t\n]*\t(\d{8,20})\t", re.MULTILINE
)
_DMABUF: Final = b"/dmabuf:"
_MEMFD: Final = b"/memfd:"


class Anonymiser:
    """Replaces names by stand-ins. A process that is the very same object as before gives the very same one again."""

    def __init__(self, key: bytes) -> None:
        """`key` decides the stand-ins: with the same one, captures can be compared."""
        self._key = key
        self._known: dict[tuple[str, bytes], bytes] = {}
        self._processes: dict[int, tuple[ProcessCapture, ProcessCapture]] = {}
        self.left_out: set[str] = set()
        """Paths that were not known, and so are not in the captures."""

    def capture(self, capture: Capture) -> Capture:
        """The capture with stand-ins."""
        before, self._processes = self._processes, {}
        for process in capture.processes:
            known = before.get(process.pid)
            same = known is not None and known[0] is process
            self._processes[process.pid] = known if known and same else (process, self._process(process))
        infos = {inode: info._replace(raw=_text(info.raw, self.fdinfo)) for inode, info in capture.infos.items()}
        return capture._replace(
            source=_source(capture.source),
            files=self._files(capture.files, self._system_rule),
            links=MappingProxyType({path: to for path, to in capture.links.items() if _PLAIN_LINKS.fullmatch(path)}),
            processes=tuple(made for _, made in self._processes.values()),
            infos=MappingProxyType(infos),
            older=MappingProxyType({path: one for path, one in capture.older.items() if self._system_rule(path)}),
        )

    # ---- stand-ins ----

    def _stand_in(self, kind: str, name: bytes) -> bytes:
        known = self._known.get((kind, name))
        if known is None:
            digest = hmac.new(self._key, kind.encode() + b"\0" + name, hashlib.sha256).hexdigest()
            known = self._known[kind, name] = f"{kind}-{digest[:HEX_DIGITS]}".encode()
        return known

    def comm(self, name: bytes) -> bytes:
        """A process's or thread's name."""
        return self._stand_in("proc", name[:COMM_BYTES]) if name else b""

    def buffer(self, name: bytes) -> bytes:
        """A buffer's name; one without stays so."""
        return self._stand_in("buffer", name) if name else b""

    def path(self, path: bytes) -> bytes:
        """A file's: what the kernel made up stays, of a library that allocates buffers its own name."""
        deleted = b" (deleted)" if path.endswith(b" (deleted)") else b""
        whole = path.removesuffix(b" (deleted)")
        if whole.startswith(_DMABUF):
            return _DMABUF + self.buffer(whole.removeprefix(_DMABUF)) + deleted
        if whole.startswith(_MEMFD):
            return _MEMFD + self._stand_in("file", whole.removeprefix(_MEMFD)) + deleted
        if _KERNEL_PATH.fullmatch(path):
            return path
        library = _LIBRARY.fullmatch(whole)
        return (library[1] if library else b"/" + self._stand_in("file", whole)) + deleted

    # ---- texts ----

    def stat(self, text: bytes) -> bytes:
        """/proc/PID/stat."""
        match = _STAT.fullmatch(text)
        return b"" if match is None else match[1] + self.comm(text[len(match[1]) : -len(match[2])]) + match[2]

    def status(self, text: bytes) -> bytes:
        """/proc/PID/status."""
        return _NAME_LINE.sub(lambda match: b"Name:\t" + self.comm(match[0].removeprefix(b"Name:\t")), text)

    def cmdline(self, text: bytes) -> bytes:
        """/proc/PID/cmdline: the program by the stand-in that its comm would have, and no arguments."""
        program = text.split(b"\0")[0].rpartition(b"/")[2]
        return self.comm(program) + b"\0" if program else b""

    def cgroup(self, text: bytes) -> bytes:
        """/proc/PID/cgroup: each part of each path."""
        lines = (line.rpartition(b":") for line in text.removesuffix(b"\n").split(b"\n") if line)
        return b"".join(
            before + colon + _GROUP.sub(lambda match: self._stand_in("group", match[0]), path) + b"\n"
            for before, colon, path in lines
        )

    def maps(self, text: bytes) -> bytes:
        """/proc/PID/maps."""

        def line(match: re.Match[bytes]) -> bytes:
            return match[1] + self.path(_IN_MAPS.sub(lambda octal: bytes((int(octal[1], 8),)), match[2]))

        return _MAPPED.sub(line, text)

    def fdinfo(self, text: bytes) -> bytes:
        """/proc/PID/fdinfo/FD: a buffer's name, and the files of an io_uring. A name is the last thing in it."""
        text = _BUFFER_NAME.sub(lambda match: match[1] + b"name:\t" + self.buffer(match[2]) + match[3], text)
        return _UNDER_URING.sub(lambda match: match[1] + self.path(match[2]), text)

    def bufinfo(self, text: bytes) -> bytes:
        """Debugfs bufinfo; nothing of it where a name could not be told from the rest."""
        try:
            names = {row.ino: row.name for row in bufinfo.parse(text).rows if row.name}
        except ParseError:
            return b""
        parts, done = [], 0
        for match in _ROW.finditer(text):
            name = names.get(int(match[1]))
            if name and text.startswith(name, match.end()):
                parts += [text[done : match.end()], self.buffer(name)]
                done = match.end() + len(name)
        made = b"".join([*parts, text[done:]])
        real = {self.buffer(name) for name in names.values() if name}
        return made if {row.name for row in bufinfo.parse(made).rows if row.name} <= real else b""

    def iterator(self, text: bytes) -> bytes:
        """Heaptop's own list of buffers, by BPF: the name is the fifth column."""
        rows = [line.split(b"\t") for line in text.split(b"\n")]
        return b"\n".join(
            b"\t".join([*row[:4], *(self.buffer(name) for name in row[4:5])]) if index else b"\t".join(row)
            for index, row in enumerate(rows)
        )

    # ---- parts of a capture ----

    def _system_rule(self, path: str) -> Callable[[bytes], bytes] | None:
        match path:
            case "sys/kernel/debug/dma_buf/bufinfo":
                return self.bufinfo
            case "bpf/dmabuf_iter":
                return self.iterator
            case "proc/self/status":
                return self.status
            case "proc/mounts":
                return lambda text: b"".join(_KERNEL_MOUNTS.findall(text))
            case "dmesg.cma-dma":
                return lambda text: b"".join(_CMA_LINE.findall(text))
            case "proc/version":
                return lambda text: _BUILDER.sub(b"()", text)
        return _same if _PLAIN.fullmatch(path) else None

    def _process_rule(self, name: str) -> Callable[[bytes], bytes] | None:
        match name:
            case "comm":
                return lambda text: self.comm(text.removesuffix(b"\n")) + b"\n"
            case "stat":
                return self.stat
            case "status":
                return self.status
            case "cmdline":
                return self.cmdline
            case "cgroup":
                return self.cgroup
            case "maps" | "maps.buffers" | "maps.libraries":
                return self.maps
        return _same if name in _PLAIN_FILES else None

    def _files(
        self, files: Mapping[str, Raw], rule: Callable[[str], Callable[[bytes], bytes] | None]
    ) -> Mapping[str, Raw]:
        made: dict[str, Raw] = {}
        for path, raw in files.items():
            rewrite = rule(path)
            if rewrite is None:
                self.left_out.add(path)
            else:
                made[path] = _text(raw, rewrite)
        return MappingProxyType(made)

    def _process(self, process: ProcessCapture) -> ProcessCapture:
        return ProcessCapture(
            process.pid,
            self._files(process.files, self._process_rule),
            self._table(process.table),
            tuple(self._tasks(process.tasks)),
        )

    def _tasks(self, tasks: Iterable[TaskCapture]) -> Iterable[TaskCapture]:
        for task in tasks:
            yield task._replace(files=self._files(task.files, self._process_rule), table=self._table(task.table))

    def _table(self, table: FdTable) -> FdTable:
        links = tuple(FdLink(link.fd, self.path(link.target), link.stat, link.link_mode) for link in table.links)
        fdinfo = {fd: _text(raw, self.fdinfo) for fd, raw in table.fdinfo.items()}
        return FdTable(links, MappingProxyType(fdinfo), table.error)


def _source(name: str) -> str:
    """Without the path of a recording, or a device's name."""
    kind = name.partition(":")[0]
    return kind if kind in ("replay", "adb", "ssh") else name


def _same(text: bytes) -> bytes:
    return text


def _text(raw: Raw, rewrite: Callable[[bytes], bytes]) -> Raw:
    return rewrite(raw) if isinstance(raw, bytes) else raw

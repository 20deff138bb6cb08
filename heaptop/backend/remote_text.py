"""What a device's shell said (look.sh), as the members of a recording. Pure, and total: a device is not trusted."""

import errno
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from heaptop.capture import Raw, ReadError
from heaptop.pattern import pattern

_LINE: Final = pattern(
    rb"((?:proc/[0-9]{1,10}/(?:fdinfo/[0-9]{1,10}|maps|comm|stat|status|statm|cgroup|oom_score_adj)"
    rb"|proc/(?:version|meminfo|vmstat|self/status|sys/kernel/(?:osrelease|random/boot_id))"
    rb"|sys/kernel/dma_heap/total_pools_kb|sys/kernel/debug/dma_buf/bufinfo|sys/class/dma_heap/[^/\n]+/dev"
    rb"|sys/kernel/mm/cma/[^/\n]+/[a-z_]+|sys/kernel/dmabuf/buffers/[0-9]{1,20}/(?:size|exporter_name)"
    rb"|sys/kernel/debug/cma/[^/\n]+/(?:ranges/[0-9]+/)?[a-z_]+)):(.*)"
)
_STAT: Final = pattern(
    rb"stat (proc/[0-9]{1,10})/fd/([0-9]{1,10}) ([0-9]+) ([0-9]+) ([0-9]+) ([0-9]+) ([0-9a-f]+) [0-9a-f]+ [0-9a-f]+ "
    rb"([0-9]+)"
)
_DENIED: Final = pattern(rb"denied ((?:proc/[0-9]{1,10}/fd|sys/kernel/debug(?:/dma_buf/bufinfo)?))")
_CMDLINE: Final = pattern(rb"cmdline (proc/[0-9]{1,10})")
_LACKS: Final = pattern(rb"lacks ([a-z]{1,16})")
_SEEN: Final = pattern(rb"seen ([0-9]{1,9})")


class Told(NamedTuple):
    """Members by their path in a recording, how many processes there are, how many lines make no sense, and the tools
    that the device lacks.
    """

    members: Mapping[str, Raw]
    processes_seen: int | None
    unread: int
    lacking: tuple[str, ...] = ()


def told(lines: Iterable[bytes], mark: bytes) -> Told:
    """Read one look's lines (without their ends). `mark` begins those that are no file's."""
    return _Reader(mark + b" ").read(lines)


class _Reader:
    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._texts: dict[str, list[bytes]] = {}
        self._errors: dict[str, Raw] = {}
        self._stats: dict[str, list[dict[str, Any]]] = {}
        self._cmdline: tuple[str, list[bytes]] | None = None
        self._seen: int | None = None
        self._unread = 0
        self._lacking: list[str] = []

    def read(self, lines: Iterable[bytes]) -> Told:
        for line in lines:
            if self._cmdline is not None:
                self._argument(line)
            elif line.startswith(self._mark):
                self._unread += not self._own(line.removeprefix(self._mark))
            elif found := _LINE.fullmatch(line):
                self._texts.setdefault(found[1].decode("utf-8", "surrogateescape"), []).append(found[2])
            else:
                self._unread += bool(line)
        members: dict[str, Raw] = {path: b"\n".join([*parts, b""]) for path, parts in self._texts.items()}
        members |= {f"{process}/fd.json": json.dumps(rows).encode() for process, rows in self._stats.items()}
        # A process of which no mapping was told has none of a buffer: the shell looked into all that it may.
        for path in [path for path in members if path.endswith("/comm")]:
            members.setdefault(path.removesuffix("comm") + "maps", b"")
        return Told(members | self._errors, self._seen, self._unread, tuple(self._lacking))

    def _own(self, text: bytes) -> bool:
        """A line of the script's own."""
        if found := _STAT.fullmatch(text):
            process, fd, inode, size, nlink, blocks, mode, device = found.groups()
            major, minor = int(device) >> 8 & 0xFFF, (int(device) & 0xFF) | (int(device) >> 12 & 0xFFF00)
            row = {
                "fd": int(fd),
                "target": "/dmabuf:",
                "stat_rc": 0,
                "st_dev": f"{major}:{minor}",
                "st_ino": int(inode),
            }
            row |= {
                "st_size": int(size),
                "st_nlink": int(nlink),
                "st_blocks": int(blocks),
                "st_mode": oct(int(mode, 16)),
            }
            self._stats.setdefault(process.decode(), []).append(row)
        elif found := _DENIED.fullmatch(text):
            path = found[1].decode()
            self._errors[path] = ReadError("open", errno.EACCES)
            if path.startswith("proc/"):
                self._errors[path.removesuffix("fd") + "maps"] = ReadError("open", errno.EACCES)
        elif found := _CMDLINE.fullmatch(text):
            self._cmdline = f"{found[1].decode()}/cmdline", []
        elif found := _LACKS.fullmatch(text):
            self._lacking.append(found[1].decode())
        elif found := _SEEN.fullmatch(text):
            self._seen = int(found[1])
        elif text.startswith(b"dev "):
            self._texts.setdefault("dev.ls", [b"/dev/dma_heap:"]).append(text.removeprefix(b"dev "))
        else:
            return False
        return True

    def _argument(self, line: bytes) -> None:
        """A line of a command line, whose NULs have become ends of lines; the last one is the script's."""
        assert self._cmdline is not None
        path, lines = self._cmdline
        if line != self._mark + b"end":
            lines.append(line)
            return
        text = b"\0".join(lines).rstrip(b"\0")
        self._texts[path] = [text + b"\0"] if text else [b""]
        self._errors[path] = self._texts.pop(path)[0]
        self._cmdline = None

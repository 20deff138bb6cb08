"""`/sys/kernel/dmabuf/buffers`, which has a folder for each buffer."""

from collections.abc import Iterable, Mapping
from typing import Final

from heaptop.assemble.gaps import Gaps, is_gone
from heaptop.assemble.memo import keep_equal
from heaptop.assemble.parts import SysfsEntry
from heaptop.capture import Capture, Raw
from heaptop.changes import changed_keys
from heaptop.errors import ParseError
from heaptop.parse import dmabuf_sysfs

BUFFERS: Final = "sys/kernel/dmabuf/buffers"

Entries = Mapping[int, SysfsEntry]
"""What is told of each buffer, by inode."""


class EntryReader:
    """Reads captures one after the other; of a buffer whose files are the very same objects nothing is read again."""

    def __init__(self) -> None:
        self._files: Mapping[str, Raw] = {}
        self._links: Mapping[str, bytes] = {}
        self._paths: dict[int, set[str]] = {}
        self._troubles: dict[str, str] = {}
        self._entries: Entries = {}

    def read(self, capture: Capture, gaps: Gaps) -> tuple[Entries, Capture]:
        """What is told of each buffer, the very same object while nothing changes; and the capture without that: there
        may be more files of buffers than of all else.
        """
        files, links = capture.files, capture.links
        touched = self._touch(changed_keys(self._files, files), files)
        touched |= self._touch(changed_keys(self._links, links), links)
        self._files, self._links = files, links
        if touched:
            self._entries = self._with(touched)
        gaps.read(files.get(BUFFERS), lambda _: None, f"/{BUFFERS}")
        for path in sorted(self._troubles):
            gaps.tally(f"{{}} below /{BUFFERS} could not be read", "file", self._troubles[path])
        if self._paths:
            capture = capture._replace(files={path: raw for path, raw in files.items() if not path.startswith(BUFFERS)})
        return self._entries, capture

    def _with(self, touched: Iterable[int]) -> Entries:
        entries = dict(self._entries)
        for inode in touched:
            entry = self._entry(inode)
            if entry is None:
                entries.pop(inode, None)
            else:
                entries[inode] = keep_equal(entries.get(inode, entry), entry)
        return entries if changed_keys(self._entries, entries) else self._entries

    def _touch(self, changed: Iterable[str], now: Mapping[str, object]) -> set[int]:
        """The buffers of these paths, which are noted, or forgotten where they are there no more."""
        touched = set()
        for path in changed:
            where = dmabuf_sysfs.entry(path) if path.startswith(BUFFERS) else None
            if where is not None:
                touched.add(where.inode)
                paths = self._paths.setdefault(where.inode, set())
                (paths.add if path in now else paths.discard)(path)
                self._troubles.pop(path, None)
        return touched

    def _entry(self, inode: int) -> SysfsEntry | None:
        """None where there are no files of it."""
        entry: SysfsEntry | None = None
        attachments: list[tuple[str, bytes]] = []
        for path in sorted(self._paths[inode]):
            where = dmabuf_sysfs.entry(path)
            if where is None:
                continue
            raw, target = self._files.get(path), self._links.get(path)
            if raw is not None and not is_gone(raw):
                entry = self._read(entry or SysfsEntry(), path, where.file, raw)
            if target is not None and where.attachment is not None:
                attachments.append((where.attachment, dmabuf_sysfs.device(target)))
        if not self._paths[inode]:
            del self._paths[inode]
        return None if entry is None else entry._replace(attachments=tuple(attachments))

    def _read(self, entry: SysfsEntry, path: str, file: str, raw: Raw) -> SysfsEntry:
        if not isinstance(raw, bytes):
            # A directory can vanish while it is being read, as any errno; the fields stay unknown.
            return entry
        try:
            if file == "size":
                return entry._replace(size=dmabuf_sysfs.size(raw))
            if file == "exporter_name":
                return entry._replace(exporter=dmabuf_sysfs.exporter_name(raw))
        except ParseError as error:
            self._troubles[path] = str(error)
        return entry

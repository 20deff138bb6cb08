"""`/sys/kernel/dmabuf/buffers`, which has a folder for each buffer (5.14 to 6.19; Android from 5.4 on)."""

import os
from collections.abc import Callable, Iterable, Mapping

from heaptop.capture import Raw
from heaptop.scan.files import read_error
from heaptop.units import text_of

FOLDER = "sys/kernel/dmabuf/buffers"
_TOLD = frozenset({"size", "exporter_name"})

Reader = Callable[[str, dict[str, bytes]], Iterable[tuple[str, Raw | None]]]
"""Reads all files below a folder; what links point to goes to the mapping."""


class BufferFolders:
    """Reads them again and again. What a folder tells is so for the life of its buffer, and its number is not used
    again soon: so each is read once. Only attachments (5.14 alone has them) come and go.
    """

    def __init__(self, place: str, read: Reader) -> None:
        """`place` is where they are, `read` reads one."""
        self._place = place
        self._read = read
        self._folders: dict[str, dict[str, Raw]] = {}
        self._files: dict[str, Raw] = {}

    def files(self, links: dict[str, bytes]) -> Mapping[str, Raw]:
        """All files, by path: those of a buffer that was there before are the very same objects."""
        try:
            names = frozenset(map(text_of, os.listdir(os.fsencode(self._place))))
        except OSError as error:
            self._folders, self._files = {}, {}
            failure = read_error("open", error)
            return {} if failure is None else {FOLDER: failure}
        for name in self._folders.keys() - names:
            for path in self._folders.pop(name):
                del self._files[path]
        fleeting: dict[str, Raw] = {}
        for name in sorted(names - self._folders.keys()):
            path = f"{FOLDER}/{name}"
            files = {path: raw for path, raw in self._read(path, links) if raw is not None}
            is_whole = files.keys() == {f"{path}/{each}" for each in _TOLD}
            if is_whole and not os.path.isdir(os.path.join(self._place, name, "attachments")):
                self._folders[name] = files
                self._files |= files
            else:
                fleeting |= files
        return self._files | fleeting if fleeting else self._files

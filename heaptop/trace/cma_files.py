"""What debugfs shows of one CMA area at this moment: its map, for the moment in which it failed."""

import contextlib
import errno
import os
from collections.abc import Mapping
from typing import Final

from heaptop.capture import Raw, ReadError
from heaptop.scan.files import read_file
from heaptop.scan.patience import Patience

_FOLDER: Final = "sys/kernel/debug/cma"
_AREA_FILES: Final = ("count", "used", "maxchunk", "order_per_bit")
_RANGE_FILES: Final = ("base_pfn", "bitmap")
_OLD_LENGTH_MAX: Final = 15
"""Up to 6.0 a directory is `cma-` and the area's name, cut at 15 characters (mm/cma_debug.c)."""


class CmaFiles:
    """Reads them with a time-out: the bitmap of an area that never came up has a lock that nobody gives back."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._patience: Patience[str, Raw | None] = Patience(lambda path: read_file(os.path.join(root, path)))

    def read(self, area: str) -> Mapping[str, Raw]:
        """By path, as in a capture; nothing where debugfs does not show the area."""
        folders = (f"{_FOLDER}/{area}", f"{_FOLDER}/{f'cma-{area}'[:_OLD_LENGTH_MAX]}")
        folder = next((folder for folder in folders if os.path.isdir(os.path.join(self._root, folder))), None)
        if folder is None:
            return {}
        found, hanging = self._patience.each(self._paths(folder))
        files: dict[str, Raw] = {path: raw for path, raw in found.items() if raw is not None}
        return files | dict.fromkeys(hanging, ReadError("read", errno.ETIMEDOUT))

    def _paths(self, folder: str) -> list[str]:
        """Where the area has ranges (6.15 on), its own base_pfn and bitmap are links to those of the first."""
        parts: list[str] = []
        with contextlib.suppress(OSError):
            parts = sorted(os.listdir(os.path.join(self._root, folder, "ranges")))
        places = [f"{folder}/ranges/{part}" for part in parts] or [folder]
        return [f"{folder}/{name}" for name in _AREA_FILES] + [
            f"{place}/{name}" for place in places for name in _RANGE_FILES
        ]

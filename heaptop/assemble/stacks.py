"""Where buffers come from, as the heaptops that watch their allocation tell."""

from collections.abc import Mapping
from typing import Final

from heaptop.assemble.gaps import Gaps
from heaptop.assemble.memo import Last
from heaptop.call_stack import Origin
from heaptop.capture import Raw
from heaptop.parse import stacks

FOLDER: Final = "heaptop/stacks/"


class StacksReader:
    """Reads their texts, each as far as it grew. The very same object again while nothing is new."""

    def __init__(self) -> None:
        self._readers: dict[str, stacks.Reader] = {}
        self._merge = Last(_merged)

    def read(self, files: Mapping[str, Raw], gaps: Gaps) -> Mapping[int, Origin]:
        """By inode. Where two tell of a buffer, the one that allocated later is right: inode numbers are used again."""
        before, self._readers = self._readers, {}
        told = []
        for path in sorted(path for path in files if path.startswith(FOLDER)):
            reader = self._readers[path] = before.get(path) or stacks.Reader()
            found = gaps.read(files[path], reader.read, f"the call stacks in {path}")
            if found is not None:
                told.append(found)
        return self._merge(*told)


def _merged(*told: Mapping[int, Origin]) -> Mapping[int, Origin]:
    if len(told) == 1:
        return told[0]
    merged: dict[int, Origin] = {}
    for origins in told:
        for inode, origin in origins.items():
            if inode not in merged or merged[inode].time < origin.time:
                merged[inode] = origin
    return merged

"""What a recorder notes of a moment beside the capture itself, in its heaptop.json. Pure."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from heaptop.capture import NOTHING, Raw
from heaptop.recording.moments import Moment

KEY: Final = "moment"


class Facts(NamedTuple):
    """What whoever records knows of a capture, so that a reader need not assemble it to tell.

    `new` and `gone` are inodes, `changed` counts buffers. `mark` is the label of a mark that was set here, or why an
    incident capture was written; empty where neither. `first_seen` is told with a full capture: seconds since the
    epoch by inode, of those that were there before it.
    """

    buffers: int | None = None
    size_bytes: int | None = None
    new: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()
    changed: int = 0
    mark: str = ""
    first_seen: Mapping[int, float] = NOTHING

    @property
    def changes(self) -> int:
        """Buffers that came, went or changed."""
        return len(self.new) + len(self.gone) + self.changed

    def as_json(self, uptime_s: float) -> dict[str, Any]:
        """What stands in heaptop.json; what is not told is left out."""
        told: dict[str, Any] = {"uptime_s": round(uptime_s, 3)}
        if self.buffers is not None:
            told |= {"buffers": self.buffers, "size_bytes": self.size_bytes, "changed": self.changed}
        for name, value in (("new", self.new), ("gone", self.gone), ("mark", self.mark)):
            if value:
                told[name] = value
        if self.first_seen:
            told["first_seen"] = {str(inode): round(at, 3) for inode, at in self.first_seen.items()}
        return {KEY: told}


def read_facts(about: Raw, number: int, otherwise_at: float) -> tuple[Moment, Facts]:
    """What a heaptop.json tells, whatever it holds; `otherwise_at` is the time where it tells none."""
    try:
        top = json.loads(about) if isinstance(about, bytes) else {}
    except (ValueError, RecursionError):
        top = {}
    top = top if isinstance(top, dict) else {}
    told = top.get(KEY)
    told = told if isinstance(told, dict) else {}
    buffers, size_bytes, changed = (_count(told.get(key)) for key in ("buffers", "size_bytes", "changed"))
    mark = told.get("mark")
    facts = Facts(
        buffers=buffers,
        size_bytes=size_bytes,
        new=_inodes(told.get("new")),
        gone=_inodes(told.get("gone")),
        changed=changed or 0,
        mark=mark if isinstance(mark, str) else "",
        first_seen=_times(told.get("first_seen")),
    )
    at = _seconds(top.get("captured_at"))
    changes = None if buffers is None else facts.changes
    uptime_s = _seconds(told.get("uptime_s"))
    return Moment(number, otherwise_at if at is None else at, uptime_s, buffers, size_bytes, changes, facts.mark), facts


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 64 else None


def _inodes(value: object) -> tuple[int, ...]:
    return tuple(inode for inode in value if type(inode) is int) if isinstance(value, list) else ()


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 and math.isfinite(value) else None


def _times(value: object) -> dict[int, float]:
    rows: Mapping[str, object] = value if isinstance(value, dict) else {}
    times = {inode: _seconds(at) for inode, at in rows.items() if inode.isdecimal() and len(inode) < 21}
    return {int(inode): at for inode, at in times.items() if at is not None}

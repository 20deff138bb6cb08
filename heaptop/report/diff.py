"""Two captures compared, as text and as JSON."""

from collections.abc import Iterable, Mapping
from typing import Final

from heaptop.analysis.classes import ClassDelta, class_deltas, untold_by
from heaptop.analysis.diff import Delta, other_boot
from heaptop.analysis.serials import allocated_between
from heaptop.model import UNNAMED, Buffer, ProcessId, Snapshot
from heaptop.report import json
from heaptop.report.csv import holder_label
from heaptop.report.moment import timestamp
from heaptop.report.table import DIM, Column, Look, Row, draw
from heaptop.report.text import UNKNOWN, buffer_name
from heaptop.units import format_delta, format_size, printable

_FIELDS: Final = ("size_bytes", "name", "exporter", "file_count", "hidden_refs", "attachments", "holders")


def is_same(delta: Delta) -> bool:
    """Whether nothing came, went or changed."""
    return not (delta.new or delta.gone or delta.changed)


def document(before: Snapshot, now: Snapshot, delta: Delta) -> json.Json:
    """The whole comparison. The head is the later one's."""
    return {
        **json.head(now),
        "before": {
            "source": before.source,
            "kernel": before.kernel,
            "boot_id": before.boot_id,
            "captured_at": timestamp(before.captured_at),
            "gaps": [json.gap_item(gap) for gap in before.gaps],
        },
        "same": is_same(delta),
        "same_boot": _same_boot(before, now),
        "buffers_delta": delta.count,
        "bytes_delta": delta.size_bytes,
        "allocated": None if other_boot(before, now) else allocated_between(before, now),
        "new": [json.buffer_item(one, now) for one in delta.new],
        "gone": [json.buffer_item(one, before) for one in delta.gone],
        "changed": [
            {
                "inode": new.inode,
                "fields": _changed(old, new),
                "before": json.buffer_item(old, before),
                "now": json.buffer_item(new, now),
            }
            for old, new in delta.changed
        ],
        "classes": [_class(one) for one in class_deltas(before.buffers, now.buffers, untold_by(before, now))],
        "heaps": _sums("name", _heaps(before), _heaps(now)),
        "processes": [
            {"pid": process.pid, "start_time": process.start_time, "comm": comm, **sums}
            for (process, comm), sums in _processes(before, now)
        ],
    }


def _same_boot(before: Snapshot, now: Snapshot) -> bool | None:
    if other_boot(before, now):
        return False
    return None if None in (before.boot_id, now.boot_id) else True


def _changed(old: Buffer, new: Buffer) -> list[str]:
    return [field for field in _FIELDS if getattr(old, field) != getattr(new, field)]


def _class(one: ClassDelta) -> json.Json:
    return {
        "exporter": one.key.exporter,
        "size_bytes": one.key.size_bytes,
        "name": one.name,
        "holder": one.key.holder if one.key.holders else None,
        "buffers_before": one.before,
        "buffers_now": one.now,
        "bytes_delta": one.size_bytes,
    }


Sums = Mapping[str, tuple[int, int]]
"""Buffers and bytes by name."""


def _heaps(snapshot: Snapshot) -> Sums:
    return {one.name or UNKNOWN: (one.buffers, one.size_bytes) for one in snapshot.exporters}


def _sums(key: str, before: Sums, now: Sums) -> list[json.Json]:
    rows = []
    for name in sorted(before.keys() | now.keys()):
        (count, size), (new_count, new_size) = before.get(name, (0, 0)), now.get(name, (0, 0))
        if (count, size) != (new_count, new_size):
            rows.append({key: name, **_delta(count, new_count, size, new_size)})
    return rows


def _delta(count: int, new_count: int, size: int, new_size: int) -> json.Json:
    return {"buffers_before": count, "buffers_now": new_count, "bytes_before": size, "bytes_now": new_size}


def _processes(before: Snapshot, now: Snapshot) -> list[tuple[tuple[ProcessId, str], json.Json]]:
    """Those whose buffers or RSS differ, most grown first."""
    old = {(one.id, one.comm): (len(one.inodes), one.rss_bytes) for one in before.processes}
    new = {(one.id, one.comm): (len(one.inodes), one.rss_bytes) for one in now.processes}
    both = [(key, old.get(key, (0, 0)), new.get(key, (0, 0))) for key in old.keys() | new.keys()]
    both = [row for row in both if row[1] != row[2]]
    both.sort(key=lambda row: (row[1][1] - row[2][1], row[0][0].pid))
    return [(key, _delta(was[0], is_[0], was[1], is_[1])) for key, was, is_ in both]


def text(before: Snapshot, now: Snapshot, delta: Delta, look: Look) -> str:
    """Classes that changed, most grown first; then each buffer that is new, gone or changed."""
    parts = [_title(before, now, delta, look)]
    classes = class_deltas(before.buffers, now.buffers, untold_by(before, now))
    if classes:
        parts.append(draw(_CLASS_COLUMNS, [_class_row(one) for one in classes], look))
    if other_boot(before, now) or is_same(delta):
        return "".join(parts)  # inodes of two boots have nothing to do with each other
    rows = [_buffer_row("+", one) for one in delta.new]
    rows += [_buffer_row("-", one, DIM) for one in delta.gone]
    rows += [_buffer_row(_sign(old, new), new, note=_what_changed(old, new)) for old, new in delta.changed]
    parts += ["\n" if classes else "", draw(_BUFFER_COLUMNS, rows, look)]
    return "".join(parts)


def _title(before: Snapshot, now: Snapshot, delta: Delta, look: Look) -> str:
    counts = f"{len(delta.new)} new, {len(delta.gone)} gone, {len(delta.changed)} changed"
    sums = (
        f"{delta.count:+d} buffers, {format_delta(delta.size_bytes)}" if delta.count else format_delta(delta.size_bytes)
    )
    figures = "nothing changed" if is_same(delta) else f"{counts}; {sums}"
    lines = [f"{before.source}{_when(before)} -> {now.source}{_when(now)}: {figures}"]
    same = _same_boot(before, now)
    if same is False:
        lines.append("two boots: inodes have nothing in common, only classes can be compared")
    elif allocated := allocated_between(before, now):
        lines.append(f"{allocated} buffers were allocated in between, by the numbers of their inodes")
    if same is None and not is_same(delta):
        lines.append("note: it is not known whether they are of one boot; if not, inodes mean nothing")
    return "".join(look.paint(printable(line), DIM) + "\n" for line in lines)


def _when(snapshot: Snapshot) -> str:
    moment = timestamp(snapshot.captured_at)
    return f" {moment}" if moment else ""


_CLASS_COLUMNS: Final = (
    Column("Exporter", worth=4, flexible=True),
    Column("Size", right=True),
    Column("Name", flexible=True),
    Column("Holder", flexible=True),
    Column("Before", right=True, worth=3),
    Column("Now", right=True),
    Column("Bytes", right=True),
)
_BUFFER_COLUMNS: Final = (
    Column(""),
    Column("Ino", right=True),
    Column("Size", right=True),
    Column("Name", flexible=True),
    Column("Exporter", worth=4, flexible=True),
    Column("Held by", flexible=True),
    Column("What changed", flexible=True, worth=5),
)


def _class_row(one: ClassDelta) -> Row:
    key = one.key
    cells = (
        key.exporter or UNKNOWN,
        format_size(key.size_bytes),
        UNKNOWN if "name" in one.untold else one.name or UNNAMED,
        UNKNOWN if "holder" in one.untold else key.holder,
        str(one.before),
        f"{one.now} ({one.count:+d})",
        format_delta(one.size_bytes),
    )
    return Row(cells)


def _buffer_row(sign: str, one: Buffer, code: str = "", note: str = "") -> Row:
    holders = " ".join(map(holder_label, one.holders)) or "nobody seen"
    size, exporter = format_size(one.size_bytes), one.exporter or UNKNOWN
    return Row((sign, str(one.inode), size, buffer_name(one), exporter, holders, note), code)


def _sign(old: Buffer, new: Buffer) -> str:
    """Whether more or less refers to it."""
    grown = (new.size_bytes or 0) - (old.size_bytes or 0) or (new.file_count or 0) - (old.file_count or 0)
    grown = grown or len(new.holders) - len(old.holders)
    return ">" if grown > 0 else "<" if grown < 0 else "~"


def _what_changed(old: Buffer, new: Buffer) -> str:
    parts = [
        _change(field, getattr(old, field), getattr(new, field)) for field in _changed(old, new) if field != "holders"
    ]
    return ", ".join([*parts, *_holders_change(old, new)])


def _change(field: str, old: object, new: object) -> str:
    match field, old, new:
        case "size_bytes", (int() | None), (int() | None):
            return f"size {format_size(old)} -> {format_size(new)}"
        case "attachments", (tuple() | None), (tuple() | None):
            return f"attachments {_listed(old)} -> {_listed(new)}"
    label = {"file_count": "count", "hidden_refs": "hidden"}.get(field, field)
    return f"{label} {UNKNOWN if old is None else old} -> {UNKNOWN if new is None else new}"


def _listed(devices: Iterable[str] | None) -> str:
    return UNKNOWN if devices is None else " ".join(devices) or "none"


def _holders_change(old: Buffer, new: Buffer) -> list[str]:
    if old.holders == new.holders:
        return []
    before = {holder.process: holder for holder in old.holders}
    now = {holder.process: holder for holder in new.holders}
    came = [f"+{holder_label(holder)}" for process, holder in now.items() if process not in before]
    went = [f"-{holder_label(holder)}" for process, holder in before.items() if process not in now]
    return [" ".join([*came, *went]) or "held otherwise"]

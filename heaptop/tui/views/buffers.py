"""The Buffers view: every dma-buf, who holds it and how; grouped by class, exporter or holder where asked."""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from heaptop.analysis.filter import Filter
from heaptop.analysis.orphans import parts_of
from heaptop.analysis.sort import buffer_keys
from heaptop.analysis.suspects import NO_GROWTH, Suspected
from heaptop.model import Buffer, ProcessId
from heaptop.session import Update
from heaptop.tui.ordering import Ordering
from heaptop.tui.renderables.details import BufferStory, Line, buffer_details, explain_unknown, name_cell
from heaptop.tui.renderables.table import Cell, Column, fit
from heaptop.tui.shown import clock_time
from heaptop.tui.table_view import TableView
from heaptop.tui.widgets.table import Table
from heaptop.units import format_age, format_size

GROUPS = ("none", "class", "exporter", "holder")

INODE_WIDTH = 5

_TELLS_TIME = re.compile(r"\b(age|new|since)\b", re.IGNORECASE)
"""Filters whose answer changes though the buffer does not."""


@dataclass(frozen=True, slots=True)
class Group:
    """Buffers that have something in common, as one row that opens."""

    id: str
    label: str
    exporter: str
    buffers: tuple[Buffer, ...]
    size_bytes: int | None
    is_open: bool


Row = Buffer | Group


class BuffersView(TableView[Row]):
    """See the module."""

    title = "Buffers"
    number = 2
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "owner", "owner"),
        Binding("u", "users", "who else"),
        Binding("x", "content", "content"),
        Binding("g", "group", "group"),
        Binding("f", "free", "free"),
        Binding("F", "follow", "Follow: keep the newest buffer selected", show=False),
    ]
    DESCENDING = frozenset({"size", "fds", "maps", "hidden"})

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        self._inode_width = INODE_WIDTH
        super().__init__(id=id)
        self.group = "none"
        self.follows = False
        self._opened_groups: set[str] = set()
        self._rows = Ordering()
        self._drawn_number = 0
        self._ordered_by: tuple[object, ...] | None = None
        self._candidates: Mapping[int, Buffer] = {}
        self._marks: dict[int, str] = {}
        self._suspects = Suspected(NO_GROWTH)
        self.table.sorted_by = ("size", True)

    # ---- cells ----

    def columns(self) -> Sequence[Column[Row]]:
        """Ino Size Name Exporter Held-by fd map hid Age."""
        return (
            Column("mark", "", 2, self._cell_mark, worth=70, sortable=False),
            Column("inode", "Ino", self._inode_width, self._cell_inode, align="right", worth=50),
            Column("size", "Size", 8, self._cell_size, align="right", worth=100),
            Column("name", "Name", 10, self._cell_name, flex=3, width_max=40, worth=100),
            Column("exporter", "Exporter", 9, self._cell_exporter, flex=1, width_max=24, worth=45),
            Column("holder", "Held by", 10, self._cell_holder, flex=3, worth=90),
            Column("fds", "fd", 3, lambda row, _: self._cell_count(row, "fd_count"), align="right", worth=30),
            Column("maps", "map", 3, lambda row, _: self._cell_count(row, "map_count"), align="right", worth=31),
            Column("hidden", "hid", 3, lambda row, _: self._cell_count(row, "hidden_refs"), align="right", worth=40),
            Column("age", "Age", 7, self._cell_age, align="right", worth=35),
        )

    def key(self, row: Row) -> Hashable:
        """Inode, or the group's label."""
        return row.inode if isinstance(row, Buffer) else ("group", row.id)

    def row_style(self, row: Row) -> str:
        """Gone rows are dimmed, new ones stand out."""
        if isinstance(row, Group):
            return "strong"
        return {"-": "gone", "+": "new"}.get(self._marks.get(row.inode, ""), "")

    def _cell_mark(self, row: Row, _width: int) -> Cell:
        if isinstance(row, Group):
            return "▾" if row.is_open else "▸"
        change = self._marks.get(row.inode, " ")
        if row.inode in self.shell.held:
            return ((change, ""), ("*", "own"))
        if self._suspects.has(row) and change != "-":
            return ((change, ""), ("!", "suspect"))
        return ((change, ""), ("?", "orphan")) if row.is_orphan and change != "-" else change

    def _cell_inode(self, row: Row, _width: int) -> Cell:
        return str(row.inode) if isinstance(row, Buffer) else f"{len(row.buffers)}×"

    def _cell_size(self, row: Row, _width: int) -> Cell:
        return _known(format_size(row.size_bytes))

    def _cell_name(self, row: Row, _width: int) -> Cell:
        if isinstance(row, Group):
            return row.label
        text = name_cell(row)
        return text if row.name else ((text, "unknown" if text == "~" else "dim"),)

    def _cell_exporter(self, row: Row, _width: int) -> Cell:
        return _known(row.exporter or "~")

    def _cell_holder(self, row: Row, width: int) -> Cell:
        if isinstance(row, Group):
            return _held_by((holder.comm for buffer in row.buffers for holder in buffer.holders), width)
        if row.is_orphan:
            return (("nobody seen", "orphan"),)
        return _held_by((holder.comm for holder in row.holders), width)

    def _cell_count(self, row: Row, field: str) -> Cell:
        if isinstance(row, Buffer):
            value = getattr(row, field)
            return _known("~" if value is None else str(value))
        return str(sum(getattr(buffer, field) or 0 for buffer in row.buffers))

    def _cell_age(self, row: Row, _width: int) -> Cell:
        return _known(format_age(self._age_s(row))) if isinstance(row, Buffer) else ""

    def _age_s(self, buffer: Buffer) -> float | None:
        update = self.shell.update
        seen = None if update is None else update.history.first_seen.get(buffer.inode)
        return None if seen is None else self.shell.now() - seen

    def explain(self, row: Row, column: str) -> str:
        """Why a cell shows `~`."""
        field = {"size": "size_bytes", "hidden": "hidden_refs"}.get(column, column)
        update = self.shell.update
        if isinstance(row, Group) or update is None:
            return ""
        if column == "age":
            return "it was there before heaptop looked first"
        return explain_unknown(field, update.snapshot.gaps)

    # ---- rows ----

    def draw(self, update: Update) -> None:
        """Filter, order, group; a tick costs what changed."""
        self._candidates, self._marks = self._scope(update)
        self._suspects = Suspected(update.growth)
        self._make_room(update)
        key = buffer_keys(update.history.first_seen)
        name, descending = self.table.sorted_by or ("size", True)
        filter_ = self.shell.filter
        keep = None if filter_ is None else self._keeper(filter_)
        order = (name, descending, filter_, self.shell.since_mark_only)
        touched = self.shell.touched_since(self._drawn_number)
        timeless = filter_ is None or not _TELLS_TIME.search(filter_.text)
        if order == self._ordered_by and timeless and touched is not None and self._candidates is self.shell.buffers:
            self._rows.follow(self._candidates, key[name], keep, touched)
            assert keep is not None or len(self._rows) == len(self._candidates)
        else:
            self._rows.rebuild(self._candidates, key[name], keep, descending=descending)
            self._ordered_by = order
        self._drawn_number = update.number
        rows: Sequence[Row] = self._rows if self.group == "none" else self._grouped()
        self.table.set_rows(rows, empty=self._empty(update))
        if self.follows and update.delta.new:
            self.table.select(max(buffer.inode for buffer in update.delta.new))

    def _make_room(self, update: Update) -> None:
        """Inodes of a long-running system (and of an emulator's files) have many digits."""
        largest = update.snapshot.buffers[-1].inode if update.snapshot.buffers else 0
        width = max(self._inode_width, len(str(largest)))
        if width != self._inode_width:
            self._inode_width = width
            self.table.set_columns(self.columns())

    def _scope(self, update: Update) -> tuple[Mapping[int, Buffer], dict[int, str]]:
        """The buffers that may be shown, and the change each is marked with."""
        mark = update.since_mark if self.shell.since_mark_only else None
        if mark is None:
            marks = dict.fromkeys(self.shell.filter_context.new, "+")
            marks.update(dict.fromkeys(update.history.gone, "-"))
            return self.shell.buffers, marks
        buffers = {buffer.inode: buffer for buffer in (*mark.new, *mark.gone, *(after for _, after in mark.changed))}
        marks = {buffer.inode: "+" for buffer in mark.new}
        marks.update((buffer.inode, "-") for buffer in mark.gone)
        for before, after in mark.changed:
            grown = (after.file_count or 0) - (before.file_count or 0) or len(after.holders) - len(before.holders)
            marks[after.inode] = "▲" if grown > 0 else "▼" if grown < 0 else "·"
        return buffers, marks

    def _keeper(self, filter_: Filter) -> Callable[[Buffer], bool]:
        context = self.shell.filter_context
        return lambda buffer: filter_.matches(buffer, context)

    def _grouped(self) -> Sequence[Row]:
        found: dict[str, list[Buffer]] = {}
        for buffer in self._rows:
            for id_ in self._group_ids(buffer):
                found.setdefault(id_, []).append(buffer)
        groups = [self._make_group(id_, tuple(buffers)) for id_, buffers in found.items()]
        name, descending = self.table.sorted_by or ("size", True)
        if name == "size":
            groups.sort(key=lambda group: group.size_bytes or 0, reverse=descending)
        elif name in ("name", "exporter", "holder"):
            groups.sort(key=lambda group: group.label.casefold(), reverse=descending)
        rows: list[Row] = []
        for group in groups:
            rows.append(group)
            if group.is_open:
                rows.extend(group.buffers)
        return rows

    def _make_group(self, id_: str, buffers: tuple[Buffer, ...]) -> Group:
        exporters = {buffer.exporter for buffer in buffers}
        exporter = (next(iter(exporters)) or "~") if len(exporters) == 1 else f"{len(exporters)} exporters"
        sizes = [buffer.size_bytes for buffer in buffers if buffer.size_bytes is not None]
        size_bytes = sum(sizes) if sizes else None
        label = f"{format_size(buffers[0].size_bytes)} {name_cell(buffers[0])}" if self.group == "class" else id_
        return Group(id_, label, exporter, buffers, size_bytes, id_ in self._opened_groups)

    def _group_ids(self, buffer: Buffer) -> Iterable[str]:
        """The groups a buffer belongs to: one of each kind, but one for each process that holds it."""
        if self.group == "exporter":
            return (buffer.exporter or "~",)
        if self.group == "holder":
            return sorted({holder.comm for holder in buffer.holders}) or ("nobody seen",)
        holders = "+".join(sorted({holder.comm for holder in buffer.holders})) or "nobody seen"
        return (f"{buffer.exporter or '~'} {format_size(buffer.size_bytes)} {name_cell(buffer)} · {holders}",)

    def _empty(self, update: Update) -> str:
        if self.shell.since_mark_only:
            return "nothing is new, gone or changed since the mark; press d to see all buffers"
        if self._candidates:
            return "no buffer matches the filter; press Esc to clear it"
        if update.snapshot.gaps:
            gap = update.snapshot.gaps[0]
            more = f"; {gap.remedy}" if gap.remedy else ""
            return f"no dma-buf is seen here, but not all could be read: {gap.what}: {gap.why}{more}"
        return "no dma-buf is held by anyone" + ("; press a to allocate one" if self.shell.allocator else "")

    def status_text(self) -> str:
        """How many of how many, order, group."""
        gone = [inode for inode, mark in self._marks.items() if mark == "-" and inode in self._candidates]
        shown = len(self._rows) - sum(self._rows.index_of(inode) is not None for inode in gone)
        all_ = len(self._candidates) - len(gone)
        parts = [f"{shown:,} of {all_:,} buffers" if shown != all_ else f"{all_:,} buffer{'' if all_ == 1 else 's'}"]
        parts += [f"by {self.group}"] if self.group != "none" else []
        parts += ["since mark"] if self.shell.since_mark_only else []
        parts += ["follows"] if self.follows else []
        return " · ".join(parts)

    # ---- details ----

    def details(self, row: Row) -> list[Line]:
        """All that is known of the buffer; a group's sums."""
        update = self.shell.update
        if update is None:
            return []
        if isinstance(row, Group):
            plural = "" if len(row.buffers) == 1 else "s"
            sums = f"{len(row.buffers)} buffer{plural}, {row.size_bytes or 0:,} bytes, {format_size(row.size_bytes)}"
            return [((row.label, "strong"),), ((sums, ""),), (), (("→ or a click on ▸ opens it", "dim"),)]
        history = update.history
        seen, gone = history.first_seen.get(row.inode), history.gone.get(row.inode)
        let_go = history.let_go.get(row.inode)
        story = BufferStory(
            first_seen="" if seen is None else clock_time(seen),
            age_s=self._age_s(row),
            gone_at="" if gone is None else clock_time(gone),
            last_holders=tuple(history.last_holders.get(row.inode, ())),
            own=row.inode in self.shell.held,
            references=self.shell.references(row.inode),
            parts=parts_of(row, update.snapshot),
            let_go="" if let_go is None else clock_time(let_go.at),
        )
        return buffer_details(row, story, update.snapshot.gaps)

    def facts(self, row: Row) -> Mapping[str, object]:
        """A row as `y` copies it; keys as in `heaptop buffers --json`."""
        if isinstance(row, Group):
            return {"group": row.label, "buffers": len(row.buffers), "size_bytes": row.size_bytes}
        return {
            "inode": row.inode,
            "size_bytes": row.size_bytes,
            "exporter": row.exporter,
            "name": row.name,
            "file_count": row.file_count,
            "hidden_refs": row.hidden_refs,
            "holders": [
                {"pid": holder.process.pid, "comm": holder.comm, "fds": [fd.fd for fd in holder.fds]}
                for holder in row.holders
            ],
        }

    # ---- actions ----

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """`f` is there on heaptop's own test buffers only, `x` where buffers can be looked into."""
        if action == "free":
            row = self.table.cursor_row
            return isinstance(row, Buffer) and row.inode in self.shell.held
        if action == "content":
            return self.shell.content_reader is not None and self._buffer() is not None
        return True

    def select(self, inode: int) -> bool:
        """Put the cursor on a buffer."""
        return self.table.select(inode)

    def _buffer(self) -> Buffer | None:
        row = self.table.cursor_row
        return row if isinstance(row, Buffer) else None

    def action_owner(self) -> None:
        """Jump to the process that holds it; to choose where there are several is `u`."""
        if (buffer := self._buffer()) is not None:
            self._go_to(buffer.holders[0].process if buffer.holders else None)

    def _go_to(self, process: ProcessId | None) -> None:
        if process is None:
            self.shell.say("nobody is seen to hold it")
        else:
            self.shell.go_to_process(process)

    def action_users(self) -> None:
        """Choose among all who hold it."""
        buffer = self._buffer()
        if buffer is not None:
            self.shell.choose_holder(buffer)

    def action_content(self) -> None:
        """Look into it."""
        if (buffer := self._buffer()) is not None:
            self.shell.show_content(buffer.inode)

    def action_group(self) -> None:
        """The next way of grouping."""
        self.group = GROUPS[(GROUPS.index(self.group) + 1) % len(GROUPS)]
        self._again()

    def _again(self) -> None:
        if self.shell.update is not None:
            self.show(self.shell.update)
        self.shell.redraw()

    def action_follow(self) -> None:
        """Follow mode on and off."""
        self.follows = not self.follows
        self._again()

    def action_free(self) -> None:
        """Free a test buffer of heaptop's own."""
        if (buffer := self._buffer()) is not None and self.shell.held.free(buffer.inode):
            self.shell.say(f"freed {buffer.inode} {name_cell(buffer)}")

    def on_table_toggled(self, message: Table.Toggled) -> None:
        """Open or close a group."""
        row = self.table.cursor_row
        if isinstance(row, Group) and message.expand is not row.is_open:
            self._opened_groups ^= {row.id}
            self._again()

    def choose(self) -> None:
        """Enter opens a group, and the details of a buffer."""
        row = self.table.cursor_row
        if isinstance(row, Group):
            self._opened_groups ^= {row.id}
            self._again()
        else:
            super().choose()


def _known(text: str) -> Cell:
    return ((text, "unknown"),) if text == "~" else text


def _held_by(comms: Iterable[str], width: int) -> str:
    """`cameraserver +3`: the first of them, cut where it must be, and how many other names."""
    names = list(dict.fromkeys(comms))
    if not names:
        return "nobody seen"
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return fit(names[0], max(1, width - len(more))).rstrip() + more

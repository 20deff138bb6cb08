"""The Processes view: who pays for what. Each process opens to its buffers, each of those leads to who else has it."""

import pwd
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from heaptop.analysis.diff import Delta
from heaptop.analysis.orphans import parts_of
from heaptop.analysis.sort import PROCESS_KEYS, Key, sort_rows
from heaptop.model import Buffer, Process, ProcessId, Snapshot
from heaptop.session import Update
from heaptop.tui.frame import Sums
from heaptop.tui.renderables.chrome import Piece, cut
from heaptop.tui.renderables.details import (
    BufferStory,
    Line,
    ProcessStory,
    buffer_details,
    how_held,
    name_cell,
    process_details,
)
from heaptop.tui.renderables.sparkline import sparkline
from heaptop.tui.renderables.table import Cell, Column, fit
from heaptop.tui.shown import clock_time
from heaptop.tui.table_view import TableView
from heaptop.tui.widgets.line import Line as LineWidget
from heaptop.tui.widgets.table import Table
from heaptop.units import format_delta, format_size

SINCE_START, SINCE_MARK = "Since start", "Since mark"

GROWN_POINTS = 3
"""A process is marked as grown while its RSS is above that of so many refreshes ago."""


@dataclass(frozen=True, slots=True)
class Held:
    """A buffer as a child row of one of its processes."""

    process: ProcessId
    buffer: Buffer


Row = Process | Held


class ProcessesView(TableView[Row]):
    """See the module."""

    title = "Processes"
    number = 3
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "owner", "buffer"),
        Binding("u", "users", "who else"),
        Binding("x", "content", "content"),
    ]
    DESCENDING = frozenset({"rss", "pss", "buffers", "growth"})

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        self._growth_title = SINCE_START
        super().__init__(id=id)
        self._totals = LineWidget("totals")
        self._open: set[ProcessId] = set()
        self._count = 0
        self._placed: list[Row] = []
        self._placed_by: tuple[object, ...] = (None, None, None)
        self._order: tuple[str, bool, set[ProcessId]] | None = None
        self.table.sorted_by = ("rss", True)

    # ---- cells ----

    def columns(self) -> Sequence[Column[Row]]:
        """PID Process RSS PSS Buffers Since-start Last-60-s."""
        return (
            Column("pid", "PID", 7, self._cell_pid, align="right", worth=60),
            Column("comm", "Process", 10, lambda row, _: _process(row).comm, flex=2, width_max=32, worth=100),
            Column("rss", "RSS", 9, lambda row, _: format_size(_process(row).rss_bytes), align="right", worth=100),
            Column("pss", "PSS", 9, lambda row, _: format_size(_process(row).pss_bytes), align="right", worth=55),
            Column("buffers", "Buffers", 7, lambda row, _: str(len(_process(row).inodes)), align="right", worth=50),
            Column("growth", self._growth_title, 12, self._cell_growth, align="right", worth=45),
            Column("trend", "Last 60 s", 12, self._cell_trend, flex=1, width_max=60, worth=20, sortable=False),
        )

    def key(self, row: Row) -> Hashable:
        """Process, or process and buffer."""
        return row.id if isinstance(row, Process) else (row.process, row.buffer.inode)

    def whole(self, row: Row) -> Line | None:
        """A buffer's row runs across all columns."""
        if isinstance(row, Process):
            return None
        buffer = row.buffer
        return (
            (f"   {buffer.inode:>7} {format_size(buffer.size_bytes):>9} ", ""),
            (fit(name_cell(buffer), 20), "name" if buffer.name else "dim"),
            (f" {how_held(buffer, row.process)}", "dim"),
        )

    def _cell_pid(self, row: Row, width: int) -> Cell:
        process = _process(row)
        return f"{'▾' if process.id in self._open else '▸'}{process.id.pid:>{width - 1}}"

    def _cell_growth(self, row: Row, _width: int) -> Cell:
        update = self.shell.update
        growth = None if update is None else self._growth_bytes(update).get(_process(row).id)
        trend = self._trend_bytes(row)
        grown = bool(growth and growth > 0) and trend[-1:] > trend[-1 - GROWN_POINTS :][:1]
        return (("▲ " if grown else "", "grown"), (format_delta(growth), "" if growth else "dim"))

    def _growth_bytes(self, update: Update) -> Mapping[ProcessId, int]:
        """RSS now less RSS when it was first seen or, while that is asked for, at the mark."""
        if self.shell.since_mark_only and update.since_mark is not None:
            return since_mark_bytes(update.since_mark)
        return update.history.growth_bytes

    def _trend_bytes(self, row: Row) -> tuple[int, ...]:
        update = self.shell.update
        return () if update is None else update.history.process_trend_bytes.get(_process(row).id, ())

    def _cell_trend(self, row: Row, width: int) -> Cell:
        return ((sparkline(self._trend_bytes(row), width), "trend"),)

    # ---- rows ----

    def extras(self) -> Sequence[Widget]:
        """The totals."""
        return (self._totals,)

    def draw(self, update: Update) -> None:
        """Filter, order, and the buffers of those that are open; only where those are not the same as before."""
        filter_, buffers = self.shell.filter, self.shell.buffers
        processes: Sequence[Process] = update.snapshot.processes
        if filter_ is not None:
            context = self.shell.filter_context
            processes = [process for process in processes if filter_.matches_process(process, buffers, context)]
        if self.shell.since_mark_only and (touched := self.shell.filter_context.since_mark) is not None:
            processes = [process for process in processes if not touched.isdisjoint(process.inodes)]
        title = SINCE_MARK if self.shell.since_mark_only and update.since_mark is not None else SINCE_START
        if title != self._growth_title:
            self._growth_title = title
            self.table.set_columns(self.columns())
        growth = self._growth_bytes(update)
        keys: dict[str, Key[Process]] = {**PROCESS_KEYS, "growth": lambda process: growth.get(process.id)}
        name, descending = self.table.sorted_by or ("rss", True)
        placed_by = (processes, buffers if self._open else None, growth if name == "growth" else None)
        if (name, descending, self._open) != self._order or not all(map(is_, placed_by, self._placed_by)):
            self._placed_by, self._order = placed_by, (name, descending, set(self._open))
            self._placed = []
            for process in sort_rows(processes, keys, f"-{name}" if descending else name):
                self._placed.append(process)
                if process.id in self._open:
                    mine = (buffers[inode] for inode in process.inodes if inode in buffers)
                    ordered = sorted(mine, key=lambda b: (-(b.size_bytes or 0), b.inode))
                    self._placed += [Held(process.id, buffer) for buffer in ordered]
        rows = self._placed
        self._count = len(processes)
        self.table.set_rows(rows, empty=self._empty(update.snapshot))
        sums = self.shell.sums
        self._totals.tell(lambda width: totals_line(update.snapshot.processes, sums, width))

    def _empty(self, snapshot: Snapshot) -> str:
        if snapshot.processes:
            return "no process matches; press Esc to clear the filter"
        for gap in snapshot.gaps:
            if "process" in f"{gap.what} {gap.why}":
                return f"no process is seen to hold a buffer, but {gap.what}: {gap.why}; {gap.remedy}"
        return "no process holds a buffer"

    def status_text(self) -> str:
        """How many of how many."""
        update = self.shell.update
        total = 0 if update is None else len(update.snapshot.processes)
        return f"{self._count:,} of {total:,}" if self._count != total else f"{total:,} processes"

    # ---- details ----

    def details(self, row: Row) -> list[Line]:
        """The process, or the buffer of a child row."""
        update = self.shell.update
        if update is None:
            return []
        if isinstance(row, Held):
            seen = update.history.first_seen.get(row.buffer.inode)
            age_s = None if seen is None else self.shell.now() - seen
            parts = parts_of(row.buffer, update.snapshot)
            story = BufferStory(first_seen="" if seen is None else clock_time(seen), age_s=age_s, parts=parts)
            return buffer_details(row.buffer, story, update.snapshot.gaps)
        held = [self.shell.buffers[inode] for inode in row.inodes if inode in self.shell.buffers]
        user = "" if row.uid is None or update.snapshot.source.startswith("replay") else _user_name(row.uid)
        return process_details(row, held, ProcessStory(user, update.history.growth_bytes.get(row.id)))

    def facts(self, row: Row) -> Mapping[str, object]:
        """A row as `y` copies it; keys as in `heaptop processes --json`."""
        if isinstance(row, Held):
            buffer = row.buffer
            return {"pid": row.process.pid, "inode": buffer.inode, "size_bytes": buffer.size_bytes, "name": buffer.name}
        return {
            "pid": row.id.pid,
            "comm": row.comm,
            "uid": row.uid,
            "rss_bytes": row.rss_bytes,
            "pss_bytes": row.pss_bytes,
            "buffers": len(row.inodes),
        }

    # ---- actions ----

    def select(self, process: ProcessId) -> bool:
        """Open a process and put the cursor on it."""
        self._open.add(process)
        if self.shell.update is not None:
            self.show(self.shell.update)
        return self.table.select(process)

    def action_owner(self) -> None:
        """Jump to the buffer; from a process to the largest it holds."""
        row = self.table.cursor_row
        if isinstance(row, Held):
            self.shell.go_to_buffer(row.buffer.inode)
        elif row is not None:
            held = [self.shell.buffers[inode] for inode in row.inodes if inode in self.shell.buffers]
            if held:
                self.shell.go_to_buffer(max(held, key=lambda buffer: buffer.size_bytes or 0).inode)

    def action_users(self) -> None:
        """Choose among all who hold the buffer of a child row, or share a buffer with the process."""
        row = self.table.cursor_row
        if isinstance(row, Held):
            self.shell.choose_holder(row.buffer)
        elif row is not None:
            self.shell.choose_sharer(row)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """`x` is there on buffers, where they can be looked into."""
        if action == "content":
            return self.shell.content_reader is not None and isinstance(self.table.cursor_row, Held)
        return True

    def action_content(self) -> None:
        """Look into the buffer of a child row."""
        if isinstance(row := self.table.cursor_row, Held):
            self.shell.show_content(row.buffer.inode)

    def on_table_toggled(self, message: Table.Toggled) -> None:
        """Open or close a process; closing from one of its buffers closes the process."""
        row = self.table.cursor_row
        if row is None:
            return
        process = row.id if isinstance(row, Process) else row.process
        is_open = process in self._open
        if message.expand is is_open or (isinstance(row, Held) and message.expand is not False):
            return
        self._open ^= {process}
        if self.shell.update is not None:
            self.show(self.shell.update)
        self.table.select(process)


def since_mark_bytes(delta: Delta) -> dict[ProcessId, int]:
    """By how much the RSS of each process has changed."""
    grown: Counter[ProcessId] = Counter()
    for sign, buffers in (
        (1, (*delta.new, *(new for _, new in delta.changed))),
        (-1, (*delta.gone, *(old for old, _ in delta.changed))),
    ):
        for buffer in buffers:
            for holder in buffer.holders:
                grown[holder.process] += sign * (buffer.size_bytes or 0)
    return dict(grown)


def totals_line(processes: Sequence[Process], sums: Sums, width: int) -> tuple[Piece, ...]:
    """What Android's `dmabuf_dump` ends with: the total, its part that no process is seen to hold, RSS and PSS."""
    rss = sum(process.rss_bytes for process in processes)
    pss = sum(process.pss_bytes or 0 for process in processes)
    pieces = (
        Piece(" total ", "dim"),
        Piece(format_size(sums.size_bytes), "strong"),
        Piece(" · processes RSS ", "dim"),
        Piece(format_size(rss)),
        Piece(" PSS ", "dim"),
        Piece(format_size(pss)),
        Piece(" · kernel only ", "dim"),
        Piece(f"{format_size(sums.orphan_bytes)} in {sums.orphans}"),
    )
    return cut(pieces, width)


def _process(row: Row) -> Process:
    """Cells are asked of processes only: child rows are drawn whole."""
    assert isinstance(row, Process)
    return row


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""

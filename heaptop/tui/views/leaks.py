"""View 5, Leaks: the classes that grow, ranked, each with its evidence; then those that do not."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from heaptop.analysis.classes import class_of
from heaptop.analysis.suspects import Kind, Verdict
from heaptop.analysis.verdict_words import as_buffer
from heaptop.model import Buffer
from heaptop.session import Update
from heaptop.tui.renderables import leaks
from heaptop.tui.renderables.details import Line
from heaptop.tui.renderables.heaps import named
from heaptop.tui.renderables.leaks import LeakRow
from heaptop.tui.renderables.table import Column
from heaptop.tui.shown import clock_time
from heaptop.tui.table_view import TableView
from heaptop.tui.tabs import BUFFERS
from heaptop.units import format_age


class LeaksView(TableView[LeakRow]):
    """A table of classes and the evidence of the one under the cursor."""

    title = "Leaks"
    number = 5
    DESCENDING = frozenset({"size", "growth", "bytes", "count", "confidence"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "evidence"),
        Binding("b", "buffers", "its buffers"),
        Binding("o", "owner", "holder"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._suspects = 0
        self._count = 0

    def columns(self) -> Sequence[Column[LeakRow]]:
        """Class, growth, number, confidence, trend."""
        return leaks.COLUMNS

    def key(self, row: LeakRow) -> Hashable:
        """The class."""
        return row.key

    def row_style(self, row: LeakRow) -> str:
        """What does not grow is dimmed."""
        return "" if row.verdict.kind in (Kind.SUSPECT, Kind.GROWING) else "dim"

    def draw(self, update: Update) -> None:
        """The verdicts that the filter lets through, as they are ranked or sorted."""
        mark = update.since_mark if self.shell.since_mark_only else None
        rows = leaks.rows_of(update.growth, mark)
        if (filter_ := self.shell.filter) is not None:
            context = self.shell.filter_context
            rows = [row for row in rows if filter_.matches(as_buffer(row.verdict), context)]
        if self.table.sorted_by is not None:
            name, descending = self.table.sorted_by
            sort_key: Any = leaks.SORT[name]
            rows.sort(key=sort_key, reverse=descending)
        self._count = len(rows)
        self._suspects = sum(row.verdict.kind is Kind.SUSPECT for row in rows)
        self.table.set_rows(rows, empty=self._empty(update))

    def _empty(self, update: Update) -> str:
        if self.shell.since_mark_only:
            return "no class has more or fewer buffers than at the mark; press d to see all"
        if update.growth.verdicts:
            return "no class matches the filter; press Esc to clear it"
        return "no buffer is seen: there is nothing to follow"

    def status_text(self) -> str:
        """How many suspects, and for how long all has been watched."""
        update = self.shell.update
        if update is None:
            return ""
        growth = update.growth
        watched = f"watched for {format_age(growth.now - growth.began)}, {growth.looks:,} looks"
        plural = "" if self._suspects == 1 else "s"
        return f"{self._suspects} suspect{plural} of {self._count:,} · {watched}"

    # ---- details ----

    def details(self, row: LeakRow) -> list[Line]:
        """Trend, evidence, buffers."""
        update = self.shell.update
        if update is None:
            return []
        width = max(24, self.pane.size.width - 4)
        offset_s = (update.snapshot.captured_at or 0.0) - row.growth.now
        return leaks.details(row, self._buffers_of(row.verdict), lambda at: clock_time(at + offset_s), width)

    def _buffers_of(self, verdict: Verdict) -> list[Buffer]:
        """Those of its class that are alive; where several classes are meant, those that stay."""
        buffers = self.shell.buffers
        if verdict.evidence is not None:
            return [buffers[inode] for inode in verdict.evidence.inodes if inode in buffers]
        return [buffer for buffer in buffers.values() if class_of(buffer) == verdict.key]

    def facts(self, row: LeakRow) -> Mapping[str, object]:
        """A row as `y` copies it; keys as in `heaptop leaks --json`."""
        verdict = row.verdict
        return {
            "exporter": verdict.key.exporter,
            "size_bytes": verdict.key.size_bytes,
            "name": verdict.name,
            "holder": verdict.key.holder if verdict.key.holders else None,
            "kind": str(verdict.kind),
            "growth_per_minute": round(verdict.growth_per_minute, 3),
            "confidence": round(verdict.confidence, 3),
            "buffers": verdict.count,
        }

    # ---- actions ----

    def action_buffers(self) -> None:
        """The buffers of this class, in their own view."""
        row = self.table.cursor_row
        if row is not None:
            self.shell.set_filter(filter_of(row.verdict))
            self.shell.go(BUFFERS)

    def action_owner(self) -> None:
        """Jump to the process that holds most of them."""
        row = self.table.cursor_row
        if row is None:
            return
        for buffer in self._buffers_of(row.verdict):
            if buffer.holders:
                self.shell.go_to_process(buffer.holders[0].process)
                return
        self.shell.say("nobody is seen to hold them")


def filter_of(verdict: Verdict) -> str:
    """A filter that shows a class's buffers: as close as the language can say it."""
    key = verdict.key
    parts = [] if key.exporter is None else [named("exporter", key.exporter)]
    if "size" not in verdict.various and key.size_bytes is not None:
        parts.append(f"size={key.size_bytes}")
    if "name" not in verdict.various:
        name = verdict.name
        if not name:
            parts.append('name=""')
        elif "#" in name and name == key.name:
            longest = max(name.split("#"), key=len)
            parts += [named("name", longest).replace("=", ":", 1)] if longest else []
        else:
            parts.append(named("name", name))
    if "holder" not in verdict.various or key.holders:
        parts += [named("holder", comm) for comm in key.holders] or ["orphan"]
    return " ".join(parts)

"""What the screen shows: the newest frame or, while paused, the one held; the filter; the mark; what is wrong."""

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heaptop.errors import FilterError, HeaptopError
from heaptop.tui.renderables.chrome import HeaderFacts, Piece, changed_text, spread
from heaptop.tui.renderables.sparkline import sparkline
from heaptop.units import format_size, printable

if TYPE_CHECKING:
    from heaptop.analysis.filter import Filter, FilterContext
    from heaptop.session import Mark, Update
    from heaptop.tui.frame import Frame


@dataclass(slots=True)
class Shown:
    """The app's whole state apart from its widgets. No Textual here.

    `pace` says how a recording is played and `place` where it stands, empty where none is; `recording` what has been
    recorded, empty where nothing.
    """

    newest: "Frame | None" = None
    held: "Frame | None" = None
    error: HeaptopError | None = None
    filter: "Filter | None" = None
    filter_error: FilterError | None = None
    filter_text: str = ""
    mark: "Mark | None" = None
    since_mark_only: bool = False
    pace: str = ""
    place: str = ""
    recording: str = ""
    _context: "tuple[Frame, FilterContext] | None" = None

    @property
    def frame(self) -> "Frame | None":
        """What views draw."""
        return self.held or self.newest

    @property
    def update(self) -> "Update | None":
        """The update that views draw."""
        return None if self.frame is None else self.frame.update

    @property
    def now(self) -> float | None:
        """When the shown capture was made."""
        return None if self.update is None else self.update.snapshot.captured_at

    @property
    def banner(self) -> str:
        """What is wrong with the source, if anything."""
        if self.error is not None:
            return printable(str(self.error))
        lost = self.newest.update.lost if self.newest is not None else ()
        return printable(f"no longer readable: {'; '.join(gap.what for gap in lost)}; {lost[0].remedy}") if lost else ""

    def type_filter(self, text: str) -> None:
        """Take a filter as far as it is typed. A wrong one is told in `filter_error`; the last good one stays on."""
        self.filter_text = text
        self.filter_error = None
        if not text.strip():
            self.filter = None
            return
        from heaptop.analysis.filter import compile_filter  # when one is first typed

        try:
            self.filter = compile_filter(text)
        except FilterError as error:
            self.filter_error = error

    @property
    def context(self) -> "FilterContext":
        """What the filter needs to know of the shown frame."""
        from heaptop.analysis.filter import FilterContext  # who asks has loaded it

        frame = self.frame
        if frame is None:
            return FilterContext()
        if self._context is None or self._context[0] is not frame:
            context = FilterContext(
                now=frame.update.snapshot.captured_at,
                first_seen=frame.update.history.first_seen,
                new=frame.new,
                since_mark=since_mark(frame.update),
            )
            self._context = (frame, context)
        return self._context[1]


def since_mark(update: "Update") -> frozenset[int] | None:
    """Inodes that are new, gone or changed since the mark; None where no mark is set."""
    delta = update.since_mark
    if delta is None:
        return None
    return frozenset(
        [buffer.inode for buffer in (*delta.new, *delta.gone)] + [after.inode for _, after in delta.changed]
    )


def clock_time(seconds: float | None) -> str:
    """`14:02:11`, local."""
    return "--:--:--" if seconds is None else time.strftime("%H:%M:%S", time.localtime(seconds))


def interval_text(interval_s: float | None) -> str:
    """`1 s`, `250 ms`, `by hand`."""
    if interval_s is None:
        return "by hand"
    return f"{interval_s * 1000:.0f} ms" if interval_s < 1 else f"{interval_s:g} s"


def privileges(source: str) -> str:
    """Who looks, where that decides what is seen."""
    if source.startswith("replay"):
        return ""
    uid = os.geteuid()
    return "root" if uid == 0 else f"uid {uid}"


def short_source(source: str) -> str:
    """A recording by the last part of its path: the header has little room."""
    kind, colon, path = source.partition(":")
    return f"replay {os.path.basename(path.rstrip('/'))}" if colon and kind == "replay" else source


def header_facts(shown: Shown, source: str, interval_s: float | None, scanning_s: float | None) -> HeaderFacts:
    """The header of what is shown."""
    frame, pace = shown.frame, shown.pace or interval_text(interval_s)
    state = ""
    if shown.error is not None:
        state = "no source"
    elif frame is None or (scanning_s is not None and scanning_s > max(2.0, 2 * (interval_s or 0))):
        state = "looking…" if scanning_s is None or scanning_s < 2 else f"looking for {scanning_s:.0f} s…"
    if frame is None:
        return HeaderFacts(short_source(source), "", privileges(source), 0, None, None, None, pace, state)
    snapshot = frame.update.snapshot
    since = shown.newest.since_held if shown.newest is not None else None
    changed = "" if since is None else changed_text(since)
    return HeaderFacts(
        source=short_source(source),
        kernel=snapshot.kernel or "",
        privileges=privileges(source),
        gaps=len(snapshot.gaps),
        buffers=len(snapshot.buffers),
        size_bytes=frame.size_bytes,
        rate_per_s=frame.rate_per_s,
        interval=pace,
        state=state,
        held_at=clock_time(snapshot.captured_at) if shown.held else "",
        changed=changed,
        recording=shown.recording,
    )


def state_line(shown: Shown, status: str, width: int) -> tuple[Piece, ...]:
    """` scan 3.1 ms by BPF · heaptop 0.8 % CPU · mark A 14:02:11: +12 buffers, +48.0 MiB        29 of 56, by size`."""
    update = shown.update
    left: list[Piece] = []
    if shown.pace:
        left.append(Piece(f" {shown.place}", "warning" if "·" in shown.place else ""))
    elif update is not None:
        scan_ms = (update.cost.capture_s + update.cost.assemble_s) * 1000
        way = f" by {update.snapshot.way}" if update.snapshot.way else ""
        left = [Piece(f" scan {scan_ms:.{1 if scan_ms < 100 else 0}f} ms{way}")]
        left.append(Piece(f" · heaptop {update.cost.cpu_share * 100:.1f} % CPU"))
    if update is not None and shown.mark is not None:
        label = f"mark {shown.mark.label} {clock_time(shown.mark.set_at)}"
        left.append(Piece(f" · {label}: {mark_text(update)}", "strong", "app.since_mark"))
    return spread(left or [Piece(" ")], [Piece(status + " ", "dim")] if status else [], width)


def mark_text(update: "Update") -> str:
    """What became of things since the mark."""
    delta = update.since_mark
    if delta is None:
        return "…"
    return changed_text(delta)


def trend_line(frame: "Frame | None", width: int) -> tuple[Piece, ...]:
    """The total over time, on one line."""
    if frame is None:
        return ()
    label = f" total {format_size(frame.size_bytes)} "
    trend = sparkline(frame.update.history.total_trend_bytes, max(0, min(width - len(label) - 1, 120)))
    return (Piece(label, "dim"), Piece(trend, "trend"))

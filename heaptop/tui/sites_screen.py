"""Call sites over the whole screen: an icicle of the calls that lead to allocations, live, suspect or at the peak.

Names are read in a thread, once for each place; the keys go on working meanwhile.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from heaptop.analysis.sites import By, Node, Of, PeakKeeper, Sample, by_stack, chosen, is_plumbing, samples, shown, tree
from heaptop.errors import HeaptopError, UsageError
from heaptop.model import Buffer
from heaptop.session import Update
from heaptop.tui.renderables.chrome import Piece, key_line, spread
from heaptop.tui.renderables.icicle import cursor_pieces, title_pieces
from heaptop.tui.widgets.dialogs import Ask
from heaptop.tui.widgets.icicle import Icicle
from heaptop.tui.widgets.line import Line
from heaptop.units import printable

if TYPE_CHECKING:
    from heaptop.symbols.symbolizer import Symbolizer

_EMPTY = {
    Of.LIVE: "no buffer is alive",
    Of.LEAKED: "no buffer is suspected: watch for a while, growth needs to be seen (screen 5)",
    Of.PEAK: "nothing was seen yet",
}
_UNWATCHED = "no call stack is known here: run the program with `heaptop run`"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be drawn. The same buffers, in the same way, make the same tree."""

    buffers: Sequence[Buffer]
    of: Of
    by: By
    text: str
    all_frames: bool


class SitesScreen(ModalScreen[int | None]):
    """See the module. Ends with the inode of a buffer to go to, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "out/close", key_display="Esc"),
        Binding("q,c", "dismiss(None)", "Close", show=False),
        Binding("t", "of", "live/suspects/peak"),
        Binding("b", "by", "bytes/buffers"),
        Binding("s", "frames", "system frames"),
        Binding("slash", "search", "filter", key_display="/"),
        Binding("o", "buffer", "to a buffer"),
        Binding("w", "write", "export"),
    ]
    DEFAULT_CSS = """
    SitesScreen {
        layout: vertical; align: left top; background: $background;
        & #sites-title, & #sites-footer { background: $panel; }
    }
    """

    def __init__(self, peak: PeakKeeper, of: Of = Of.LIVE) -> None:
        """`of` are the buffers that are shown at first."""
        super().__init__()
        self._peak = peak
        from heaptop.symbols.symbolizer import Symbolizer  # a reader of ELF files, for this screen

        self._symbolizer = Symbolizer()
        self._update: Update | None = None
        self._of, self._by, self._text, self._all_frames = of, By.BYTES, "", False
        self._drawn: _Wanted | None = None
        self._is_open = self._is_drawing = False
        self._samples: tuple[Sample, ...] = ()
        self.icicle = Icicle()

    def compose(self) -> ComposeResult:
        """Title, icicle, what is under the cursor, keys."""
        yield Line("sites-title")
        yield self.icicle
        yield Line("sites-state")
        yield Line("sites-footer")

    def on_mount(self) -> None:
        """The icicle has the keys."""
        self._is_open = True
        self.icicle.focus()
        self.bindings_updated_signal.subscribe(self, lambda _screen: self._draw_footer())
        self._want()

    def on_unmount(self) -> None:
        """Let go of the files."""
        self._is_open = False
        if not self._is_drawing:
            self._symbolizer.close()

    def tell(self, update: Update) -> None:
        """Another look."""
        self._update = update
        self._want()

    # ---- drawing ----

    def _wanted(self) -> _Wanted | None:
        if self._update is None:
            return None
        evidence = (suspect.evidence for suspect in self._update.growth.suspects)
        inodes = [inode for each in evidence if each is not None for inode in each.inodes]
        buffers = chosen(self._of, self._update.snapshot, inodes, self._peak)
        return _Wanted(buffers, self._of, self._by, self._text, self._all_frames)

    def _want(self) -> None:
        """Draw what is to be shown, now or after the drawing under way."""
        wanted = self._wanted()
        if self._is_open and not self._is_drawing and wanted is not None and not _is_same(wanted, self._drawn):
            self._is_drawing = True
            self._draw_lines()
            self.run_worker(self._draw(wanted), group="sites-draw")

    async def _draw(self, wanted: _Wanted) -> None:
        try:
            self._samples, root = await asyncio.to_thread(partial(_made, wanted, self._symbolizer))
            self._drawn = wanted
            if self._is_open:
                self.icicle.tell(root, wanted.by)
        finally:
            self._is_drawing = False
            if not self._is_open:
                self._symbolizer.close()
        self._draw_lines()
        self._want()

    def _draw_lines(self) -> None:
        if not self._is_open:
            return
        root, node = self.icicle.root, self.icicle.node
        self.query_one("#sites-title", Line).tell(
            partial(spread, title_pieces(self._of, self._by, root, self._text), [Piece(self._state(), "dim")])
        )
        trouble = self._trouble()
        pieces = [Piece(f" {trouble}", "warning")] if trouble else []
        if not pieces and root is not None and node is not None:
            pieces = cursor_pieces(node, root, self._by)
        self.query_one("#sites-state", Line).tell(partial(spread, pieces, []))

    def _state(self) -> str:
        return "reading names… " if self._is_drawing and self._drawn is None else ""

    def _trouble(self) -> str:
        if self._drawn is None:
            return ""
        if not self._drawn.buffers:
            return _EMPTY[self._drawn.of]
        if not any(buffer.origin is not None for buffer in self._drawn.buffers):
            return _UNWATCHED
        return "" if self._samples else "nothing matches the filter"

    def _draw_footer(self) -> None:
        keys = [
            (self.app.get_key_display(active.binding), active.binding.description, f"screen.{active.binding.action}")
            for active in self.active_bindings.values()
            if active.binding.show and active.enabled and active.node in (self, self.icicle)
        ]
        self.query_one("#sites-footer", Line).tell(partial(key_line, keys))

    def on_icicle_moved(self) -> None:
        """Another place under the cursor."""
        self._draw_lines()

    # ---- what is asked ----

    def action_leave(self) -> None:
        """Out of the filter, then of the zoom, then of the screen."""
        if self._text:
            self._text = ""
            self._want()
        elif self.icicle.zoom:
            self.icicle.action_whole()
        else:
            self.dismiss(None)

    def action_zoom(self) -> None:
        """From the footer."""
        self.icicle.action_zoom()

    def action_out(self) -> None:
        """From the footer."""
        self.icicle.action_out()

    def action_of(self) -> None:
        """Live, suspects, peak, round and round."""
        order = list(Of)
        self._of = order[(order.index(self._of) + 1) % len(order)]
        self._want()
        self._draw_lines()

    def action_by(self) -> None:
        """Bytes or buffers."""
        self._by = By.COUNT if self._by is By.BYTES else By.BYTES
        self._want()

    def action_frames(self) -> None:
        """With or without the frames of system libraries."""
        self._all_frames = not self._all_frames
        self._want()

    def action_search(self) -> None:
        """Ask for a part of a name."""
        hint = "A part of a function's, file's or module's name: only stacks through such a place are shown."
        self.app.push_screen(Ask("Filter call sites", hint, self._text), self._search)

    def _search(self, text: str | None) -> None:
        if text is not None:
            self._text = text.strip()
            self._want()

    def action_buffer(self) -> None:
        """To the first buffer that was allocated through the place under the cursor."""
        node = self.icicle.node
        if node is not None and self._drawn is not None and self.icicle.path:
            names = {shown(place) for place in self.icicle.path}
            for buffer in self._drawn.buffers:
                stack = None if buffer.origin is None else buffer.origin.stack
                if stack is not None and names <= {shown(place) for place in self._symbolizer.names(stack)}:
                    self.dismiss(buffer.inode)
                    return

    def action_write(self) -> None:
        """Ask for a path."""
        hint = "A flame graph (.html, .svg), speedscope (.json) or collapsed stacks (.txt). No file is written over."
        self.app.push_screen(Ask("Write call sites to", hint, "heaptop-sites.html"), self._write)

    def _write(self, path: str | None) -> None:
        if path is None:
            return
        from heaptop.recording.file import write_file  # when it is first asked for
        from heaptop.report.site_exports import FORMATS, content, format_of

        kind = format_of(path)
        try:
            if kind is None:
                raise UsageError(path, "of no known kind", f"end it in {', '.join(FORMATS)}")
            data = content(kind, self._samples, f"heaptop, {self._of.value} buffers", self._by)
            write_file(os.path.expanduser(path), data)
        except HeaptopError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
        else:
            self.notify(printable(f"call sites written to {path}"), markup=False)


def _is_same(wanted: _Wanted, drawn: _Wanted | None) -> bool:
    """Compared by the very buffers first: where nothing changed they are the same tuple."""
    if drawn is None or (wanted.of, wanted.by, wanted.text, wanted.all_frames) != (
        drawn.of,
        drawn.by,
        drawn.text,
        drawn.all_frames,
    ):
        return False
    return wanted.buffers is drawn.buffers or [buffer.inode for buffer in wanted.buffers] == [
        buffer.inode for buffer in drawn.buffers
    ]


def _made(wanted: _Wanted, symbolizer: "Symbolizer") -> tuple[tuple[Sample, ...], Node]:
    """In a thread: names and tree."""
    found = samples(by_stack(wanted.buffers, wanted.by), symbolizer.name)
    if wanted.text:
        text = wanted.text.casefold()
        found = tuple(
            sample
            for sample in found
            if any(text in f"{shown(place)} {place.module}".casefold() for place in sample.places)
        )
    return found, tree(found if wanted.all_frames else map(_without_plumbing, found), wanted.by)


def _without_plumbing(sample: Sample) -> Sample:
    kept = tuple(place for place in sample.places if not is_plumbing(place))
    return Sample(kept or sample.places, sample.size_bytes, sample.count)

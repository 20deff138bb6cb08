"""The content of a buffer, over the whole screen: hex by the page, or a picture. The buffer is held while it is open.

Reads are done one at a time in a thread: one that hangs is told, and the keys go on working.
"""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Select

from heaptop.analysis.picture import FORMATS, Picture, fit, rows
from heaptop.analysis.picture_guess import guesses
from heaptop.analysis.png import png_of
from heaptop.backend.base import Content
from heaptop.errors import HeaptopError, UsageError
from heaptop.recording.file import write_file
from heaptop.tui.renderables.chrome import Piece, key_line, spread
from heaptop.tui.renderables.content import picture_of, picture_text, place_of, position_text
from heaptop.tui.widgets.content_views import HexView, PictureView, Pixels
from heaptop.tui.widgets.dialogs import Ask
from heaptop.tui.widgets.line import Line
from heaptop.units import printable

FIELDS = ("width", "height", "stride", "offset")
_HEX, _PICTURE = frozenset({"goto"}), frozenset({"guess", "write"})
"""Actions of one of the two ways to look only."""


class PictureForm(Horizontal):
    """How the bytes are to be read as a picture."""

    DEFAULT_CSS = """
    PictureForm {
        height: 1;
        & Label { width: auto; margin: 0 1; color: $text-muted; }
        & Input { width: 9; }
        & Select { width: 11; }
    }
    """

    def compose(self) -> ComposeResult:
        """One line of fields."""
        names = [(name, name) for name in FORMATS]
        yield Select(names, id="content-format", compact=True, allow_blank=False)
        for name in FIELDS:
            yield Label(name.capitalize(), markup=False)
            yield Input(id=f"content-{name}", compact=True)

    def fill(self, picture: Picture) -> None:
        """Show this picture; nobody is told."""
        with self.prevent(Input.Changed, Select.Changed):
            self.query_one("#content-format", Select).value = picture.format
            for name in FIELDS:
                self.query_one(f"#content-{name}", Input).value = str(getattr(picture, name))

    def picture(self, size_bytes: int) -> Picture:
        """What is typed.

        Raises:
            UsageError: it does not fit the buffer.
        """
        typed = {name: self.query_one(f"#content-{name}", Input).value for name in FIELDS}
        return picture_of(str(self.query_one("#content-format", Select).value), typed, size_bytes)


class ContentScreen(ModalScreen[None]):
    """See the module. `opener` opens the buffer, in a thread; the screen closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "close", key_display="Esc"),
        Binding("q,x", "dismiss(None)", "Close", show=False),
        Binding("p", "turn", "hex/picture"),
        Binding("g", "goto", "go to"),
        Binding("n", "guess(1)", "next guess"),
        Binding("N", "guess(-1)", "Guess before", show=False),
        Binding("w", "write", "write PNG"),
        Binding("r", "again", "read again"),
        Binding("f5", "again", "Read again", show=False, key_display="F5"),
    ]
    DEFAULT_CSS = """
    ContentScreen { layout: vertical; align: left top; background: $background; }
    #content-title, #content-footer { background: $panel; }
    #content-state { color: $text-muted; }
    """

    def __init__(self, title: str, name: str, opener: Callable[[], Content], *, plain: bool) -> None:
        """`title` is the buffer's for the first line, `name` for files; `plain` is without colours."""
        super().__init__()
        self._title = title
        self._file_name = name
        self._opener = opener
        self._content: Content | None = None
        self._guesses: tuple[Picture, ...] = ()
        self._error = ""
        self._is_wanted = False
        self._is_reading = False
        self.hex = HexView()
        self.picture = PictureView()
        self.picture.plain = plain
        self.form = PictureForm()

    def compose(self) -> ComposeResult:
        """Title, bytes, form, state, keys."""
        yield Line("content-title")
        yield self.hex
        yield self.picture
        yield self.form
        yield Line("content-state")
        yield Line("content-footer")

    async def on_mount(self) -> None:
        """Begin with hex."""
        self._lay_out(pictured=False)
        self.bindings_updated_signal.subscribe(self, lambda _screen: self._draw_footer())
        self.run_worker(self._open(), group="content-open")

    def on_unmount(self) -> None:
        """Let go of the buffer."""
        if self._content is not None:
            self._content.close()

    @property
    def is_pictured(self) -> bool:
        """Whether it is shown as a picture."""
        return bool(self.picture.display)

    def _lay_out(self, *, pictured: bool) -> None:
        self.hex.display = not pictured
        self.picture.display = self.form.display = pictured
        (self.picture if pictured else self.hex).focus()
        self.refresh_bindings()
        self._draw_lines()

    # ---- reading ----

    async def _open(self) -> None:
        opening = asyncio.get_running_loop().run_in_executor(None, self._opener)
        try:
            self._content = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_give_back)
            raise
        except HeaptopError as error:
            self._error = printable(str(error))
            self._draw_lines()
            return
        self._guesses = guesses(self._content.size_bytes)
        if self._guesses:
            self.form.fill(self._guesses[0])
        self.hex.tell(self._content.size_bytes, 0, b"")
        self.refresh_bindings()
        self._want()

    def _want(self) -> None:
        """Read what is to be shown, now or after the read under way."""
        self._is_wanted = True
        if not self._is_reading and self._content is not None:
            self._is_reading = True
            self.run_worker(self._read_wanted(self._content), group="content-read")

    async def _read_wanted(self, content: Content) -> None:
        try:
            while self._is_wanted:
                self._is_wanted, self._error = False, ""
                try:
                    await (self._read_picture(content) if self.is_pictured else self._read_hex(content))
                except HeaptopError as error:
                    self._error = printable(str(error))
                self._draw_lines()
        finally:
            self._is_reading = False

    async def _read_hex(self, content: Content) -> None:
        offset = self.hex.offset_bytes
        (data,) = await asyncio.to_thread(content.read, [(offset, self.hex.page_bytes)])
        self.hex.tell(content.size_bytes, offset, data)

    async def _read_picture(self, content: Content) -> None:
        picture = self.form.picture(content.size_bytes)
        width, height = fit(picture, *self.picture.room)
        self.picture.tell(Pixels(await asyncio.to_thread(lambda: tuple(rows(picture, width, height, content.read)))))

    # ---- drawing ----

    def _draw_lines(self) -> None:
        way = "picture" if self.is_pictured else "hex"
        self.query_one("#content-title", Line).tell(
            partial(spread, [Piece(" content ", "title"), Piece(self._title, "strong")], [Piece(f"{way} ", "dim")])
        )
        state = Piece(f" {self._error}", "warning") if self._error else Piece(f" {self._state()}")
        self.query_one("#content-state", Line).tell(partial(spread, [state], []))

    def _state(self) -> str:
        if self._content is None:
            return "opening…"
        size_bytes = self._content.size_bytes
        if not self.is_pictured:
            return position_text(self.hex.offset_bytes, self.hex.page_bytes, size_bytes)
        try:
            return picture_text(self.form.picture(size_bytes), self._guesses)
        except UsageError as error:
            return printable(str(error))

    def _draw_footer(self) -> None:
        keys = [
            (self.app.get_key_display(active.binding), active.binding.description, f"screen.{active.binding.action}")
            for active in self.active_bindings.values()
            if active.binding.show and active.enabled and active.node is self
        ]
        self.query_one("#content-footer", Line).tell(partial(key_line, keys))

    # ---- what is asked ----

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Each way to look has keys of its own; without a buffer there is only the way out."""
        if action in {"leave", "dismiss"}:
            return True
        if self._content is None:
            return action not in _HEX | _PICTURE | {"turn", "again"}
        return action not in (_HEX if self.is_pictured else _PICTURE)

    def on_hex_view_wanted(self) -> None:
        """Another page."""
        self._want()

    def on_picture_view_resized(self) -> None:
        """Another size."""
        self._want()

    def on_input_changed(self) -> None:
        """Another picture."""
        self._want()

    def on_select_changed(self) -> None:
        """Another format."""
        self._want()

    def on_input_submitted(self) -> None:
        """Enter: done with the form."""
        self.picture.focus()

    def action_leave(self) -> None:
        """From the form to the picture; from there back to the list."""
        if self.form.has_focus_within:
            self.picture.focus()
        else:
            self.dismiss(None)

    def action_turn(self) -> None:
        """The other way to look."""
        self._lay_out(pictured=not self.is_pictured)
        self._want()

    def action_again(self) -> None:
        """What is in it at this moment."""
        self._want()

    def action_guess(self, step: int) -> None:
        """The next or the previous guess, round and round."""
        if self._content is None or not self._guesses:
            return
        try:
            at = self._guesses.index(self.form.picture(self._content.size_bytes)) + step
        except (ValueError, UsageError):
            at = 0
        self.form.fill(self._guesses[at % len(self._guesses)])
        self._want()

    def action_goto(self) -> None:
        """Ask for an offset."""
        hint = "An offset in bytes: 0x1000, 4096 or 4K."
        self.app.push_screen(Ask("Go to", hint, f"{self.hex.offset_bytes:#x}"), self._go_to)

    def _go_to(self, text: str | None) -> None:
        if text is None:
            return
        try:
            self.hex.action_go(place_of(text))
        except UsageError as error:
            self._error = str(error)
            self._draw_lines()

    def action_write(self) -> None:
        """Ask for a path."""
        hint = "The whole picture, at its own size. A file that exists is left alone."
        self.app.push_screen(Ask("Write a PNG to", hint, f"{self._file_name}.png"), self._write_to)

    def _write_to(self, path: str | None) -> None:
        if path is not None and self._content is not None:
            self.run_worker(self._write(self._content, os.path.expanduser(path)), group="content-write")

    async def _write(self, content: Content, path: str) -> None:
        try:
            picture = self.form.picture(content.size_bytes)
            await asyncio.to_thread(lambda: write_file(path, png_of(picture, content.read)))
        except HeaptopError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
        else:
            self.notify(printable(f"picture written to {path}"), markup=False)


def _give_back(opening: "asyncio.Future[Content]") -> None:
    """Close a buffer that came when nobody waited for it any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()

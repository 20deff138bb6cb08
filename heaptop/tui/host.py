"""The app's life: it draws a first frame before it knows its source, then loads the rest, and ends well."""

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.geometry import Size
from textual.screen import Screen
from textual.theme import Theme

from heaptop.backend.base import Backend
from heaptop.scan import floor
from heaptop.tui import bindings
from heaptop.tui.messages import PollerBroke, SnapshotArrived, SourceFound, SourceLost, SourceRefused
from heaptop.tui.poller import Broke, Event, Failed, Found, Looked, Poller
from heaptop.tui.terminal import AsciiFilter, speaks_unicode
from heaptop.tui.themes import DEFAULT, VARIABLES, load_theme, load_themes
from heaptop.tui.widgets.line import Line
from heaptop.tui.widgets.views import Views
from heaptop.units import printable

if TYPE_CHECKING:
    from heaptop.backend.select import Opened

TINY_COLUMNS, TINY_LINES = 40, 10
"""Below this one line says so."""

WIDE_COLUMNS = 120
"""From here on there is room for a detail pane at the right."""

TALL_LINES = 40
"""From here on the trend stands on top."""


GARBAGE = (50_000, 20, 50)
"""How rarely garbage is looked for: what a look brings is none, and to go through 50,000 buffers takes longer than a
tick may.
"""


class MainScreen(Screen[object], inherit_bindings=False):
    """Tab changes the view here; Textual's own would move between widgets."""

    BINDINGS: ClassVar[list[BindingType]] = bindings.SCREEN


class HostApp(App[int]):
    """One terminal, one source. What is not seen in the first frame is loaded after it, by `furnish`."""

    CSS_PATH = "shell.tcss"
    TITLE = "heaptop"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.REPLAY, *bindings.APP]

    def __init__(
        self,
        source: "Backend | Callable[[], Opened] | None" = None,
        *,
        interval_s: float | None = 1.0,
        theme: str | None = None,
        clock: Callable[[], float] = time.time,
        poller: Poller | None = None,
    ) -> None:
        """`source` is as `Poller` has it. A `poller` may already be running."""
        self._wanted_theme = theme
        self._first_theme = load_theme(theme or DEFAULT) or load_theme(DEFAULT)
        if self._first_theme is not None:  # before Textual makes its colours of another
            self.set_reactive(App.theme, self._first_theme.name)
        super().__init__()
        if poller is None:
            assert source is not None
            poller = Poller(source, interval_s, clock)
        self.poller = poller
        self.clock = clock
        self.lines: dict[str, Line] = {}
        self.ascii = not speaks_unicode(os.environ)

    # ---- the first frame ----

    def compose(self) -> ComposeResult:
        """Header, tabs, room for the view, footer: no more than has something to say at once."""
        yield self.new_line("header")
        yield self.new_line("tabs")
        yield Views(id="views")
        yield self.new_line("footer")

    def new_line(self, name: str) -> Line:
        """One of `lines`."""
        self.lines[name] = line = Line(name)
        return line

    def get_default_screen(self) -> Screen[object]:
        """The screen under everything."""
        return MainScreen(id="_default", classes=" ".join(name for name, fits in _measures(self.size).items() if fits))

    def on_resize(self, event: events.Resize) -> None:
        """Under 40x10 one line says so; from 40 lines the trend stands on top."""
        if self.screen_stack:
            self.screen_stack[0].update_classes(_measures(event.size))
        self.redraw()

    def redraw(self) -> None:
        """Draw the lines around the view."""

    def on_mount(self) -> None:
        """Be ready to end, and draw."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: a test
                asyncio.get_running_loop().add_signal_handler(number, self.exit, 0)
        self.redraw()
        self.call_after_refresh(self._go_on)

    # ---- what comes after it ----

    async def _go_on(self) -> None:
        """The first frame is on the screen: load the rest, and begin to show what is found."""
        floor.give()
        if not self.poller.started:
            self.poller.start()
        self.stylesheet.read(os.path.join(os.path.dirname(__file__), "heaptop.tcss"))
        self.stylesheet.parse()
        await self.furnish()
        if self.poller.backend is not None:
            await self.meet_source(self.poller.backend)
        self.poller.attach(self._post_event)
        self._load_themes()
        if not gc.isenabled():
            gc.freeze()  # what was made while modules were loaded, stays
            gc.set_threshold(*GARBAGE)
            gc.enable()

    async def furnish(self) -> None:
        """Bring what was not in the first frame."""

    async def meet_source(self, backend: Backend) -> None:
        """The source is known."""

    def _post_event(self, event: Event) -> None:
        """In the poller's thread: pass an event on to the app's."""
        if isinstance(event, Looked):
            self.post_message(SnapshotArrived(event.frame))
        elif isinstance(event, Failed):
            self.post_message(SourceLost(event.error))
        elif isinstance(event, Found):
            self.post_message(SourceFound(event.backend, event.note))
        elif isinstance(event, Broke):
            self.post_message(PollerBroke(event.error))
        else:
            self.post_message(SourceRefused())

    async def on_source_found(self, message: SourceFound) -> None:
        """Show what can be done with it, and why it was chosen."""
        await self.meet_source(message.backend)
        if message.note:
            self.say(message.note)
        self.redraw()

    def on_source_refused(self) -> None:
        """End: who started the app says why."""
        self.exit()

    def on_poller_broke(self, message: PollerBroke) -> None:
        """A bug: end with its traceback."""
        raise message.error

    def on_unmount(self) -> None:
        """However the app ends: the thread ends, the backend is closed."""
        self.poller.close()

    # ---- looks ----

    @property
    def available_themes(self) -> dict[str, Theme]:
        """Textual's and heaptop's; the one that is shown first is there before the others."""
        first = self._first_theme
        return super().available_themes | ({} if first is None else {first.name: first})

    def _load_themes(self) -> None:
        loaded = load_themes()
        for theme in loaded.themes:
            self.register_theme(theme)
        for trouble in loaded.troubles:
            self.say(trouble, severity="warning")
        if self._wanted_theme not in (None, self.theme):
            if self._wanted_theme in self.available_themes:
                self.theme = self._wanted_theme
            else:
                names = ", ".join(sorted(self.available_themes))
                self.say(f"no theme {self._wanted_theme!r}: take one of {names}", severity="warning")

    def get_css_variables(self) -> dict[str, str]:
        """Textual's variables, with heaptop's own where the theme does not set them."""
        variables = super().get_css_variables()
        for name, default in VARIABLES.items():
            variables.setdefault(name, variables[default])
        return variables

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, and the one for terminals that show ASCII only."""
        filters = super().get_line_filters()
        return [*filters, AsciiFilter()] if self.ascii else filters

    def get_key_display(self, binding: Binding) -> str:
        """Keys as keyboards spell them."""
        return binding.key_display or bindings.KEY_NAMES.get(binding.key) or super().get_key_display(binding)

    def say(self, text: str, *, severity: Literal["information", "warning", "error"] = "information") -> None:
        """Tell the user a line."""
        self.notify(printable(text), severity=severity, markup=False)


def _measures(size: Size) -> dict[str, bool]:
    """Classes of the screen by its size."""
    return {
        "-tiny": size.width < TINY_COLUMNS or size.height < TINY_LINES,
        "-narrow": size.width < WIDE_COLUMNS,
        "-tall": size.height >= TALL_LINES,
    }

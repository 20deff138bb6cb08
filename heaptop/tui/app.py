"""The app: the shell around the views. It owns the poller and what is shown; views draw it."""

import asyncio
import contextlib
import importlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import ClassVar, TypeVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.filter import LineFilter
from textual.widgets import ContentSwitcher

from heaptop.analysis.filter import Filter, FilterContext
from heaptop.backend.base import Allocator, Backend
from heaptop.model import Buffer, Process, ProcessId
from heaptop.session import Update
from heaptop.tui import bindings
from heaptop.tui.held import Held
from heaptop.tui.messages import PollerBroke, SnapshotArrived, SourceLost
from heaptop.tui.poller import Event, Failed, Looked, Poller
from heaptop.tui.renderables.chrome import header_line, key_line, tabs_line
from heaptop.tui.shown import Shown, header_facts, state_line
from heaptop.tui.terminal import AsciiFilter, speaks_unicode
from heaptop.tui.themes import DEFAULT, VARIABLES, load_themes
from heaptop.tui.view import View
from heaptop.tui.widgets.banner import Banner
from heaptop.tui.widgets.line import Line
from heaptop.units import printable

T = TypeVar("T")

VIEWS: tuple[tuple[int, str, str], ...] = (
    (1, "Heaps", "heaptop.tui.views.heaps:HeapsView"),
    (2, "Buffers", "heaptop.tui.views.buffers:BuffersView"),
    (3, "Processes", "heaptop.tui.views.processes:ProcessesView"),
    (4, "CMA", "heaptop.tui.views.cma:CmaView"),
    (6, "Lab", "heaptop.tui.views.lab:LabView"),
)
"""Number, tab and class of each view; a view's module is imported when it is first shown."""

WIDE_COLUMNS = 120
"""From here on there is room for a detail pane at the right."""


class HeaptopApp(App[int]):
    """One terminal, one backend. Offers `heaptop.tui.view.Shell` to its views."""

    CSS_PATH = "heaptop.tcss"
    TITLE = "heaptop"
    BINDINGS: ClassVar[list[BindingType]] = bindings.APP

    def __init__(
        self,
        backend: Backend,
        *,
        note: str = "",
        interval_s: float | None = 1.0,
        readonly: bool = False,
        filter_text: str | None = None,
        theme: str | None = None,
        clock: Callable[[], float] = time.time,
        poller: Poller | None = None,
    ) -> None:
        """`note` says which source was chosen and why. `poller` may already be running on the same backend."""
        super().__init__()
        self.poller = poller or Poller(backend, interval_s, clock)
        self.readonly = readonly
        self.ascii = not speaks_unicode(os.environ)
        self.held = Held(self._held_changed)
        self.shown = Shown()
        self._backend = backend
        self._note = note
        self._first_filter = filter_text
        self._first_theme = theme
        self._views: dict[int, View] = {}
        self._current = 2

    # ---- what views may ask (Shell) ----

    @property
    def update(self) -> Update | None:
        """What is shown."""
        return self.shown.update

    @property
    def buffers(self) -> Mapping[int, Buffer]:
        """Buffers of the shown update by inode, with those just gone."""
        return self.shown.frame.buffers if self.shown.frame else {}

    @property
    def processes(self) -> Mapping[ProcessId, Process]:
        """Processes of the shown update."""
        return self.shown.frame.processes if self.shown.frame else {}

    @property
    def filter(self) -> Filter | None:
        """The filter that is on."""
        return self.shown.filter

    @property
    def filter_context(self) -> FilterContext:
        """What filters need to know of the shown update."""
        return self.shown.context

    @property
    def since_mark_only(self) -> bool:
        """Whether only what changed since the mark is to be shown."""
        return self.shown.since_mark_only

    @property
    def allocator(self) -> Allocator | None:
        """Where test buffers can be had."""
        return self._backend if not self.readonly and isinstance(self._backend, Allocator) else None

    @property
    def narrow(self) -> bool:
        """Whether there is no room for a detail pane at the right."""
        return self.size.width < WIDE_COLUMNS

    @property
    def view(self) -> View | None:
        """The view on the screen."""
        return self._views.get(self._current)

    def now(self) -> float:
        """Seconds since the epoch of the shown update."""
        return self.shown.now or 0.0

    def refresh_now(self) -> None:
        """Take a look at once."""
        self.poller.refresh_now()

    def submit(self, job: Callable[[Backend], T]) -> "Future[T]":
        """Run a job in the poller's thread, between two scans."""
        return self.poller.submit(job)

    # ---- life ----

    def compose(self) -> ComposeResult:
        """Header, tabs, banner, the view, state, footer."""
        yield Line("header")
        yield Line("tabs")
        yield Banner("banner")
        yield ContentSwitcher(id="views")
        yield Line("state")
        yield Line("footer")

    async def on_mount(self) -> None:
        """Show the first view and begin to look."""
        self._load_themes()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: a test
                asyncio.get_running_loop().add_signal_handler(number, self.exit, 0)
        self.poller.attach(self._post_event)
        if not self.poller.started:
            self.poller.start()
        await self.action_go(self._current)

    def _post_event(self, event: Event) -> None:
        """In the poller's thread: pass an event on to the app's."""
        if isinstance(event, Looked):
            self.post_message(SnapshotArrived(event.frame))
        elif isinstance(event, Failed):
            self.post_message(SourceLost(event.error))
        else:
            self.post_message(PollerBroke(event.error))

    def _load_themes(self) -> None:
        loaded = load_themes()
        for theme in loaded.themes:
            self.register_theme(theme)
        for trouble in loaded.troubles:
            self.say(trouble, severity="warning")
        if self._first_theme in self.available_themes:
            self.theme = self._first_theme
        elif DEFAULT in self.available_themes:
            self.theme = DEFAULT
        if self._first_theme not in (None, self.theme):
            names = ", ".join(sorted(self.available_themes))
            self.say(f"no theme {self._first_theme!r}: take one of {names}", severity="warning")

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

    # ---- what arrives ----

    def on_snapshot_arrived(self, message: SnapshotArrived) -> None:
        """A scan is done: draw it, unless the screen is held."""
        self.shown.newest = message.frame
        self.shown.error = None
        self._say_lost()
        if self.shown.held is None:
            self._draw_view()
        self._draw_lines()

    def on_source_lost(self, message: SourceLost) -> None:
        """Say why and what to do, and go on with what is there; the poller tries again."""
        self.shown.error = message.error
        self._say_lost()
        self._draw_lines()

    def on_poller_broke(self, message: PollerBroke) -> None:
        """A bug: end with its traceback."""
        raise message.error

    def _say_lost(self) -> None:
        error = self.shown.error
        self.query_one(Banner).say(printable(str(error)) if error else "")

    def _held_changed(self) -> None:
        self.refresh_now()
        self._draw_view()

    # ---- drawing ----

    def _draw_view(self) -> None:
        if self.update is not None and self.view is not None:
            self.view.show(self.update)

    def _draw_lines(self) -> None:
        facts = header_facts(self.shown, self.poller.backend.source, self.poller.interval_s, self.poller.scanning_s)
        status = self.view.status_text() if self.view is not None else ""
        tabs = [(number, title) for number, title, _ in VIEWS]
        self.query_one("#header", Line).tell(lambda width: header_line(facts, width))
        self.query_one("#tabs", Line).tell(lambda width: tabs_line(tabs, self._current, width))
        self.query_one("#state", Line).tell(lambda width: state_line(self.shown, status, width))

    def _draw_footer(self) -> None:
        keys = [
            (self.get_key_display(active.binding), active.binding.description, active.binding.action)
            for active in self.screen.active_bindings.values()
            if active.binding.show and active.enabled
        ]
        self.query_one("#footer", Line).tell(lambda width: key_line(keys, width))

    # ---- actions ----

    async def action_go(self, number: int) -> None:
        """Show a view; it is made when it is first shown."""
        path = next((path for known, _, path in VIEWS if known == number), None)
        if path is None:
            return
        switcher = self.query_one(ContentSwitcher)
        if number not in self._views:
            module, name = path.split(":")
            try:
                view_class: type[View] = getattr(importlib.import_module(module), name)
            except ModuleNotFoundError:
                return
            view = view_class(id=f"view-{number}")
            await switcher.add_content(view)
            self._views[number] = view
        self._current = number
        switcher.current = f"view-{number}"
        self._views[number].focus_content()
        self._draw_view()
        self._draw_lines()
        self._draw_footer()

    def say(self, text: str, *, severity: str = "information") -> None:
        """Tell the user a line."""
        self.notify(printable(text), severity=severity, markup=False)  # type: ignore[arg-type]

"""The shell around the views: it owns the poller and what is shown, draws the lines, and brings views to the screen."""

import asyncio
import contextlib
import importlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import ClassVar, Literal, TypeVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from heaptop.analysis.filter import Filter, FilterContext
from heaptop.backend.base import Allocator, Attentive, Backend
from heaptop.model import Buffer, Process, ProcessId
from heaptop.session import Mark, Update
from heaptop.tui import bindings
from heaptop.tui.held import Held
from heaptop.tui.messages import PollerBroke, SnapshotArrived, SourceLost
from heaptop.tui.poller import Event, Failed, Looked, Poller
from heaptop.tui.renderables.chrome import header_line, key_line, tabs_line, tiny_line
from heaptop.tui.shown import Shown, header_facts, state_line, trend_line
from heaptop.tui.tabs import BUFFERS, LAB, PROCESSES, VIEWS, tab_titles
from heaptop.tui.terminal import AsciiFilter, speaks_unicode
from heaptop.tui.themes import DEFAULT, VARIABLES, load_themes
from heaptop.tui.view import Selecting, View
from heaptop.tui.widgets.banner import Banner
from heaptop.tui.widgets.filter_bar import FilterBar
from heaptop.tui.widgets.line import Line
from heaptop.units import printable

T = TypeVar("T")

WIDE_COLUMNS = 120
"""From here on there is room for a detail pane at the right."""

TALL_LINES = 40
"""From here on the trend stands on top."""

TINY_COLUMNS, TINY_LINES = 40, 10
"""Below this one line says so."""

SLOW_SCAN_S = 1.0
"""How often the header is drawn anew while no scan ends, to tell how long one takes."""


class MainScreen(Screen[object], inherit_bindings=False):
    """Tab changes the view here; Textual's own would move between widgets."""

    BINDINGS: ClassVar[list[BindingType]] = bindings.SCREEN


class ShellApp(App[int]):
    """One terminal, one backend. Offers `heaptop.tui.view.Shell` to its views."""

    CSS_PATH = "heaptop.tcss"
    TITLE = "heaptop"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings.REPLAY, *bindings.APP]

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
        self.clock = clock
        self.readonly = readonly
        self.ascii = not speaks_unicode(os.environ)
        self.held = Held(self._held_changed)
        self.shown = Shown()
        self._backend = backend
        self._note = note
        self._first_filter = filter_text
        self._first_theme = theme
        self._views: dict[int, View] = {}
        self._current = 1

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

    def attend(self, pids: frozenset[int]) -> None:
        """Have these processes looked at closely from the next look on: their details are shown."""
        self.poller.submit(lambda backend: backend.attend(pids) if isinstance(backend, Attentive) else None)

    def references(self, inode: int) -> tuple[int, ...]:
        """File counts of a buffer over time, oldest first; empty where it never changed."""
        return self.shown.frame.references.get(inode, ()) if self.shown.frame else ()

    def touched_since(self, number: int) -> frozenset[int] | None:
        """Inodes that came, went or changed after update `number`; None where that is too long ago to tell."""
        return self.shown.frame.touched_since(number) if self.shown.frame else None

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
    def mark(self) -> Mark | None:
        """The mark that is set."""
        return self.shown.mark

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
        yield Line("tiny")
        yield Line("header")
        yield Line("tabs")
        yield Line("trend")
        yield Banner("banner")
        yield ContentSwitcher(id="views")
        yield FilterBar(id="filter-bar")
        yield Line("state")
        yield Line("footer")

    async def on_mount(self) -> None:
        """Show the first view and begin to look."""
        self._load_themes()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: a test
                asyncio.get_running_loop().add_signal_handler(number, self.exit, 0)
        self.poller.attach(self._post_event)
        if not self.poller.started:
            self.poller.start()
        self.screen.bindings_updated_signal.subscribe(self, lambda _screen: self._draw_footer())
        self.set_interval(SLOW_SCAN_S, self.redraw)
        await self.action_go(self._current)
        if self._first_filter:
            self.set_filter(self._first_filter)
        if self._note:
            self.say(self._note)

    def get_key_display(self, binding: Binding) -> str:
        """Keys as keyboards spell them."""
        return binding.key_display or bindings.KEY_NAMES.get(binding.key) or super().get_key_display(binding)

    def get_default_screen(self) -> Screen[object]:
        """The screen under everything."""
        return MainScreen(id="_default")

    def on_unmount(self) -> None:
        """However the app ends: test buffers are freed, the thread ends, the backend is closed."""
        self.held.close()
        self.poller.close()

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
        if self.shown.held is None:
            self._draw_view()
        self.redraw()

    def on_source_lost(self, message: SourceLost) -> None:
        """Say why and what to do, and go on with what is there; the poller tries again."""
        self.shown.error = message.error
        self.redraw()

    def on_poller_broke(self, message: PollerBroke) -> None:
        """A bug: end with its traceback."""
        raise message.error

    def on_filter_bar_changed(self, message: FilterBar.Changed) -> None:
        """Live: take the filter as far as it is typed."""
        self.shown.type_filter(message.text)
        if self.view is not None:
            self.view.apply_filter(self.shown.filter)
        self.redraw()

    def on_filter_bar_done(self) -> None:
        """Back to the list; the bar stays while there is a filter."""
        if not self.shown.filter_text.strip():
            self.query_one(FilterBar).close()
        self._focus_view()

    def on_resize(self, event: events.Resize) -> None:
        """Under 40x10 one line says so; from 40 lines the trend stands on top."""
        tiny = event.size.width < TINY_COLUMNS or event.size.height < TINY_LINES
        screen = self.screen_stack[0]
        screen.set_class(tiny, "-tiny")
        screen.set_class(self.narrow, "-narrow")
        screen.set_class(event.size.height >= TALL_LINES, "-tall")
        self.redraw()

    def _held_changed(self) -> None:
        self.refresh_now()
        self._draw_view()

    # ---- drawing ----

    def _draw_view(self) -> None:
        if self.update is not None and self.view is not None:
            self.view.show(self.update)

    def redraw(self) -> None:
        """Draw the lines around the view."""
        if not self.screen_stack or not self.screen_stack[0].query(Line):
            return  # not composed yet, or being taken down
        main, shown = self.screen_stack[0], self.shown
        facts = header_facts(shown, self.poller.backend.source, self.poller.interval_s, self.poller.scanning_s)
        status = self.view.status_text() if self.view is not None else ""
        tabs = tab_titles(self.tabs, self.update)
        main.query_one("#tiny", Line).tell(partial(tiny_line, facts))
        main.query_one("#header", Line).tell(partial(header_line, facts))
        main.query_one("#tabs", Line).tell(partial(tabs_line, tabs, self._current))
        main.query_one("#trend", Line).tell(partial(trend_line, shown.frame))
        main.query_one("#state", Line).tell(partial(state_line, shown, status))
        main.query_one(Banner).say(shown.banner)
        main.query_one(FilterBar).say(shown.filter_error)

    def _draw_footer(self) -> None:
        main = self.screen_stack[0]
        if self.screen is main:
            keys = [
                (self.get_key_display(active.binding), active.binding.description, active.binding.action)
                for active in main.active_bindings.values()
                if active.binding.show and active.enabled
            ]
            main.query_one("#footer", Line).tell(partial(key_line, keys))

    def _focus_view(self) -> None:
        if self.view is not None:
            self.view.focus_content()

    # ---- going about ----

    @property
    def tabs(self) -> tuple[tuple[int, str, str], ...]:
        """The views there are: no Lab where nothing can be allocated."""
        return tuple(tab for tab in VIEWS if tab[0] != LAB or self.allocator is not None)

    def go(self, number: int) -> None:
        """Show the view with this number."""
        self.run_worker(self.action_go(number), exclusive=True, group="go")

    async def action_go(self, number: int) -> None:
        """Show a view; it is made when it is first shown."""
        path = next((path for known, _, path in self.tabs if known == number), None)
        if path is None:
            return
        switcher = self.query_one(ContentSwitcher)
        if number not in self._views:
            module, name = path.split(":")
            view_class: type[View] = getattr(importlib.import_module(module), name)
            self._views[number] = view = view_class(id=f"view-{number}")
            await switcher.add_content(view)
        self._current = number
        switcher.current = f"view-{number}"
        self._focus_view()
        self._draw_view()
        self.redraw()
        self._draw_footer()

    async def action_next_view(self, step: int) -> None:
        """The next tab, round and round."""
        numbers = [number for number, _, _ in self.tabs]
        await self.action_go(numbers[(numbers.index(self._current) + step) % len(numbers)])

    def go_to_buffer(self, inode: int) -> None:
        """Show this buffer in the Buffers view."""
        self.run_worker(self._go_and_select(BUFFERS, inode), exclusive=True, group="go")

    def go_to_process(self, process: ProcessId) -> None:
        """Show this process in the Processes view."""
        self.run_worker(self._go_and_select(PROCESSES, process), exclusive=True, group="go")

    async def _go_and_select(self, number: int, key: int | ProcessId) -> None:
        await self.action_go(number)
        view = self._views[number]
        assert isinstance(view, Selecting)
        if not view.select(key):
            self.set_filter("")
            if not view.select(key):
                self.say("it is not there any more", severity="warning")

    def set_filter(self, text: str) -> None:
        """Replace the filter, as if typed."""
        bar = self.query_one(FilterBar)
        if text:
            bar.show_text(text)
        else:
            bar.close()
        self.on_filter_bar_changed(FilterBar.Changed(text))
        self._focus_view()

    def say(self, text: str, *, severity: Literal["information", "warning", "error"] = "information") -> None:
        """Tell the user a line."""
        self.notify(printable(text), severity=severity, markup=False)

    def copy(self, text: str) -> None:
        """Put text on the terminal's clipboard."""
        self.copy_to_clipboard(text)
        self.say(f"copied: {text[:60]}{'…' if len(text) > 60 else ''}")

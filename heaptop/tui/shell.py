"""The shell around the views: it owns the poller and what is shown, draws the lines, and brings views to the screen."""

import importlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from heaptop.backend.base import Allocator, Attentive, Backend
from heaptop.tui.held import Held
from heaptop.tui.host import WIDE_COLUMNS, HostApp
from heaptop.tui.messages import SnapshotArrived, SourceLost
from heaptop.tui.renderables.chrome import header_line, key_line, tabs_line, tiny_line
from heaptop.tui.shown import Shown, header_facts, state_line, trend_line
from heaptop.tui.tabs import BUFFERS, LAB, PROCESSES, VIEWS, tab_titles
from heaptop.tui.widgets.line import Draw
from heaptop.tui.widgets.views import Views

if TYPE_CHECKING:
    from heaptop.analysis.filter import Filter, FilterContext
    from heaptop.model import Buffer, Process, ProcessId
    from heaptop.session import Mark, Update
    from heaptop.tui.frame import Sums
    from heaptop.tui.view import Selecting, View
    from heaptop.tui.widgets.banner import Banner
    from heaptop.tui.widgets.filter_bar import FilterBar

T = TypeVar("T")

SLOW_SCAN_S = 1.0
"""How often the header is drawn anew while no scan ends, to tell how long one takes."""


class ShellApp(HostApp):
    """The views and the lines around them. Offers `heaptop.tui.view.Shell` to its views."""

    def __init__(
        self,
        source: "Backend | Callable[[], Any] | None" = None,
        *,
        source_name: str = "",
        readonly: bool = False,
        filter_text: str | None = None,
        **options: Any,
    ) -> None:
        """`source_name` is shown until it is open. See HostApp."""
        super().__init__(source, **options)
        self.readonly = readonly
        self.held = Held(self._held_changed)
        self.shown = Shown()
        self.banner: Banner | None = None
        self.filter_bar: FilterBar | None = None
        self._source_name = source_name
        self._first_filter = filter_text
        self._views: dict[int, View] = {}
        self._current = 1

    # ---- what views may ask (Shell) ----

    @property
    def update(self) -> "Update | None":
        """What is shown."""
        return self.shown.update

    @property
    def buffers(self) -> "Mapping[int, Buffer]":
        """Buffers of the shown update by inode, with those just gone."""
        return self.shown.frame.buffers if self.shown.frame else {}

    @property
    def processes(self) -> "Mapping[ProcessId, Process]":
        """Processes of the shown update."""
        return self.shown.frame.processes if self.shown.frame else {}

    @property
    def sums(self) -> "Sums":
        """Sums of the buffers of the shown update."""
        from heaptop.tui.frame import NOTHING

        return self.shown.frame.sums if self.shown.frame else NOTHING

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
    def filter(self) -> "Filter | None":
        """The filter that is on."""
        return self.shown.filter

    @property
    def filter_context(self) -> "FilterContext":
        """What filters need to know of the shown update."""
        return self.shown.context

    @property
    def since_mark_only(self) -> bool:
        """Whether only what changed since the mark is to be shown."""
        return self.shown.since_mark_only

    @property
    def mark(self) -> "Mark | None":
        """The mark that is set."""
        return self.shown.mark

    @property
    def allocator(self) -> Allocator | None:
        """Where test buffers can be had."""
        backend: object = self.poller.backend
        return backend if not self.readonly and isinstance(backend, Allocator) else None

    @property
    def narrow(self) -> bool:
        """Whether there is no room for a detail pane at the right."""
        return self.size.width < WIDE_COLUMNS

    @property
    def view(self) -> "View | None":
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

    async def furnish(self) -> None:
        """The first view, then what is not always seen."""
        from heaptop.tui.widgets.banner import Banner
        from heaptop.tui.widgets.filter_bar import FilterBar

        main = self.screen_stack[0]
        with self.batch_update():
            await self.action_go(self._current)
            self.banner, self.filter_bar = Banner("banner"), FilterBar(id="filter-bar")
            await main.mount(self.new_line("tiny"), before="#header")
            await main.mount(self.new_line("trend"), self.banner, before="#views")
            await main.mount(self.filter_bar, self.new_line("state"), before="#footer")
        main.bindings_updated_signal.subscribe(self, lambda _screen: self._draw_footer())
        self.set_interval(SLOW_SCAN_S, self._tell_slow_scan)
        if self._first_filter:
            self.set_filter(self._first_filter)

    def on_unmount(self) -> None:
        """However the app ends, test buffers are freed."""
        self.held.close()

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

    def on_filter_bar_changed(self, message: "FilterBar.Changed") -> None:
        """Live."""
        self.take_filter(message.text)

    def take_filter(self, text: str) -> None:
        """Take the filter as far as it is typed."""
        self.shown.type_filter(text)
        if self.view is not None:
            self.view.apply_filter(self.shown.filter)
        self.redraw()

    def on_filter_bar_done(self) -> None:
        """Back to the list; the bar stays while there is a filter."""
        if not self.shown.filter_text.strip() and self.filter_bar is not None:
            self.filter_bar.close()
        self._focus_view()

    def _held_changed(self) -> None:
        self.refresh_now()
        self._draw_view()

    # ---- drawing ----

    def _draw_view(self) -> None:
        if self.update is not None and self.view is not None:
            self.view.show(self.update)

    def redraw(self) -> None:
        """Draw the lines around the view."""
        shown, backend = self.shown, self.poller.backend
        source = self._source_name if backend is None else backend.source
        facts = header_facts(shown, source, self.poller.interval_s, self.poller.scanning_s)
        status = self.view.status_text() if self.view is not None else ""
        tabs = tab_titles(self.tabs, self.update)
        says: dict[str, Draw] = {
            "tiny": partial(tiny_line, facts),
            "header": partial(header_line, facts),
            "tabs": partial(tabs_line, tabs, self._current),
            "trend": partial(trend_line, shown.frame),
            "state": partial(state_line, shown, status),
        }
        for name, draw in says.items():
            if name in self.lines:
                self.lines[name].tell(draw)
        if self.banner is not None and self.filter_bar is not None:
            self.banner.say(shown.banner)
            self.filter_bar.say(shown.filter_error)

    def _tell_slow_scan(self) -> None:
        if (self.poller.scanning_s or 0) > SLOW_SCAN_S:
            self.redraw()

    def _draw_footer(self) -> None:
        main = self.screen_stack[0]
        if self.screen is main:
            keys = [
                (self.get_key_display(active.binding), active.binding.description, active.binding.action)
                for active in main.active_bindings.values()
                if active.binding.show and active.enabled
            ]
            self.lines["footer"].tell(partial(key_line, keys))

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
        if number not in self._views:
            module, name = path.split(":")
            view_class: type[View] = getattr(importlib.import_module(module), name)
            self._views[number] = view_class(id=f"view-{number}")
        self._current = number
        await self.screen_stack[0].query_one(Views).show(self._views[number])
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

    def go_to_process(self, process: "ProcessId") -> None:
        """Show this process in the Processes view."""
        self.run_worker(self._go_and_select(PROCESSES, process), exclusive=True, group="go")

    async def _go_and_select(self, number: int, key: "int | ProcessId") -> None:
        await self.action_go(number)
        view = cast("Selecting", self._views[number])
        if not view.select(key):
            self.set_filter("")
            if not view.select(key):
                self.say("it is not there any more", severity="warning")

    def set_filter(self, text: str) -> None:
        """Replace the filter, as if typed."""
        if self.filter_bar is not None and text:
            self.filter_bar.show_text(text)
        elif self.filter_bar is not None:
            self.filter_bar.close()
        self.take_filter(text)
        self._focus_view()

    def copy(self, text: str) -> None:
        """Put text on the terminal's clipboard."""
        self.copy_to_clipboard(text)
        self.say(f"copied: {text[:60]}{'…' if len(text) > 60 else ''}")

"""The app: what each key and each command of the palette does. The shell below it shows and jumps."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand
from textual.screen import Screen

from heaptop.backend.base import ContentReader, FdAt, whole_capture
from heaptop.errors import HeaptopError
from heaptop.tui import bindings
from heaptop.tui.messages import EventsTold, SnapshotArrived
from heaptop.tui.tabs import LAB
from heaptop.tui.timekeeping import TimekeepingApp
from heaptop.units import printable

if TYPE_CHECKING:
    from heaptop.analysis.sites import PeakKeeper
    from heaptop.model import Buffer, Process, ProcessId
    from heaptop.tui.event_log import EventLog
    from heaptop.tui.event_screen import EventScreen
    from heaptop.tui.live import Live
    from heaptop.tui.sites_screen import SitesScreen
    from heaptop.tui.watcher import Told
    from heaptop.tui.widgets.dialogs import Choice
    from heaptop.tui.widgets.event_panel import EventPanel

END_S = 2.0
"""How long the end waits for the watcher of events; what it watches with is gone with this process anyway."""


class HeaptopApp(TimekeepingApp):
    """One terminal, one backend."""

    _live: "Live | None" = None
    _peak: "PeakKeeper | None" = None
    _event_panel: "EventPanel | None" = None
    _event_screen: "EventScreen | None" = None
    _sites_screen: "SitesScreen | None" = None

    @property
    def live(self) -> "Live":
        """Events as they happen."""
        if self._live is None:
            from heaptop.tui.live import Live

            self._live = Live(self.poller, self._tell_events)
        return self._live

    @property
    def peak(self) -> "PeakKeeper":
        """The moment with most bytes."""
        if self._peak is None:
            from heaptop.analysis.sites import PeakKeeper

            self._peak = PeakKeeper()
        return self._peak

    def _tell_events(self, log: "EventLog", told: "Told") -> None:
        """In the watcher's thread: pass it on to the app's."""
        self.post_message(EventsTold(log, told))

    def on_unmount(self) -> None:
        """Events end first: who watches them may be waiting for the poller."""
        if self._live is not None:
            self._live.turn_off(END_S)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What cannot work is not offered."""
        if action == "go" and parameters == (LAB,):
            return self.allocator is not None
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Type a filter."""
        if self.filter_bar is not None:
            self.filter_bar.open(self.shown.filter_text)

    async def action_back(self) -> None:
        """Esc: close the details, else clear the filter."""
        if self.view is not None and self.view.close_details():
            return
        if self.filter_bar is not None and self.filter_bar.display:
            self.action_clear_filter()

    def action_clear_filter(self) -> None:
        """Esc in the filter: all rows again."""
        self.set_filter("")

    def action_pause(self) -> None:
        """Hold the screen still, or show the newest again. Looking goes on, to tell how much has changed.

        A recording plays, or stands.
        """
        if self.playback is not None:
            self.toggle_play()
            return
        shown = self.shown
        shown.held = None if shown.held else shown.newest
        self.poller.hold(shown.held.update if shown.held else None)
        if self._live is not None and self._live.log is not None:
            self._live.log.hold(still=shown.held is not None)
            self._draw_events()
        self._draw_view()
        self.redraw()

    def action_interval(self, step: int) -> None:
        """The next slower (+1) or faster (-1) pace; of a recording, faster (+1) or slower (-1)."""
        if self.playback is not None:
            self.action_speed(step)
            return
        steps = bindings.INTERVALS_S
        current = self.poller.interval_s
        slower = [s for s in steps if s is None or (current is not None and s > current)]
        faster = [s for s in steps if s is not None and (current is None or s < current)]
        self.poller.set_interval((slower[0] if slower else None) if step > 0 else (faster[-1] if faster else steps[0]))
        self.redraw()

    def action_refresh_now(self) -> None:
        """Look now."""
        self.refresh_now()

    async def action_mark(self) -> None:
        """Set a mark to compare with."""
        try:
            self.shown.mark = await asyncio.wrap_future(self.poller.submit_to_session(lambda s: s.set_mark()))
        except HeaptopError as error:
            self.say(str(error), severity="warning")
            return
        self.note_mark(self.shown.mark.label)
        self.refresh_now()
        self.redraw()

    def action_since_mark(self) -> None:
        """Only what changed since the mark, or all."""
        if self.shown.mark is None:
            self.say("no mark is set: press m")
            return
        self.shown.since_mark_only = not self.shown.since_mark_only
        self._draw_view()
        self.redraw()

    def action_write_capture(self) -> None:
        """Write one capture; asks where."""
        from heaptop.tui.widgets.dialogs import Ask

        name = time.strftime("heaptop-%Y%m%d-%H%M%S.tar.gz", time.localtime(self.clock()))
        hint = "A folder, or .tar or .tar.gz. It holds names of processes and buffers."
        self.push_screen(Ask("Write a capture to", hint, name), self._write_capture)

    def _write_capture(self, path: str | None) -> None:
        if path is not None:
            self.run_worker(self._write(os.path.expanduser(path)), group="write")

    async def _write(self, path: str) -> None:
        from heaptop import recording

        try:
            await asyncio.wrap_future(self.submit(lambda backend: recording.write(whole_capture(backend), path)))
        except HeaptopError as error:
            self.say(str(error), severity="error")
        else:
            self.say(f"capture written to {path}")

    async def action_events(self) -> None:
        """Live events on or off; they are shown below whatever is shown."""
        if self.live.is_on:
            self.live.turn_off()
        else:
            self.live.turn_on()
        main = self.screen_stack[0]
        if self._event_panel is None:
            from heaptop.tui.widgets.event_panel import EventPanel

            self._event_panel = EventPanel()
            await main.mount(self._event_panel, before="#filter-bar")
        self._draw_events()

    def action_event_list(self) -> None:
        """All events that are kept."""
        if self.live.log is None:
            self.say("events are off: press e")
            return

        def take(inode: int | None) -> None:
            if inode is not None:
                self.go_to_buffer(inode)

        from heaptop.tui.event_screen import EventScreen

        self._event_screen = EventScreen(self._page_bytes)
        self.push_screen(self._event_screen, take)
        self.call_after_refresh(self._draw_events)

    def on_events_told(self, message: EventsTold) -> None:
        """Draw them; say why they ended, where nobody ended them."""
        from heaptop.tui.watcher import Ended

        told = message.told
        if isinstance(told, Ended) and told.bug is not None:
            raise told.bug
        if self.live.take(message.log, told):
            if message.log.error:
                self.say(message.log.error, severity="warning")
            self._draw_events()

    @property
    def _page_bytes(self) -> int:
        return os.sysconf("SC_PAGE_SIZE") if self.update is None else self.update.snapshot.page_bytes

    def _draw_events(self) -> None:
        log = self.live.log
        if log is None:
            return
        from heaptop.analysis.events import as_buffer

        chosen = self.filter
        events = [one for one in log.shown if chosen is None or chosen.matches(as_buffer(one.event))]
        if self._event_panel is not None:
            self._event_panel.set_class(not self.live.is_on, "-off")
            self._event_panel.tell(log, events, self._page_bytes)
        if self._event_screen is not None and self.screen is self._event_screen:
            self._event_screen.tell(log, events)

    def on_snapshot_arrived(self, message: SnapshotArrived) -> None:
        """Remember the moment with most bytes, and draw the call sites where they are shown."""
        update = message.frame.update
        if message.frame.size_bytes > self.peak.size_bytes:
            self.peak.look(update.snapshot)
        if self._sites_screen is not None and self.screen is self._sites_screen and self.shown.held is None:
            self._sites_screen.tell(update)

    def action_sites(self) -> None:
        """Where buffers were allocated."""

        def take(inode: int | None) -> None:
            if inode is not None:
                self.go_to_buffer(inode)

        from heaptop.analysis.sites import Of
        from heaptop.tui.sites_screen import SitesScreen

        is_of_suspects = self.view is not None and self.view.title == "Leaks"
        screen = self._sites_screen = SitesScreen(self.peak, Of.LEAKED if is_of_suspects else Of.LIVE)
        self.push_screen(screen, take)
        if self.update is not None:
            screen.tell(self.update)

    def action_screenshot_file(self) -> None:
        """A picture of the screen, as SVG, in the working directory."""
        try:
            self.say(f"picture written to {os.path.abspath(self.save_screenshot())}")
        except OSError as error:
            self.say(f"no picture: {error.strerror}: {error.filename}", severity="error")

    def action_gaps(self) -> None:
        """What could not be read, why, and the remedy."""
        from heaptop.tui.renderables.details import gap_lines
        from heaptop.tui.widgets.dialogs import Sheet

        gaps = self.update.snapshot.gaps if self.update else ()
        self.push_screen(Sheet("What could not be read", gap_lines(gaps)))

    def action_help(self) -> None:
        """All keys, marks, the filter language."""
        from heaptop.tui.help import Key, capital, help_lines
        from heaptop.tui.widgets.dialogs import Sheet

        here: list[Key] = []
        everywhere: list[Key] = []
        for active in self.screen.active_bindings.values():
            key = Key(self.get_key_display(active.binding), capital(active.binding.description))
            if key.what:
                (everywhere if active.node is self else here).append(key)
        where = self.view.title if self.view is not None else "heaptop"
        self.push_screen(Sheet("Help", help_lines(here, everywhere, where)))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: everything that has a key here, and what has none."""
        from heaptop.tui.help import capital

        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.description and active.enabled and binding.action != "command_palette":
                run = partial(self.run_action, binding.action, active.node)
                yield SystemCommand(capital(binding.description), f"key {self.get_key_display(binding)}", run)
        yield SystemCommand("Theme", "Choose the colours", self.action_change_theme)
        yield SystemCommand("Gaps", "What could not be read, why, and the remedy", self.action_gaps)

    @property
    def content_reader(self) -> ContentReader | None:
        """Where buffers can be looked into."""
        return self.poller.backend if isinstance(self.poller.backend, ContentReader) else None

    def show_content(self, inode: int) -> None:
        """Show what is in this buffer; heaptop's own descriptor of it, where it has one, is used first."""
        from heaptop.session import ways_to
        from heaptop.tui.content_screen import ContentScreen
        from heaptop.tui.renderables.details import name_cell

        reader, buffer = self.content_reader, self.buffers.get(inode)
        own = [FdAt(os.getpid(), held.fd) for held in self.held.allocations if held.inode == inode]
        if reader is not None and (buffer is not None or own):
            ways = (*own, *(ways_to(buffer) if buffer is not None else ()))
            name = f"inode {inode}" if buffer is None else f"inode {inode} · {name_cell(buffer)}"
            opener = partial(reader.open_content, inode, ways)
            self.push_screen(ContentScreen(name, f"buffer-{inode}", opener, plain=self.ascii or self.no_color))

    def choose_holder(self, buffer: "Buffer") -> None:
        """Let the user choose among all who hold this buffer."""
        holders = {holder.process: holder.comm for holder in buffer.holders}
        self._choose_process(f"Who holds {buffer.inode}", [(id_, comm, "") for id_, comm in holders.items()])

    def choose_sharer(self, process: "Process") -> None:
        """Let the user choose among the processes that share a buffer with this one."""
        shared: Counter[tuple[ProcessId, str]] = Counter()
        for inode in process.inodes:
            if inode in self.buffers:
                shared.update({(holder.process, holder.comm) for holder in self.buffers[inode].holders})
        rows = [
            (id_, comm, f"{count} buffer{'' if count == 1 else 's'} in common")
            for (id_, comm), count in sorted(shared.items(), key=lambda item: (-item[1], item[0][0].pid))
            if id_ != process.id
        ]
        self._choose_process(f"Who shares buffers with {process.comm}", rows)

    def _choose_process(self, title: str, rows: "Sequence[tuple[ProcessId, str, str]]") -> None:
        if not rows:
            self.say(f"{title}: nobody is seen")
            return
        from heaptop.tui.widgets.dialogs import Choose

        choices: list[Choice] = [
            (str(index), ((f"{id_.pid:>7} ", "dim"), (comm, "strong"), (f"  {note}", "dim")))
            for index, (id_, comm, note) in enumerate(rows)
        ]

        def take(chosen: str | None) -> None:
            if chosen is not None:
                self.go_to_process(rows[int(chosen)][0])

        self.push_screen(Choose(printable(title), choices), take)

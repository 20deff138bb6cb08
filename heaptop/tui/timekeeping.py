"""What the app does with time: it plays a recording, and makes one."""

import asyncio
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from heaptop.backend.base import Backend, Recorded, Timeline
from heaptop.errors import HeaptopError
from heaptop.tui.shell import ShellApp
from heaptop.units import format_size

if TYPE_CHECKING:
    from heaptop.capture import Capture
    from heaptop.recorder import Recorder
    from heaptop.session import Session, Update
    from heaptop.tui.playback import Playback
    from heaptop.tui.widgets.timeline import TimelineBar

FRAME_S: Final = 0.1
"""How often it is looked whether the next moment has come."""


class TimekeepingApp(ShellApp):
    """The shell with a time line where a recording of many moments is shown; elsewhere it can record."""

    playback: "Playback | None" = None
    recorder: "Recorder | None" = None
    timeline: "TimelineBar | None" = None
    _asked = -1

    async def meet_source(self, backend: Backend) -> None:
        """The time line stands above the line of state, and time goes on."""
        await super().meet_source(backend)
        if not isinstance(backend, Recorded) or len(backend.moments()) < 2:
            return
        from heaptop.tui.playback import Playback  # where there is a recording
        from heaptop.tui.widgets.timeline import TimelineBar

        self.playback = Playback(backend, time.monotonic, self.poller.moment)
        self._asked = self.playback.index
        self.timeline = TimelineBar("timeline", self.playback)
        await self.screen_stack[0].mount(self.timeline, before="#state")
        self.set_interval(FRAME_S, self.play_on)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Going about in time is for recordings, and making one for what goes on."""
        if action in ("step", "speed", "next_change", "next_stop", "go_to_time"):
            return self.playback is not None
        if action == "record":
            return self.poller.backend is not None and not isinstance(self.poller.backend, Timeline)
        return super().check_action(action, parameters)

    def on_unmount(self) -> None:
        """However the app ends, a recording is ended well: after the last look."""
        self.poller.close()
        if self.recorder is not None:
            self.recorder.close()

    def redraw(self) -> None:
        """The time line too."""
        self.shown.pace = self._pace()
        self.shown.recording = self._recording_text()
        self.shown.place = "" if self.timeline is None else self.timeline.place
        super().redraw()
        if self.timeline is not None:
            self.timeline.draw()

    # ---- playing ----

    def play_on(self) -> None:
        """Show the moment that has come, unless the one before has not been drawn yet."""
        playback = self.playback
        if playback is not None and playback.is_playing and not self.poller.is_seeking:
            playback.tick()
            self._show_moment()

    def toggle_play(self) -> None:
        """Play on, or stand."""
        if self.playback is not None:
            self.playback.toggle()
            self._show_moment()

    def action_step(self, step: int) -> None:
        """So many moments on."""
        if self.playback is not None:
            self.playback.go(self.playback.index + step)
            self._show_moment()

    def action_speed(self, steps: int) -> None:
        """Faster, or slower."""
        if self.playback is not None:
            self.playback.change_speed(steps)
            self.redraw()

    def action_next_change(self, step: int) -> None:
        """Where a buffer came, went or changed."""
        if self.playback is not None:
            index = self.playback.next_change(step)
            if index is None:
                self.say("no change after this" if step > 0 else "no change before this")
            else:
                self.playback.go(index)
                self._show_moment()

    def action_next_stop(self, step: int) -> None:
        """The next mark or break."""
        if self.playback is not None:
            stop = self.playback.next_stop(step)
            if stop is None:
                self.say("no mark or break after this" if step > 0 else "no mark or break before this")
            else:
                self.playback.go(stop.moment)
                self._show_moment()

    def action_go_to_time(self) -> None:
        """Asks for a moment."""
        if self.playback is not None:
            hint = "-3m  +10s  14:02:11  3 minutes ago  50%  first  last  or the label of a mark"
            from heaptop.tui.widgets.dialogs import Ask  # when it is first asked for

            self.push_screen(Ask("Go to", hint, ""), self._go_to_time)

    def _go_to_time(self, text: str | None) -> None:
        if text is not None and self.playback is not None:
            try:
                self.playback.go_to(text)
            except HeaptopError as error:
                self.say(str(error), severity="warning")
            else:
                self._show_moment()

    def on_timeline_bar_sought(self, message: "TimelineBar.Sought") -> None:
        """There."""
        if self.playback is not None:
            self.playback.go_to_share(message.share)
            self._show_moment()

    def on_timeline_bar_stepped(self, message: "TimelineBar.Stepped") -> None:
        """So far."""
        self.action_step(message.step)

    def _show_moment(self) -> None:
        if self.playback is not None and self.playback.index != self._asked:
            self._asked = self.playback.index
            self.poller.seek(self._asked)
        self.redraw()

    def _pace(self) -> str:
        if self.playback is None:
            return ""
        return f"{self.playback.speed:g}x" if self.playback.is_playing else "standing"

    # ---- recording ----

    async def action_record(self) -> None:
        """On, which asks where to; or off."""
        if self.recorder is not None:
            recorder, self.recorder = self.recorder, None
            await asyncio.wrap_future(self.poller.submit_to_session(partial(_end, recorder=recorder)))
            counts, size = recorder.counts, format_size(recorder.size_bytes)
            self.say(f"recorded {counts.moments} moments to {recorder.path}, {size}")
            self.redraw()
            return
        from heaptop.tui.widgets.dialogs import Ask  # when it is first asked for

        name = time.strftime("heaptop-%Y%m%d-%H%M%S", time.localtime(self.clock()))
        hint = "A folder, of 256 MiB at most. It holds names of processes and buffers."
        self.push_screen(Ask("Record to", hint, name), self._record)

    def _record(self, path: str | None) -> None:
        if path is not None:
            self.run_worker(self._begin_recording(os.path.expanduser(path)), group="record", exclusive=True)

    async def _begin_recording(self, path: str) -> None:
        try:
            self.recorder = await asyncio.wrap_future(self.poller.submit_to_session(partial(self._begin, path)))
        except HeaptopError as error:
            self.say(str(error), severity="error")
        else:
            self.refresh_now()
            self.say(f"recording to {path}; r ends it")
        self.redraw()

    def _begin(self, path: str, session: "Session") -> "Recorder":
        """In the poller's thread, as all that the recorder tells."""
        from heaptop.recorder import Recorder

        recorder = Recorder(path, tell=self._tell_recorded)

        def observe(capture: "Capture", update: "Update") -> None:
            try:
                recorder.observe(capture, update)
            except HeaptopError as error:
                _end(session, recorder)
                self.call_later(self._recording_failed, error)

        session.observer = observe
        return recorder

    def _tell_recorded(self, text: str) -> None:
        """In the poller's thread."""
        self.call_later(self.say, text)

    def _recording_failed(self, error: HeaptopError) -> None:
        self.recorder = None
        self.say(str(error), severity="error")
        self.redraw()

    def note_mark(self, label: str) -> None:
        """A mark was set: it is seen on the time line, and goes into the recording that is made."""
        if self.playback is not None:
            self.playback.add_mark(label)
        if self.recorder is not None:
            self.recorder.mark(label)

    def _recording_text(self) -> str:
        recorder = self.recorder
        if recorder is None:
            return ""
        return "REC waits" if recorder.waiting else f"REC {recorder.counts.moments}"


def _end(session: "Session", recorder: "Recorder") -> None:
    session.observer = None
    recorder.close()

"""The time line: a click goes there, dragging seeks, the wheel steps."""

from functools import partial

from textual import events
from textual.message import Message

from heaptop.tui.playback import Playback
from heaptop.tui.renderables.timeline import place_text, timeline, track
from heaptop.tui.widgets.line import Line


class TimelineBar(Line):
    """Draws a playback."""

    class Sought(Message):
        """Somebody points at this part of the whole time, 0 to 1."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

    class Stepped(Message):
        """The wheel was turned: so many moments on."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self, id: str, playback: Playback) -> None:  # noqa: A002 - Textual's own name for it
        super().__init__(id=id)
        self._playback = playback

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return place_text(self._playback)

    def draw(self) -> None:
        """As it stands now."""
        self.tell(partial(timeline, self._playback))

    def _seek(self, event: events.MouseEvent) -> bool:
        """Whether the mouse is on the course."""
        first, length = track(self._playback, self.size.width)
        if not first <= event.x < first + length:
            return False
        self.post_message(self.Sought((event.x - first + 0.999) / length))
        return True

    async def on_click(self, event: events.Click) -> None:
        """Go there; anywhere else, what the piece does."""
        if self._seek(event):
            event.prevent_default()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag."""
        if self._seek(event):
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Seek along."""
        if self.app.mouse_captured is self:
            self._seek(event)

    def on_mouse_up(self) -> None:
        """Enough."""
        self.release_mouse()

    def on_mouse_scroll_up(self) -> None:
        """One moment back."""
        self.post_message(self.Stepped(-1))

    def on_mouse_scroll_down(self) -> None:
        """One moment on."""
        self.post_message(self.Stepped(1))

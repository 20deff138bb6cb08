"""A view: one screen of the app under its tab, and what it may ask of the shell around it.

The shell calls `show` with each refresh while the view is visible, and once with the newest when it becomes visible.
A view draws and asks; it never looks at a backend, waits, or starts a thread for a scan.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar, Literal, Protocol, TypeVar, cast, runtime_checkable

from textual.containers import Container

from heaptop.analysis.filter import Filter, FilterContext
from heaptop.backend.base import Allocator, Backend, ContentReader
from heaptop.model import Buffer, Process, ProcessId
from heaptop.session import Mark, Update
from heaptop.tui.frame import Sums
from heaptop.tui.held import Held

T = TypeVar("T")


class Shell(Protocol):
    """What the app offers to its views."""

    @property
    def update(self) -> Update | None:
        """What is shown (while paused: what was newest then). None before the first refresh."""

    @property
    def buffers(self) -> Mapping[int, Buffer]:
        """Buffers of the shown update by inode, with those just gone (`History.gone`)."""

    @property
    def processes(self) -> Mapping[ProcessId, Process]:
        """Processes of the shown update."""

    @property
    def sums(self) -> Sums:
        """Sums of the buffers of the shown update."""

    def attend(self, pids: frozenset[int]) -> None:
        """Have these processes looked at closely from the next look on: their details are shown."""

    def references(self, inode: int) -> tuple[int, ...]:
        """File counts of a buffer over time, oldest first; empty where it never changed."""

    def touched_since(self, number: int) -> frozenset[int] | None:
        """Inodes that came, went or changed after update `number`; None where that is too long ago to tell."""

    @property
    def filter(self) -> Filter | None:
        """The filter that is on: the last good one."""

    @property
    def filter_context(self) -> FilterContext:
        """What filters need to know besides a buffer, of the shown update."""

    @property
    def since_mark_only(self) -> bool:
        """Whether only what changed since the mark is to be shown (`d`)."""

    @property
    def mark(self) -> Mark | None:
        """The mark that is set."""

    @property
    def allocator(self) -> Allocator | None:
        """Where test buffers can be had; None in `--readonly`, replay and where the source has no heaps."""

    @property
    def content_reader(self) -> ContentReader | None:
        """Where buffers can be looked into; None in replay."""

    @property
    def held(self) -> Held:
        """Heaptop's own test buffers."""

    @property
    def ascii(self) -> bool:
        """Whether the terminal shows ASCII only (the shell translates all that is drawn; no view needs to care)."""

    @property
    def narrow(self) -> bool:
        """Whether there is no room for a detail pane at the right (under 120 columns)."""

    def now(self) -> float:
        """Seconds since the epoch of the shown update; ages count up to it."""

    def go(self, number: int) -> None:
        """Show the view with this number."""

    def go_to_buffer(self, inode: int) -> None:
        """Show this buffer, selected, in the Buffers view."""

    def go_to_process(self, process: ProcessId) -> None:
        """Show this process, selected, in the Processes view."""

    def show_content(self, inode: int) -> None:
        """Show what is in this buffer, over the whole screen."""

    def choose_holder(self, buffer: Buffer) -> None:
        """Let the user choose among all who hold this buffer, and go there."""

    def choose_sharer(self, process: Process) -> None:
        """Let the user choose among the processes that share a buffer with this one, and go there."""

    def set_filter(self, text: str) -> None:
        """Replace the filter, as if typed."""

    def refresh_now(self) -> None:
        """Take a look at once."""

    def redraw(self) -> None:
        """Draw the lines around the view anew: its status text changed."""

    def submit(self, job: Callable[[Backend], T]) -> "Future[T]":
        """Run a job in the poller's thread, between two scans (await it with `asyncio.wrap_future`)."""

    def say(self, text: str, *, severity: Literal["information", "warning", "error"] = "information") -> None:
        """Tell the user a line; hostile text is made printable, markup is off."""

    def copy(self, text: str) -> None:
        """Put text on the clipboard of the terminal and say so."""


@runtime_checkable
class Selecting(Protocol):
    """A view that can put its cursor on a thing."""

    def select(self, key: Any, /) -> bool:
        """Put the cursor there; False where it is not."""


class View(Container):
    """A screen under a tab. Subclasses set `title` and `number`, and BINDINGS with the keys that work only there."""

    title: ClassVar[str]
    number: ClassVar[int]

    @property
    def shell(self) -> Shell:
        """The app around this view."""
        return cast("Shell", self.app)

    def show(self, update: Update) -> None:
        """Draw this update. Called while visible only; keeps cursor, scroll and selection."""
        raise NotImplementedError

    def apply_filter(self, filter_: Filter | None) -> None:  # noqa: ARG002 - for views that keep it
        """The filter changed. By default: draw again with `shell.filter`."""
        if self.shell.update is not None:
            self.show(self.shell.update)

    def close_details(self) -> bool:
        """Esc: close what was opened over the rows; False where nothing was."""
        return False

    def status_text(self) -> str:
        """What the state line says about this view: how many of how many, sort, group. May be empty."""
        return ""

    def focus_content(self) -> None:
        """Give the keys to the part of the view that should have them when it becomes visible."""
        for widget in self.query("*"):
            if widget.focusable:
                self.screen.set_focus(widget)  # at once: the next key may be on its way
                return

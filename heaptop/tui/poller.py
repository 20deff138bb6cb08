"""The one thread that looks: it owns the session, refreshes at its own pace and tells what it found.

Scans never overlap and never block the screen: whoever wants one (the interval, `refresh_now`) only wakes this thread.
Nothing here is Textual's, so that a source can be opened while the screen is still being imported.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from heaptop.backend.base import Backend, Recorded, Timeline
from heaptop.errors import HeaptopError
from heaptop.scan import floor

if TYPE_CHECKING:
    from heaptop.backend.select import Opened
    from heaptop.capture import Capture
    from heaptop.replay import ReplaySession
    from heaptop.session import Session, Update
    from heaptop.tui.frame import Frame, Framer

    Ahead = tuple[Capture, float] | HeaptopError | None
    """A capture that was taken before, with the seconds it took, or why it could not be."""

T = TypeVar("T")


class Found(NamedTuple):
    """The source is open; `note` says what the user should know about the choice, if anything."""

    backend: Backend
    note: str


class Refused(NamedTuple):
    """The source cannot be opened: the thread is over."""

    error: HeaptopError


class Looked(NamedTuple):
    """A refresh is done."""

    frame: "Frame"


class Failed(NamedTuple):
    """A refresh could not be done: the source is gone, denied or unreadable. The next one is tried at the interval."""

    error: HeaptopError


class Broke(NamedTuple):
    """heaptop itself has a bug: the thread is over, this is why."""

    error: BaseException


Event = Found | Refused | Looked | Failed | Broke


class _Job(NamedTuple, Generic[T]):
    work: Callable[[], T]
    future: "Future[T]"

    def run(self) -> None:
        if self.future.set_running_or_notify_cancel():
            try:
                self.future.set_result(self.work())
            except Exception as error:  # noqa: BLE001 - whoever waits for the job gets its error, whatever it is
                self.future.set_exception(error)


def session_of(backend: Backend, clock: Callable[[], float]) -> "Session":
    """The session that fits: one that can go about where there are many moments."""
    if isinstance(backend, Recorded) and len(backend.moments()) > 1:
        from heaptop.replay import ReplaySession  # few need it

        return ReplaySession(backend)
    from heaptop.session import Session  # the first look need not wait for it

    return Session(backend, clock)


class Poller:
    """Runs a Session in a thread of its own. Every method may be called from any thread and returns at once."""

    def __init__(
        self,
        source: "Backend | Callable[[], Opened]",
        interval_s: float | None,
        clock: Callable[[], float] = time.time,
        session: "Session | None" = None,
    ) -> None:
        """`source` is a backend, or opens one, which is done in the thread. `interval_s` None: only on `refresh_now`.
        `session` is made in the thread unless given.
        """
        self.backend: Backend | None = source if isinstance(source, Backend) else None
        self.refused: HeaptopError | None = None
        """Why there is no source."""
        self._open = None if isinstance(source, Backend) else source
        self._clock = clock
        self._given = session
        self._has_moments = False
        self._target = 0
        self._interval_s = interval_s
        if self.backend is not None:
            self._meet(self.backend)
        self._held: Update | None = None
        self._wake = threading.Condition()
        self._jobs: deque[_Job[Any]] = deque()
        self._wanted = True
        self._closed = False
        self._post: Callable[[Event], None] | None = None
        self._unposted: list[Event] = []
        self._scan_began: float | None = None
        self._thread = threading.Thread(target=self._run, name="heaptop-poller", daemon=True)

    def start(self) -> None:
        """Take the first look now."""
        self._thread.start()

    def attach(self, post: Callable[[Event], None]) -> None:
        """Tell events from now on to `post` (called in the poller's thread), beginning with those untold."""
        with self._wake:
            self._post = post
            events, self._unposted = self._unposted, []
            for event in events:
                post(event)

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._thread.ident is not None

    @property
    def interval_s(self) -> float | None:
        """Seconds from the start of one scan to that of the next; None where only by hand."""
        return self._interval_s

    @property
    def scanning_s(self) -> float | None:
        """For how long the scan under way has been running; None where none is."""
        began = self._scan_began
        return None if began is None else time.monotonic() - began

    def set_interval(self, interval_s: float | None) -> None:
        """Change the pace."""
        with self._wake:
            self._interval_s = interval_s
            self._wake.notify()

    def refresh_now(self) -> None:
        """Look as soon as the scan under way, if any, is done."""
        with self._wake:
            self._wanted = True
            self._wake.notify()

    def seek(self, index: int) -> None:
        """Show another moment of a recording: the newest one asked for, should there be several."""
        with self._wake:
            self._target = index
            self._wanted = True
            self._wake.notify()

    @property
    def moment(self) -> int:
        """The moment of a recording that was asked for last."""
        return self._target

    @property
    def is_seeking(self) -> bool:
        """Whether a moment that was asked for has not been shown yet."""
        return self._wanted or self._scan_began is not None

    def hold(self, update: "Update | None") -> None:
        """Tell with each frame what changed since this update; None to stop that."""
        with self._wake:
            self._held = update

    def submit(self, work: Callable[[Backend], T]) -> "Future[T]":
        """Run a job between two scans."""
        return self._submit(lambda: work(self._known))

    def submit_to_session(self, work: "Callable[[Session], T]") -> "Future[T]":
        """Run a job that needs the session (a mark) between two scans."""
        return self._submit(lambda: work(self._session))

    @property
    def _known(self) -> Backend:
        """Jobs are run once there is one."""
        assert self.backend is not None
        return self.backend

    def _submit(self, work: Callable[[], T]) -> "Future[T]":
        future: Future[T] = Future()
        with self._wake:
            if self._closed:
                future.cancel()
            else:
                self._jobs.append(_Job(work, future))
                self._wake.notify()
        return future

    def close(self, patience_s: float = 2.0) -> None:
        """End the thread, waiting for a scan under way no longer than `patience_s`, and close the backend."""
        with self._wake:
            self._closed = True
            self._post = None
            while self._jobs:
                self._jobs.popleft().future.cancel()
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(patience_s)
        if self.backend is not None:
            self.backend.close()

    def _run(self) -> None:
        try:
            if self._find():
                self._look_on()
        except Exception as error:  # noqa: BLE001 - a bug: the app shows its traceback instead of standing still
            self._tell(Broke(error))

    def _meet(self, backend: Backend) -> None:
        self.backend = backend
        if isinstance(backend, Recorded):
            self._target, self._has_moments = backend.index, len(backend.moments()) > 1
        if self._has_moments:
            self._interval_s = None

    def _find(self) -> bool:
        """Open the source, where it is not yet; False where there is none, or it is too late."""
        if self._open is None:
            return True
        try:
            opened = self._open()
        except HeaptopError as error:
            self.refused = error
            self._tell(Refused(error))
            return False
        with self._wake:
            self._meet(opened.backend)
            if self._closed:
                opened.backend.close()
                return False
        self._tell(Found(opened.backend, opened.note))
        return True

    def _look_on(self) -> None:
        """Look until it is over. The first look is taken while that which makes something of it is not yet loaded."""
        due = time.monotonic() + (self._interval_s or 0)
        ahead = self._look_ahead(self._known) if self._given is None else None
        floor.wait()
        from heaptop.tui.frame import Framer

        framer, self._session = Framer(), self._given or session_of(self._known, self._clock)
        if ahead is not None:
            self._tell_if(self._look(framer, ahead))
        while self._await_work(due):
            while self._jobs:
                self._jobs.popleft().run()
            interval_s = self._interval_s
            if self._wanted or (interval_s is not None and time.monotonic() >= due):
                due = time.monotonic() + (interval_s or 0)
                self._wanted = False
                self._tell_if(self._look(framer))

    def _look_ahead(self, backend: Backend) -> "Ahead":
        """A first capture, with the seconds it took; None of a recording, which is looked at in other ways."""
        if isinstance(backend, Timeline):
            return None
        self._wanted = False
        self._scan_began = began = time.monotonic()
        try:
            return backend.capture(), time.monotonic() - began
        except HeaptopError as error:
            return error

    def _await_work(self, due: float) -> bool:
        """Sleep until there is something to do; False to end."""
        with self._wake:
            while not (self._closed or self._wanted or self._jobs):
                left = None if self._interval_s is None else due - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._wake.wait(left)
            return not self._closed

    def _look(self, framer: "Framer", ahead: "Ahead" = None) -> Event | None:
        """A refresh; None where another moment of the recording was asked for meanwhile."""
        self._scan_began = self._scan_began or time.monotonic()
        framer.held = self._held
        try:
            if isinstance(ahead, HeaptopError):
                return Failed(ahead)
            if self._has_moments:
                return self._go(framer, cast("ReplaySession", self._session))
            return Looked(framer.frame(self._session.refresh() if ahead is None else self._session.refresh(ahead)))
        except HeaptopError as error:
            return Failed(error)
        finally:
            self._scan_began = None

    def _go(self, framer: "Framer", session: "ReplaySession") -> Event | None:
        target, frame = self._target, None
        for update in session.go(target):
            frame = framer.frame(update)
            if self._target != target:
                return None
        return Looked(frame or framer.frame(session.refresh()))

    def _tell_if(self, event: Event | None) -> None:
        if event is not None:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        with self._wake:
            if self._post is not None:
                self._post(event)
            elif not self._closed:
                self._unposted = [one for one in self._unposted if type(one) is not type(event)] + [event]

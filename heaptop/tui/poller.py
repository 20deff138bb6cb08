"""The one thread that looks: it owns the session, refreshes at its own pace and tells what it found.

Scans never overlap and never block the screen: whoever wants one (the interval, `refresh_now`) only wakes this thread.
Nothing here is Textual's, so that the first scan can run while the screen is still being imported.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from heaptop.backend.base import Backend, Recorded
from heaptop.errors import HeaptopError
from heaptop.replay import ReplaySession
from heaptop.session import Session, Update
from heaptop.tui.frame import Frame, Framer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Looked:
    """A refresh is done."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Failed:
    """A refresh could not be done: the source is gone, denied or unreadable. The next one is tried at the interval."""

    error: HeaptopError


@dataclass(frozen=True, slots=True)
class Broke:
    """heaptop itself has a bug: the thread is over, this is why."""

    error: BaseException


Event = Looked | Failed | Broke


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    work: Callable[[], T]
    future: "Future[T]"

    def run(self) -> None:
        if self.future.set_running_or_notify_cancel():
            try:
                self.future.set_result(self.work())
            except Exception as error:  # noqa: BLE001 - whoever waits for the job gets its error, whatever it is
                self.future.set_exception(error)


def session_of(backend: Backend, clock: Callable[[], float]) -> Session:
    """The session that fits: one that can go about where there are many moments."""
    if isinstance(backend, Recorded) and len(backend.moments()) > 1:
        return ReplaySession(backend)
    return Session(backend, clock)


class Poller:
    """Runs a Session in a thread of its own. Every method may be called from any thread and returns at once."""

    def __init__(
        self,
        backend: Backend,
        interval_s: float | None,
        clock: Callable[[], float] = time.time,
        session: Session | None = None,
    ) -> None:
        """`interval_s` None: only on `refresh_now`. `session` is made here unless given."""
        self.backend = backend
        self._session = session or session_of(backend, clock)
        self._framer = Framer()
        self._replay = self._session if isinstance(self._session, ReplaySession) else None
        self._target = backend.index if isinstance(backend, Recorded) else 0
        self._interval_s = interval_s if self._replay is None else None
        self._wake = threading.Condition()
        self._jobs: deque[_Job[Any]] = deque()
        self._wanted = True
        self._closed = False
        self._post: Callable[[Event], None] | None = None
        self._unposted: Event | None = None
        self._scan_began: float | None = None
        self._thread = threading.Thread(target=self._run, name="heaptop-poller", daemon=True)

    def start(self) -> None:
        """Take the first look now."""
        self._thread.start()

    def attach(self, post: Callable[[Event], None]) -> None:
        """Tell events from now on to `post` (called in the poller's thread), beginning with the newest untold one."""
        with self._wake:
            self._post = post
            event, self._unposted = self._unposted, None
            if event is not None:
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

    def hold(self, update: Update | None) -> None:
        """Tell with each frame what changed since this update; None to stop that."""
        with self._wake:
            self._framer.held = update

    def submit(self, work: Callable[[Backend], T]) -> "Future[T]":
        """Run a job between two scans."""
        return self._submit(lambda: work(self.backend))

    def submit_to_session(self, work: Callable[[Session], T]) -> "Future[T]":
        """Run a job that needs the session (a mark) between two scans."""
        return self._submit(lambda: work(self._session))

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
        self.backend.close()

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while self._await_work(due):
                while self._jobs:
                    self._jobs.popleft().run()
                interval_s = self._interval_s
                if self._wanted or (interval_s is not None and time.monotonic() >= due):
                    due = time.monotonic() + (interval_s or 0)
                    self._wanted = False
                    event = self._look()
                    if event is not None:
                        self._tell(event)
        except Exception as error:  # noqa: BLE001 - a bug: the app shows its traceback instead of standing still
            self._tell(Broke(error))

    def _await_work(self, due: float) -> bool:
        """Sleep until there is something to do; False to end."""
        with self._wake:
            while not (self._closed or self._wanted or self._jobs):
                left = None if self._interval_s is None else due - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._wake.wait(left)
            return not self._closed

    def _look(self) -> Event | None:
        """A refresh; None where another moment of the recording was asked for meanwhile."""
        self._scan_began = time.monotonic()
        try:
            if self._replay is None:
                return Looked(self._framer.frame(self._session.refresh()))
            target, frame = self._target, None
            for update in self._replay.go(target):
                frame = self._framer.frame(update)
                if self._target != target:
                    return None
            return Looked(frame or self._framer.frame(self._replay.refresh()))
        except HeaptopError as error:
            return Failed(error)
        finally:
            self._scan_began = None

    def _tell(self, event: Event) -> None:
        with self._wake:
            if self._post is not None:
                self._post(event)
            elif not self._closed:
                self._unposted = event

"""The one thread that watches live events, while they are on. No Textual here.

What happens in a rush is told in parts, twice a second: counts of all, and the newest events. Whatever ends the thread,
nothing stays behind.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass

from heaptop.assemble import assemble
from heaptop.errors import HeaptopError
from heaptop.model import CmaArea, Event, EventKind
from heaptop.trace.base import EventSource

EVENTS_MAX = 5000
"""So many events are kept, the newest."""

TELL_S = 0.25
"""How often events are told, where there are any."""

COST_S = 1.0
"""How often it is told what watching costs, where there are none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event with its number (from 1 on) and, where a CMA area failed, that area `after_s` seconds later."""

    number: int
    event: Event
    area: CmaArea | None = None
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened since the last one. `counts`, `lost` and costs are of all since the start.

    `own_s` is this thread's processor time, `kernel_s` that of those who were watched (None where not told), both of
    `passed_s` seconds.
    """

    newest: tuple[Seen, ...]
    counts: Counter[EventKind]
    lost: int
    own_s: float
    kernel_s: float | None
    passed_s: float


@dataclass(frozen=True, slots=True)
class Watching:
    """It has begun: what is watched, and what cannot be told here."""

    watched: tuple[str, ...]
    gaps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """It is over: by itself, because of an error, or (`bug`) because heaptop is wrong."""

    error: HeaptopError | None = None
    bug: BaseException | None = None


Told = Watching | Happened | Ended


class Watcher:
    """Watches from `start` to `stop`. `tell` and `learn` are called in its thread: `learn` with every event."""

    def __init__(
        self,
        open_source: Callable[[], EventSource],
        tell: Callable[[Told], None],
        learn: Callable[[Sequence[Event]], None] = lambda _events: None,
    ) -> None:
        """`open_source` gives a source that was not started; it may raise HeaptopError."""
        self._open = open_source
        self._tell = tell
        self._learn = learn
        self._over = threading.Event()
        self._newest: deque[Seen] = deque(maxlen=EVENTS_MAX)
        self._counts: Counter[EventKind] = Counter()
        self._began_s = 0.0
        self._thread = threading.Thread(target=self._run, name="heaptop-watcher", daemon=True)

    def start(self) -> None:
        """Begin, in the thread of its own."""
        self._thread.start()

    def stop(self, patience_s: float = 2.0) -> None:
        """End it, and wait for that. May be called twice."""
        self._over.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(patience_s)

    def _run(self) -> None:
        try:
            self._watch(self._open())
        except HeaptopError as error:
            self._tell(Ended(error))
        except CancelledError:  # the app is ending: who was asked for the buffers has ended first
            self._tell(Ended())
        except Exception as error:  # noqa: BLE001 - a bug: the app shows its traceback
            self._tell(Ended(bug=error))
        else:
            self._tell(Ended())

    def _watch(self, source: EventSource) -> None:
        source.start()
        try:
            self._began_s = time.monotonic()
            gaps = tuple(f"{gap.what}: {gap.why}" + (f"; {gap.remedy}" if gap.remedy else "") for gap in source.gaps)
            self._tell(Watching(source.watched, gaps))
            told_s = 0.0
            while not self._over.is_set():
                self._take(source, source.read(TELL_S))
                if time.monotonic() >= told_s + (TELL_S if self._newest else COST_S):
                    told_s = time.monotonic()
                    self._tell(self._happened(source))
            self._take(source, source.finish())
            self._tell(self._happened(source))
        finally:
            source.stop()

    def _take(self, source: EventSource, events: Sequence[Event]) -> None:
        if events:
            self._learn(events)
        for event in events:
            self._counts[event.kind] += 1
            look = source.look(event) if event.kind is EventKind.CMA_FAIL else None
            area = None
            if look is not None:
                areas = assemble(look.capture).cma
                area = next((one for one in areas if one.name == event.area), None)
            after_s = None if area is None or look is None else look.after_s
            self._newest.append(Seen(self._counts.total(), event, area, after_s))

    def _happened(self, source: EventSource) -> Happened:
        newest = tuple(self._newest)
        self._newest.clear()
        passed_s = time.monotonic() - self._began_s
        return Happened(newest, Counter(self._counts), source.lost, time.thread_time(), source.kernel_s(), passed_s)

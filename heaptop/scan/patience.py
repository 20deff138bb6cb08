"""Work that may hang, done so that its caller never does.

Some files of /proc and debugfs take locks that a stuck driver or process can hold for ever (a process's mmap_lock
for maps and cmdline, a buffer's reservation lock for bufinfo). A reader that is stuck in one cannot be freed; it can
only be left alone, in a thread that ends with the program.
"""

import os
import threading
from collections.abc import Callable, Hashable, Iterable
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

TIMEOUT_S: Final = 2.0
AT_WORK: Final = "heaptop-reader"
IDLE: Final = "heaptop-idle"
"""What the threads are called."""


class Patience(Generic[Key, Value]):
    """Calls `work` for each key. A key that hangs is given up, and not tried again while it still hangs.

    There is one thread for all who are patient, and one more for each key that hangs. Calls must not overlap.
    """

    def __init__(
        self, work: Callable[[Key], Value], timeout_s: float = TIMEOUT_S, steps: Callable[[], int] = lambda: 0
    ) -> None:
        """A key is given up once nothing was finished for `timeout_s` (or up to twice as long). `steps` tells of work
        that goes on within a key, by a number that grows.
        """
        self._work = work
        self._timeout_s = timeout_s
        self._steps = steps
        self._hanging: dict[Key, _Run[Key, Value]] = {}

    def each(self, keys: Iterable[Key]) -> tuple[dict[Key, Value], tuple[Key, ...]]:
        """Results by key, and the keys that hang."""
        results: dict[Key, Value] = {}
        self._hanging = {key: run for key, run in self._hanging.items() if not run.is_over.is_set()}
        hanging = [key for key in keys if key in self._hanging]
        waiting = [key for key in keys if key not in self._hanging]
        while waiting:
            run = _Run(self._work, waiting)
            finished = run.done(self._timeout_s, self._steps)
            results |= zip(waiting, finished, strict=False)
            if len(finished) == len(waiting):
                break
            stuck = waiting[len(finished)]
            self._hanging[stuck] = run
            hanging.append(stuck)
            waiting = waiting[len(finished) + 1 :]
        return results, tuple(hanging)


class _Run(Generic[Key, Value]):
    """One thread's way through the keys."""

    def __init__(self, work: Callable[[Key], Value], keys: list[Key]) -> None:
        self._work = work
        self._keys = keys
        self._finished: list[Value] = []
        self._failure: BaseException | None = None
        self._is_given_up = False
        self._lock = threading.Lock()
        self.is_over = threading.Event()
        """Set once its thread is through, and holds none of the keys any more."""

    def done(self, timeout_s: float, steps: Callable[[], int]) -> list[Value]:
        """What was finished when all was, or when nothing was for `timeout_s`. Raises what `work` raised."""
        worker = _idle.pop() if _idle else _Worker()
        worker.begin(self)
        before = (-1, -1)
        while not self.is_over.wait(timeout_s) and before != (now := (len(self._finished), steps())):
            before = now
        if self.is_over.is_set():
            _idle.append(worker)
        else:
            worker.leave()
        with self._lock:
            self._is_given_up = True
        if self._failure is not None:
            raise self._failure
        return self._finished

    def go(self) -> None:
        """Do it."""
        try:
            for key in self._keys:
                result = self._work(key)
                with self._lock:  # so that who gives up knows at which key this is
                    if self._is_given_up:
                        return
                    self._finished.append(result)
        except BaseException as error:  # noqa: BLE001  (it is raised again where the results are waited for)
            self._failure = error


class _Worker:
    """A thread for one run after the other: starting one costs more than many a run."""

    def __init__(self) -> None:
        self._runs: SimpleQueue[_Run[Any, Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=IDLE, daemon=True)
        self._thread.start()

    def begin(self, run: _Run[Any, Any]) -> None:
        """Let it go this way."""
        self._runs.put(run)

    def leave(self) -> None:
        """It ends as soon as it can."""
        self._runs.put(None)

    def _work(self) -> None:
        while (run := self._runs.get()) is not None:
            self._thread.name = AT_WORK
            run.go()
            self._thread.name = IDLE
            is_over = run.is_over
            del run
            is_over.set()


_idle: Final[list[_Worker]] = []
os.register_at_fork(after_in_child=_idle.clear)

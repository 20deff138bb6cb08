"""Work that may hang, done so that its caller never does.

Some files of /proc and debugfs take locks that a stuck driver or process can hold for ever (a process's mmap_lock
for maps and cmdline, a buffer's reservation lock for bufinfo). A reader that is stuck in one cannot be freed; it can
only be left alone, in a thread that ends with the program.
"""

import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

TIMEOUT_S: Final = 2.0


class Patience(Generic[Key, Value]):
    """Calls `work` for each key. A key that hangs is given up, and not tried again while it still hangs.

    There is one thread, and one more for each key that hangs. Calls must not overlap.
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
        self._hanging: dict[Key, threading.Thread] = {}

    def each(self, keys: Iterable[Key]) -> tuple[dict[Key, Value], tuple[Key, ...]]:
        """Results by key, and the keys that hang."""
        results: dict[Key, Value] = {}
        self._hanging = {key: thread for key, thread in self._hanging.items() if thread.is_alive()}
        hanging = [key for key in keys if key in self._hanging]
        waiting = [key for key in keys if key not in self._hanging]
        while waiting:
            run = _Run(self._work, waiting)
            finished = run.wait(self._timeout_s, self._steps)
            results |= zip(waiting, finished, strict=False)
            if len(finished) == len(waiting):
                break
            stuck = waiting[len(finished)]
            self._hanging[stuck] = run.thread
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
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, name="heaptop-reader", daemon=True)
        self.thread.start()

    def wait(self, timeout_s: float, steps: Callable[[], int]) -> list[Value]:
        """What was finished when all was, or when nothing was for `timeout_s`. Raises what `work` raised."""
        before = (-1, -1)
        while not self._is_over.wait(timeout_s) and before != (now := (len(self._finished), steps())):
            before = now
        if self._is_over.is_set():
            self.thread.join()  # it is at its end, and then holds none of the keys any more
        with self._lock:
            self._is_given_up = True
        if self._failure is not None:
            raise self._failure
        return self._finished

    def _run(self) -> None:
        try:
            for key in self._keys:
                result = self._work(key)
                with self._lock:  # so that who gives up knows at which key this is
                    if self._is_given_up:
                        return
                    self._finished.append(result)
        except BaseException as error:  # noqa: BLE001  (it is raised again where the results are waited for)
            self._failure = error
        finally:
            self._is_over.set()

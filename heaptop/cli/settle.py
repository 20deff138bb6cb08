"""Looks at a source between two rounds of a program, and waits until what the round left behind has settled."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from heaptop.analysis.classes import class_of
from heaptop.analysis.cycles import Mark, cycle_growth, steadied
from heaptop.assemble import Assembler
from heaptop.backend.base import Backend
from heaptop.model import Buffer, Snapshot

LOOKS_MIN: Final = 3
"""So many looks in a row must agree."""
PAUSE_S: Final = 0.02
PAUSE_S_MAX: Final = 0.1
"""Between two looks: longer where a look takes long."""
IN_BETWEEN: Final = 0.25
"""Of the time to settle, how long what a round in the middle left is waited for."""


class Looker:
    """Takes marks. `wait` sleeps, and may end early."""

    def __init__(
        self,
        backend: Backend,
        settle_s: float,
        wait: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        watch: Callable[[Buffer], bool] = lambda _: True,
    ) -> None:
        """`watch` says which buffers count."""
        self._backend = backend
        self._settle_s = settle_s
        self._wait = wait
        self._clock = clock
        self._watch = watch
        self._assembler = Assembler()
        self.snapshot: Snapshot | None = None

    def mark(self, label: str, before: Mark | None = None, *, final: bool = True) -> Mark:
        """Look until a few looks in a row agree. What is new since `before` may yet go: it is waited for until it has
        not changed for as long as there is to settle, or (where not `final`) for a part of that. It never takes much
        longer than the time to settle, however much goes on.

        Raises:
            SourceError: the source is gone.
        """
        began = quiet_since = self._clock()
        looks = [self._look()]
        counts = Counter(map(class_of, looks[0]))
        pause_s = max(PAUSE_S, min(PAUSE_S_MAX, 2 * (self._clock() - began)))
        while True:
            self._wait(pause_s)
            looks.append(self._look())
            now = self._clock()
            latest = Counter(map(class_of, looks[-1]))
            if latest != counts:
                counts, quiet_since = latest, now
                looks = looks[-LOOKS_MIN:]
            mark = Mark(label, now, steadied(looks[-LOOKS_MIN:]))
            if len(looks) < LOOKS_MIN:
                continue
            if now - began >= self._settle_s or now - quiet_since >= self._needed_s(before, mark, final=final):
                return mark

    def _needed_s(self, before: Mark | None, mark: Mark, *, final: bool) -> float:
        """For how long nothing must have changed."""
        if before is not None and not cycle_growth((before, mark)).grown:
            return (LOOKS_MIN - 1) * PAUSE_S
        return self._settle_s if final else self._settle_s * IN_BETWEEN

    def _look(self) -> tuple[Buffer, ...]:
        self.snapshot = self._assembler.assemble(self._backend.capture())
        return tuple(filter(self._watch, self.snapshot.buffers))

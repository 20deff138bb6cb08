"""A session over a recording: it can go to any moment, and knows there what a live session would have known."""

import time
from collections.abc import Iterator, Mapping

from heaptop.analysis.trends import TREND_POINTS
from heaptop.backend.base import Recorded
from heaptop.session import Session, Update


class ReplaySession(Session):
    """Refreshes from a recording. `refresh` alone looks at the same moment again."""

    def __init__(self, backend: Recorded) -> None:
        super().__init__(backend, time.time)
        self._timeline = backend
        self._shown: int | None = None

    def known_before(self) -> Mapping[int, float]:
        """What the recorder knew."""
        return self._timeline.first_seen(self._timeline.index)

    def go(self, index: int) -> Iterator[Update]:
        """Go to a moment; gives the updates up to it, of which the last is the one. None where it stands there.

        A little way on, each moment in between; anywhere else the moments that a trend is made of, after `restart`.

        Raises:
            IndexError: there is no such moment.
        """
        if index == self._shown:
            return
        first = 0 if self._shown is None else self._shown + 1
        if self._shown is None or not first <= index < first + TREND_POINTS:
            first = max(0, index - TREND_POINTS + 1)
            self.restart()
        for step in range(first, index + 1):
            self._timeline.seek(step)
            self._shown = step
            update = self.refresh()
            # Growth is judged now and then only; after a jump that would be of some moment on the way.
            yield update._replace(growth=self.growth()) if step == index > first else update

"""Worlds of buffers in simulated time, looked at once a second through a tracker."""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from random import Random

from heaptop.analysis.diff import diff
from heaptop.analysis.growth import Tracker
from heaptop.analysis.suspects import Growth, Verdict, growth_of
from heaptop.model import Buffer, Holder
from tests.analysis.builders import buffer, holder, snapshot

MEDIA, CAMERA, APP = holder(10, "mediaserver"), holder(20, "cameraserver"), holder(30, "app")


class World:
    """Buffers by inode; `look` shows them to the tracker, `pass_` lets time go by and looks each second."""

    def __init__(self, seed: int = 0, look_s: float = 1.0) -> None:
        self.random = Random(seed)
        self.look_s = look_s
        self.now = 0.0
        self.buffers: dict[int, Buffer] = {}
        self.tracker: Tracker | None = None
        self._inode = 0
        self._seen = snapshot()
        self._deaths: list[tuple[float, int]] = []

    def new(
        self,
        size_bytes: int = 16384,
        name: str | None = "x",
        holders: Sequence[Holder] = (MEDIA,),
        life_s: float | None = None,
    ) -> int:
        self._inode += 1
        self.buffers[self._inode] = buffer(self._inode, size_bytes, name=name, holders=holders)
        if life_s is not None:
            heappush(self._deaths, (self.now + life_s, self._inode))
        return self._inode

    def give(self, inode: int, *holders: Holder) -> None:
        self.buffers[inode] = self.buffers[inode]._replace(holders=holders)

    def look(self) -> None:
        shown = snapshot(*(self.buffers[inode] for inode in sorted(self.buffers)))
        if self.tracker is None:
            self.tracker = Tracker(shown.buffers, self.now)
        else:
            self.tracker.follow(diff(self._seen, shown), self.now)
        self._seen = shown

    def pass_(self, seconds: float) -> Iterator[float]:
        """Each look's time, before the look: whatever is done then is in it."""
        end = self.now + seconds
        if self.tracker is None:
            self.look()
        while self.now < end:
            self.now += self.look_s
            while self._deaths and self._deaths[0][0] <= self.now:
                self.buffers.pop(heappop(self._deaths)[1], None)
            yield self.now
            self.look()

    @property
    def growth(self) -> Growth:
        assert self.tracker is not None
        return growth_of(self.tracker)

    @property
    def suspects(self) -> tuple[Verdict, ...]:
        return self.growth.suspects

    def storm(self, per_look: int, life_s: float, tail: str = "exponential") -> None:
        """Buffers that live for a while."""
        for _ in range(per_look):
            life = {
                "exponential": lambda: self.random.expovariate(1 / life_s),
                "uniform": lambda: self.random.uniform(0, 2 * life_s),
                "heavy": lambda: self.random.paretovariate(1.5) * life_s / 3,
            }[tail]()
            size = self.random.choice((4096, 8192))
            self.new(size, f"frame {self.random.randrange(3)}", (CAMERA,), life_s=life)

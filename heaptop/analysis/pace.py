"""Whether what stays of a class keeps coming: the judgement that makes a suspect.

A buffer is overdue when it is clearly older than those like it get. A leak is overdue buffers that were born all along:
steadily, for long, and still. So a ring of buffers is none (each dies at the ring's age), nor a pool (its births end),
nor a cache that is emptied now and then (its buffers die at that age); and a slow leak among many short-lived buffers
stands out, since those die young.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from heaptop.analysis import robust

OVERDUE: Final = 1.5
"""A buffer is overdue at so many times the age that nearly all like it die at."""
OLDEST_SHARE: Final = 0.98
SIGHTINGS_MIN: Final = 3
"""So many looks must have shown a buffer before it counts: no verdict rests on one sighting."""
BIRTHS_MIN: Final = 4
"""Times at which overdue buffers were born, below which nothing is judged."""
HALF_SURE: Final = 3
"""At so many times of birth the length of the story counts for half."""
SUSPECT: Final = 0.5
"""The confidence from which on a class is a suspect."""
_QUIET: Final = 3.0
_QUIET_OF_LONGEST: Final = 1.5
"""Growth has ended after a silence of so many mean gaps between births, and of so many of the longest gap."""


class Pace(NamedTuple):
    """How overdue buffers came, between `start` and `end`. All shares are 0 to 1.

    `steadiness` is how evenly and how lately they came, `length` how much there is to go by, `calm` how little else
    goes on in the class (numbers that jump about, and deaths in spite of being overdue); `confidence` is their product.
    `lifetime_s` is the age that buffers like these die at (0: none was seen to die).
    """

    births: int
    times: int
    start: float
    end: float
    per_s: float
    steadiness: float
    length: float
    calm: float
    lifetime_s: float
    has_ended: bool

    @property
    def confidence(self) -> float:
        """How sure it is that this goes on."""
        return self.steadiness * self.length * self.calm


class Story(NamedTuple):
    """What is known of a class or of several: rising times of birth of the buffers alive (those that were there at the
    first look left out), ages at death of late, the highest of all ages at death, when the first and the last look
    were, and how long it is from one to the next.
    """

    births: Sequence[float]
    lifetimes: Sequence[float]
    oldest: Sequence[float]
    began: float
    now: float
    look_s: float

    def overdue_s(self) -> set[float]:
        """Ages from which on a buffer may be called overdue: by what nearly all get, and by what none has got."""
        if not self.lifetimes:
            return {(SIGHTINGS_MIN - 1) * self.look_s}
        nearly_all = robust.quantile(self.lifetimes, OLDEST_SHARE)
        return {
            max(OVERDUE * age + self.look_s, (SIGHTINGS_MIN - 1) * self.look_s)
            for age in (nearly_all, max(self.oldest, default=nearly_all))
        }


def judge(story: Story, levels: Sequence[robust.Point]) -> Pace | None:
    """The most convincing of the paces since the first birth and since later ones; None where too few are overdue.

    `levels` are how many there were over time, as floors: what comes and goes must not shrink as they come.
    """
    paces: list[Pace] = []
    for overdue_s in story.overdue_s():
        end = story.now - overdue_s
        births = [born for born in story.births if born <= end]
        times = sorted(set(births))
        deaths = sum(age > overdue_s for age in story.oldest)
        paces += [
            _pace([born for born in births if born >= times[index]], deaths, story, end, levels)
            for index in {0, len(times) // 4, len(times) // 2}
            if len(times) - index >= BIRTHS_MIN
        ]
    return max(paces, key=lambda pace: (pace.confidence, pace.births), default=None)


def _pace(births: Sequence[float], deaths: int, story: Story, end: float, levels: Sequence[robust.Point]) -> Pace:
    """`deaths` are how many like these died though they were overdue."""
    times = sorted(set(births))
    gaps = robust.gaps(times)
    mean_s = (times[-1] - times[0]) / len(gaps)
    start = max(story.began, times[0] - mean_s)
    quiet_s = max(_QUIET * mean_s, _QUIET_OF_LONGEST * max(gaps))
    silence_s = max(0.0, end - times[-1])
    lately = 1.0 if silence_s <= quiet_s else quiet_s / silence_s
    counts = _counted(births)
    return Pace(
        births=len(births),
        times=len(times),
        start=start,
        end=end,
        per_s=_per_s(counts, start, end, len(births)),
        steadiness=(1 - robust.unevenness(births, start, end)) * lately,
        length=len(times) / (len(times) + HALF_SURE),
        calm=_calm([point for point in levels if point[0] >= start], len(births), story.now - start)
        * (len(births) / (len(births) + deaths)),
        lifetime_s=robust.quantile(story.lifetimes, OLDEST_SHARE) if story.lifetimes else 0.0,
        has_ended=silence_s > quiet_s,
    )


def _counted(births: Sequence[float]) -> list[robust.Point]:
    """How many had been born by each time of birth."""
    points: dict[float, float] = {}
    for index, born in enumerate(births):
        points[born] = index + 1.0
    return list(points.items())


def _per_s(counts: Sequence[robust.Point], start: float, end: float, births: int) -> float:
    """The rate: that of the middle of all pairs, which bursts do not upset; it lies near the plain mean."""
    mean = births / (end - start) if end > start else 0.0
    middle = robust.slope(counts)
    return middle if mean / 2 <= middle <= mean * 2 else mean


def _calm(levels: Sequence[robust.Point], births: int, length_s: float) -> float:
    """1 where the number of buffers grows along a line; down to half where it jumps about; 0 where it falls."""
    if len(levels) < 2:
        return 1.0
    per_s = robust.slope(levels)
    noise = robust.spread(levels, per_s)
    if per_s * length_s < births / 4 - 2 * noise:
        return 0.0
    return 1 - 0.5 * noise / (noise + births)

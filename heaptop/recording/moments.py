"""The moments of a recording: a line each, which tells what is there without opening it. Pure.

A segment's lines stand beside it as `NNNNNN.moments`, a table with tabs that awk and a spreadsheet read too.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from heaptop.pattern import pattern
from heaptop.recording.layout import escape, unescape
from heaptop.units import format_age

COLUMNS: Final = ("number", "captured_at", "uptime_s", "buffers", "size_bytes", "changes", "mark")
HEADER: Final = ("\t".join(COLUMNS) + "\n").encode()
END: Final = b"# end\n"
"""The last line of a segment that was finished; without it the segment itself says what it holds."""
STEP_S: Final = 1.0
"""By less than this the two clocks drift apart from one moment to the next without having been set."""

HOLE_INTERVALS: Final = 5
HOLE_S_MIN: Final = 5.0
"""So much more than the usual time between two moments, and so many seconds, is a hole."""

_BOOT: Final = pattern(rb"# boot ([0-9a-fA-F-]{1,64})\n")


class Moment(NamedTuple):
    """One capture of a recording: its number in its segment, and when it was taken by the clock and by the time since
    boot (None: not told). `changes` is None where not told.
    """

    number: int
    captured_at: float
    uptime_s: float | None = None
    buffers: int | None = None
    size_bytes: int | None = None
    changes: int | None = None
    mark: str = ""


def line_of(moment: Moment) -> bytes:
    """The moment as a line of the table."""
    cells = (
        str(moment.number),
        f"{moment.captured_at:.3f}",
        "" if moment.uptime_s is None else f"{moment.uptime_s:.3f}",
        *("" if value is None else str(value) for value in (moment.buffers, moment.size_bytes, moment.changes)),
    )
    return "\t".join(cells).encode() + b"\t" + escape(moment.mark.encode("utf-8", "surrogateescape")) + b"\n"


def boot_line(boot_id: str) -> bytes:
    """The line that tells of which boot a segment is."""
    return f"# boot {boot_id}\n".encode("ascii", "replace")


def read_table(text: bytes) -> tuple[tuple[Moment, ...], str, bool] | None:
    """The moments of a table, its boot id (empty: not told), and whether it has its end. None where it is no such
    table or is damaged: the segment is to be read instead.
    """
    lines = [line + b"\n" for line in text.split(b"\n")[:-1]]  # what has no line feed is not whole
    if not lines or lines[0] != HEADER:
        return None
    boot = _BOOT.fullmatch(lines[1]) if len(lines) > 1 else None
    rows = lines[2 if boot else 1 :]
    is_finished = rows[-1:] == [END]
    try:
        moments = tuple(_moment(row) for row in (rows[:-1] if is_finished else rows))
    except (ValueError, OverflowError):
        return None
    if any(
        moment.number != index or min(moment.buffers or 0, moment.size_bytes or 0, moment.changes or 0) < 0
        for index, moment in enumerate(moments)
    ):
        return None
    return moments, boot[1].decode() if boot else "", is_finished


def _moment(row: bytes) -> Moment:
    number, captured_at, uptime_s, buffers, size_bytes, changes, mark = row[:-1].split(b"\t")
    at = float(captured_at)
    uptime = float(uptime_s) if uptime_s else None
    if not abs(at) < 1e12 or not abs(uptime or 0) < 1e12:
        raise ValueError(row)
    count, size, changed = (int(cell) if cell else None for cell in (buffers, size_bytes, changes))
    return Moment(int(number), at, uptime, count, size, changed, unescape(mark).decode("utf-8", "surrogateescape"))


class Break(NamedTuple):
    """What lies between a moment, by its index in the recording, and the one before it."""

    moment: int
    why: str


class Line(NamedTuple):
    """All moments of a recording on one clock: `at` rises. `breaks` is where time or the boot does not go on."""

    at: tuple[float, ...]
    breaks: tuple[Break, ...]


def one_clock(runs: Iterable[tuple[str, Sequence[Moment]]]) -> Line:
    """Put the moments of consecutive segments, each with its boot id, on one clock.

    Where the clock was set while the machine ran, the earlier moments are moved to the later clock, which somebody
    cared to set. After a reboot with the clock further back (no battery), the later ones follow the earlier.
    """
    told = [(boot_id, moment) for boot_id, moments in runs for moment in moments]
    steps_s = [0.0] * len(told)
    reboots: set[int] = set()
    for index, ((boot_before, before), (boot_id, now)) in enumerate(pairwise(told), 1):
        if _is_reboot(boot_before, before, boot_id, now):
            reboots.add(index)
        elif abs(step_s := _step_s(before, now)) >= STEP_S:
            steps_s[index] = step_s
    at = tuple(_rising(_moved([moment.captured_at for _, moment in told], steps_s, reboots)))
    passed_s = [0.0, *(now - before for before, now in pairwise(at))]
    hole_s = max(HOLE_S_MIN, HOLE_INTERVALS * sorted(passed_s)[len(passed_s) // 2])
    breaks = []
    for index, step_s in enumerate(steps_s):
        if index in reboots:
            breaks.append(Break(index, "reboot"))
        elif passed_s[index] >= hole_s:
            breaks.append(Break(index, f"nothing was recorded for {format_age(passed_s[index])}"))
        elif step_s:
            breaks.append(Break(index, f"the clock was set {format_age(abs(step_s))} {'on' if step_s > 0 else 'back'}"))
    return Line(at, tuple(breaks))


def _is_reboot(boot_before: str, before: Moment, boot_id: str, now: Moment) -> bool:
    if boot_before and boot_id:
        return boot_before != boot_id
    return before.uptime_s is not None and now.uptime_s is not None and now.uptime_s < before.uptime_s


def _step_s(before: Moment, now: Moment) -> float:
    """By how much the clock was set between two moments of one boot."""
    passed_s = now.captured_at - before.captured_at
    if before.uptime_s is None or now.uptime_s is None or now.uptime_s < before.uptime_s:
        return min(0.0, passed_s)  # only a step back can be told
    return passed_s - (now.uptime_s - before.uptime_s)


def _moved(at: list[float], steps_s: list[float], reboots: set[int]) -> list[float]:
    """Each time by the clock as it was last set before the next reboot."""
    shift_s = 0.0
    for index in range(len(at) - 1, -1, -1):
        at[index] += shift_s
        shift_s = 0.0 if index in reboots else shift_s + steps_s[index]
    return at


def _rising(at: Iterable[float]) -> Iterable[float]:
    shift_s, last = 0.0, None
    for time in at:
        if last is not None and time + shift_s < last:
            shift_s = last - time
        last = time + shift_s
        yield last

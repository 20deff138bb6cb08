"""The time line of a recording, on one line: what is played, how fast, and its whole course. No app needed."""

import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from heaptop.tui.playback import Playback
from heaptop.tui.renderables.chrome import Piece, cut
from heaptop.tui.renderables.sparkline import sparkline
from heaptop.units import format_age

CURSOR, MARK, BREAK, NOTHING = "┃", "◆", "╎", " "
SPEED_CELLS = 6
TRACK_MIN = 10
"""With less room than this for the course, what stands around it goes."""


def timeline(playback: Playback, width: int) -> tuple[Piece, ...]:
    """` ▶ 14:02:11 2x ▁▁▂▂▃▅┃▅▅▅╎▅▅◆▅▅  -3:07 `."""
    left, right = _around(playback, width)
    first, length = track(playback, width)
    course = _course(playback, length)
    pieces = [Piece(char, style) for char, style in course]
    return cut([*left, *_joined(pieces), *right], width) if first + length <= width else cut(left, width)


def track(playback: Playback, width: int) -> tuple[int, int]:
    """Where the course is on the line: its first cell, and how many."""
    left, right = _around(playback, width)
    first = sum(len(piece.text) for piece in left)
    return first, max(1, width - first - sum(len(piece.text) for piece in right))


def _around(playback: Playback, width: int) -> tuple[list[Piece], list[Piece]]:
    at = playback.at
    state = "▶" if playback.is_playing else "‖"
    day = "%m-%d %H:%M:%S" if at[-1] - at[0] >= 86_400 else "%H:%M:%S"
    clock = time.strftime(day, time.localtime(at[playback.index]))
    left = [Piece(f" {state} ", "key", "app.pause"), Piece(clock, "strong", "app.go_to_time")]
    speed = Piece(f" {playback.speed:g}x".ljust(SPEED_CELLS), "dim", "app.speed(1)")
    to_end = at[-1] - at[playback.index]
    end_cells = len(format_age(at[-1] - at[0])) + 1
    right = [Piece(" " + (f"-{format_age(to_end)}" if to_end >= 1 else "end").rjust(max(4, end_cells)) + " ", "dim")]
    if width - len(clock) - 20 < TRACK_MIN:
        return [*left, Piece(" ")], [Piece(" ")]
    return [*left, speed], right


def place_text(playback: Playback) -> str:
    """`moment 301 of 600 · reboot`: where it stands, and what is there."""
    stop = playback.stop_here()
    what = "" if stop is None else f" · {BREAK if stop.is_break else MARK} {stop.text}"
    return f"moment {playback.index + 1:,} of {len(playback.at):,}{what}"


def _course(playback: Playback, length: int) -> list[tuple[str, str]]:
    """A cell for each part of the time: the size then, and what is to be seen there."""
    at = playback.at
    step = (at[-1] - at[0]) / length or 1.0
    edges = [at[0] + step * cell for cell in range(length + 1)]
    last = [bisect_right(at, edge) - 1 for edge in edges[1:]]
    last[-1] = len(at) - 1
    cells = [(char, "trend") for char in _levels(playback.sizes, last)]
    holes = {stop.moment for stop in playback.stops if stop.is_break}
    for cell, (before, index) in enumerate(pairwise([-1, *last])):
        if before == index and index + 1 in holes:
            cells[cell] = NOTHING, "dim"  # nothing was recorded here
    for stop in sorted(playback.stops, key=lambda stop: not stop.is_break):
        cells[_cell(stop.moment, last)] = (BREAK, "warning") if stop.is_break else (MARK, "key")
    cells[_cell(playback.index, last)] = CURSOR, "title"
    return cells


def _cell(moment: int, last: Sequence[int]) -> int:
    """The first cell whose part of time reaches this moment."""
    return min(bisect_right(last, moment - 1), len(last) - 1)


def _levels(sizes: Sequence[int | None], last: Sequence[int]) -> str:
    """A level for each cell: the size at its end; a line in the middle where it was not told."""
    told = [sizes[index] if index < len(sizes) else None for index in last]
    known = [size for size in told if size is not None]
    if not known:
        return "─" * len(last)
    levels = iter(sparkline(known, len(known)))
    return "".join("─" if size is None else next(levels) for size in told)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Neighbours of one style as one piece."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].style == piece.style:
            joined[-1] = Piece(joined[-1].text + piece.text, piece.style)
        else:
            joined.append(piece)
    return joined

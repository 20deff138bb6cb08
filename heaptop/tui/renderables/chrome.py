"""The lines around the content: header, tabs, state, footer, each as pieces of plain text. No app needed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from heaptop.tui.renderables.table import fit
from heaptop.units import format_delta, format_size, printable

if TYPE_CHECKING:
    from heaptop.analysis.diff import Delta

STYLES = ("title", "strong", "dim", "warning", "tab", "tab-current", "key", "label", "trend")
"""Style names of pieces; a line widget has a component class `line--NAME` for each."""


RATE_MIN = 0.05
"""Below this a rate is nothing that one digit could show."""

SHORT = 16
"""The longest piece of the left is cut, down to this, where a line is full, before others are dropped."""


class Piece(NamedTuple):
    """Plain text in a named style; a click on it runs `action` if there is one."""

    text: str
    style: str = ""
    action: str = ""


class HeaderFacts(NamedTuple):
    """What the header tells. `held_at` is the clock time of a pause; `changed` what became of things since."""

    source: str
    kernel: str
    privileges: str
    gaps: int
    buffers: int | None
    size_bytes: int | None
    rate_per_s: float | None
    interval: str
    state: str = ""
    held_at: str = ""
    changed: str = ""
    recording: str = ""


def spread(left: Sequence[Piece], right: Sequence[Piece], width: int) -> tuple[Piece, ...]:
    """Left and right pieces on one line; where both do not fit, pieces of the left go from its end, then the right."""
    left, right = list(left), list(right)
    over = _length(left) + _length(right) + 1 - width
    if over > 0 and left:
        longest = max(range(len(left)), key=lambda index: _length([left[index]]))
        length = _length([left[longest]])
        left[longest] = left[longest]._replace(text=fit(left[longest].text, max(min(SHORT, length), length - over)))
    while len(left) > 1 and _length(left) + _length(right) + 1 > width:
        left.pop()
    while len(right) > 1 and _length(left) + _length(right) + 1 > width:
        right.pop(0)
    gap = Piece(" " * max(1, width - _length(left) - _length(right)))
    return cut([*left, gap, *right], width)


def cut(pieces: Sequence[Piece], width: int) -> tuple[Piece, ...]:
    """The first `width` cells of a line, all text printable."""
    taken: list[Piece] = []
    for piece in pieces:
        text = printable(piece.text)
        if cell_len(text) >= width:
            text = fit(text, width)
        if text:
            taken.append(Piece(text, piece.style, piece.action))
        width -= cell_len(text)
    return tuple(taken)


def _length(pieces: Sequence[Piece]) -> int:
    return sum(cell_len(printable(piece.text)) for piece in pieces)


def header_line(facts: HeaderFacts, width: int) -> tuple[Piece, ...]:
    """`heaptop  kernel 6.12 · root · 2 gaps          56 buffers 128 MiB  +2/s     1 s`."""
    left = [Piece(" heaptop ", "title"), Piece(f" {facts.source}", "strong")]
    if facts.privileges:
        left.append(Piece(f" · {facts.privileges}"))
    if facts.gaps:
        plural = "" if facts.gaps == 1 else "s"
        left.append(Piece(f" · {facts.gaps} gap{plural}", "warning", "app.gaps"))
    if facts.held_at:
        right = [Piece(facts.changed, ""), Piece("  "), Piece(f" PAUSED {facts.held_at} ", "warning", "app.pause")]
        return spread(_with_kernel(left, right, facts.kernel, width), right, width)
    right = []
    if facts.rate_per_s is not None and abs(facts.rate_per_s) >= RATE_MIN:
        right.append(
            Piece(f"{facts.rate_per_s:+.0f}/s  " if abs(facts.rate_per_s) >= 1 else f"{facts.rate_per_s:+.1f}/s  ")
        )
    if facts.buffers is not None:
        plural = "" if facts.buffers == 1 else "s"
        right.insert(0, Piece(f"{facts.buffers:,} buffer{plural} {format_size(facts.size_bytes)}  ", "strong"))
    if facts.recording:
        right.append(Piece(f"● {facts.recording}  ", "warning", "app.record"))
    right.append(Piece(f"{facts.state or facts.interval} ", "warning" if facts.state else "dim"))
    return spread(_with_kernel(left, right, facts.kernel, width), right, width)


def _with_kernel(left: list[Piece], right: list[Piece], kernel: str, width: int) -> list[Piece]:
    """The kernel's release behind the source, where there is room for it: it matters least."""
    full = [*left[:2], Piece(f" {kernel}"), *left[2:]] if kernel else left
    return full if _length(full) + _length(right) < width else left


def tiny_line(facts: HeaderFacts, width: int) -> tuple[Piece, ...]:
    """All there is room for on a terminal too small for the screens."""
    count = "~" if facts.buffers is None else f"{facts.buffers:,}"
    total = Piece(f"{count} buffers {format_size(facts.size_bytes)}", "strong")
    return cut([total, Piece(" · too small for the screens: take 40x10 or more", "dim")], width)


def tabs_line(tabs: Sequence[tuple[int, str]], current: int, width: int) -> tuple[Piece, ...]:
    """` 1 Heaps  2 Buffers …`; on a narrow screen only the current tab keeps its name."""
    full = [
        Piece(f" {number} {title} ", "tab-current" if number == current else "tab", f"app.go({number})")
        for number, title in tabs
    ]
    if _length(full) <= width:
        return tuple(full)
    short = [
        piece if number == current else Piece(f" {number} ", "tab", piece.action)
        for piece, (number, _) in zip(full, tabs, strict=True)
    ]
    return cut(short, width)


def key_line(keys: Sequence[tuple[str, str, str]], width: int) -> tuple[Piece, ...]:
    """` / filter  m mark …` from (key, what, action); the last one (help) always stays, others go from the end."""
    groups = [(Piece(f" {key}", "key", action), Piece(f" {what} ", "label", action)) for key, what, action in keys]
    while len(groups) > 1 and sum(_length(group) for group in groups) > width:
        groups.pop(-2)
    return cut([piece for group in groups for piece in group], width)


def changed_text(delta: "Delta") -> str:
    """`+12 -3 buffers, +48.0 MiB`: what became of buffers between two looks."""
    counts = [f"+{len(delta.new)}"] if delta.new else []
    counts += [f"-{len(delta.gone)}"] if delta.gone else []
    if counts:
        return f"{' '.join(counts)} buffers, {format_delta(delta.size_bytes)}"
    plural = "" if len(delta.changed) == 1 else "s"
    return f"{len(delta.changed)} buffer{plural} changed" if delta.changed else "nothing changed"

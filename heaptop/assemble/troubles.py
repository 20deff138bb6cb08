"""What could not be read of processes, and of the capture as a whole: one gap for each kind, however many have it."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from heaptop.assemble import processes
from heaptop.assemble.gaps import AS_TRACER, NOT_CAPTURED, REFUSED, Gaps, counted, is_gone
from heaptop.assemble.processes import Trouble, View
from heaptop.capture import Capture, ProcessCapture, ReadError

Odd = tuple[tuple[ProcessCapture, View], ...]
"""The processes of which there is something to tell, by pid."""


class Troubles(NamedTuple):
    """Of how many processes each trouble is; how many references have no identity, or one that could not be read."""

    of_processes: tuple[tuple[Trouble, int], ...]
    anonymous: int
    unidentified: int


def is_odd(process: ProcessCapture, view: View) -> bool:
    """Whether there is something to tell of a process."""
    return bool(view.anonymous or view.unidentified or view.troubles) or processes.is_unreadable(process)


def troubles(odd: Odd) -> Troubles:
    """All that there is to tell."""
    counts = Counter(trouble for process, view in odd for trouble in _of_one(process, view))
    anonymous, unidentified = (sum(view.anonymous for _, view in odd), sum(view.unidentified for _, view in odd))
    return Troubles(tuple(counts.items()), anonymous, unidentified)


def _of_one(process: ProcessCapture, view: View) -> Iterable[Trouble]:
    """The first of each kind. One that cannot be read at all has no other."""
    if processes.is_unreadable(process):
        return (Trouble("{} could not be read", REFUSED, AS_TRACER),)
    return {(trouble.what, trouble.remedy): trouble for trouble in reversed(view.troubles)}.values()


def note(capture: Capture, found: Troubles, gaps: Gaps) -> None:
    """A gap for each."""
    for trouble, count in found.of_processes:
        if trouble.why != NOT_CAPTURED or "maps" not in capture.off:
            gaps.tally(trouble.what, "process", trouble.why, trouble.remedy, of=capture.processes_seen, count=count)
    if found.anonymous:
        gaps.add(*without_identity(counted(found.anonymous, "reference")))
    if found.unidentified:
        what = f"{counted(found.unidentified, 'descriptor')} of unknown buffers"
        why = "neither stat nor an inode number in fdinfo (which has it from 5.14 on)"
        gaps.add(what, why, "capture stat of descriptors too")
    _note_damage(capture, gaps)


def without_identity(what: str) -> tuple[str, str, str]:
    """A gap for what a kernel does not number."""
    return f"{what} without identity", "buffers have no inode of their own up to kernel 5.2", "use kernel 5.3 or newer"


def _note_damage(capture: Capture, gaps: Gaps) -> None:
    """A recording that breaks off, /proc that cannot be listed."""
    damage = capture.files.get("recording")
    if isinstance(damage, ReadError):
        gaps.add("a part of the recording", "it is cut, damaged or too large", "make it again; what is there is shown")
    listing = capture.files.get("proc")
    if isinstance(listing, ReadError) and not is_gone(listing):
        gaps.read(listing, lambda _: None, "the list of processes")

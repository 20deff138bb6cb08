"""Call sites: which places in programs the buffers come from, and the tree of the calls that lead there. Pure.

Names come from a function that is given (`Namer`), so that nothing is looked up for what is not shown.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from heaptop.call_stack import CallStack, Frame, Location
from heaptop.model import Buffer, Snapshot
from heaptop.pattern import pattern

Namer = Callable[[Frame], tuple[Location, ...]]
"""The places in source of a frame, innermost first: more than one where functions were inlined."""

_PLUMBING: Final = pattern(
    r"(?:libc|ld|libpthread|libdl|libffi|libdmabufheap|libion|libc\+\+|libstdc\+\+|libbase|ld-linux[^/]*|ld-musl[^/]*"
    r"|_ctypes[^/]*|fcntl[^/]*|linker64|linker)(?:-[0-9.]+)?\.so[^/]*|linker(?:64)?|\[vdso\]"
)
"""Files through which programs allocate, and which are never why."""
_PLUMBING_FUNCTION: Final = pattern(r"(?:__)?(?:GI_)?(?:__)?(?:libc_)?(?:ioctl|syscall)|<?(?:std|core|alloc)::.*")
_SYSTEM_SOURCES: Final = ("/usr/include/c++/", "/rustc/", "library/std/", "library/core/", "library/alloc/")
"""Where the sources of what compilers bring begin: libstdc++'s templates, Rust's library."""


class Of(StrEnum):
    """Which buffers a tree is of."""

    LIVE = "live"
    LEAKED = "leaked"
    PEAK = "peak"


class By(StrEnum):
    """What makes a call site large."""

    BYTES = "bytes"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class SiteTotal:
    """The buffers of one call stack; `stack` is None for those whose allocation nobody watched."""

    stack: CallStack | None
    count: int
    size_bytes: int
    inodes: tuple[int, ...]
    comms: tuple[str, ...]

    def weight(self, by: By) -> int:
        """How large it is."""
        return self.size_bytes if by is By.BYTES else self.count


def by_stack(buffers: Iterable[Buffer], by: By = By.BYTES) -> tuple[SiteTotal, ...]:
    """Buffers grouped by call stack, the largest first. Sizes that are not known count as 0."""
    groups: dict[CallStack | None, list[Buffer]] = {}
    for buffer in buffers:
        groups.setdefault(buffer.origin.stack if buffer.origin is not None else None, []).append(buffer)
    totals = [
        SiteTotal(
            stack,
            len(group),
            sum(buffer.size_bytes or 0 for buffer in group),
            tuple(buffer.inode for buffer in group),
            tuple(sorted({buffer.origin.comm for buffer in group if buffer.origin is not None})),
        )
        for stack, group in groups.items()
    ]
    return tuple(sorted(totals, key=lambda total: (-total.weight(by), total.inodes[:1])))


def places(stack: CallStack, name: Namer) -> tuple[Location, ...]:
    """All places of a stack, innermost first."""
    return tuple(location for frame in stack.frames for location in name(frame))


@dataclass(frozen=True, slots=True)
class CallSite:
    """What is to blame: the innermost place that is not of a system library, nor a template of one that was inlined.

    `caller` is who called it, where that is another file: libraries have functions of their own to allocate with.
    """

    place: Location
    caller: Location | None = None


def call_site(stack: CallStack, name: Namer) -> CallSite | None:
    """The call site of a stack: its innermost place where all are of system libraries; None for an empty one."""
    first = found = None
    for frame in stack.frames:
        for location in name(frame):
            first = first or location
            if is_plumbing(location):
                continue
            if found is None:
                found = location
            elif location.module != found.module:
                return CallSite(_place_key(found), _place_key(location))
            else:
                return CallSite(_place_key(found))
    place = found or first
    return None if place is None else CallSite(_place_key(place))


def is_plumbing(location: Location) -> bool:
    """Whether a place is on the way of each allocation: the C and C++ libraries, Android's libdmabufheap."""
    if _PLUMBING.fullmatch(location.module.rpartition("/")[2]):
        return True
    if (location.file or "").startswith(_SYSTEM_SOURCES):
        return True
    return _PLUMBING_FUNCTION.fullmatch(location.function or "") is not None


@dataclass(frozen=True, slots=True)
class Sample:
    """A stack's places, outermost first, and what it weighs."""

    places: tuple[Location, ...]
    size_bytes: int
    count: int

    def weight(self, by: By) -> int:
        """How large it is."""
        return self.size_bytes if by is By.BYTES else self.count


UNWATCHED: Final = Location("(not watched by heaptop)", None, None, "")
"""Stands for the stack of a buffer whose allocation nobody watched."""


def cut_place(stack: CallStack) -> Location | None:
    """Stands for the frames that are missing; None where a stack is whole."""
    return Location(f"(cut: {stack.cut})", None, None, "") if stack.cut else None


def samples(totals: Iterable[SiteTotal], name: Namer) -> tuple[Sample, ...]:
    """What trees and exports are made of."""
    result = []
    for total in totals:
        if total.stack is None:
            path: tuple[Location, ...] = (UNWATCHED,)
        else:
            cut = cut_place(total.stack)
            path = (*(() if cut is None else (cut,)), *reversed(places(total.stack, name)))
        result.append(Sample(path, total.size_bytes, total.count))
    return tuple(result)


@dataclass(frozen=True, slots=True)
class Node:
    """A place and all that was allocated through it. `place` is None at the root; children are the largest first."""

    place: Location | None
    size_bytes: int
    count: int
    children: tuple["Node", ...]

    def weight(self, by: By) -> int:
        """How large it is."""
        return self.size_bytes if by is By.BYTES else self.count

    def walk(self) -> Iterator[tuple[int, "Node"]]:
        """All nodes with their depth, parents first."""
        pending = [(0, self)]
        while pending:
            depth, node = pending.pop()
            yield depth, node
            pending += [(depth + 1, child) for child in reversed(node.children)]


class _Growing:
    __slots__ = ("children", "count", "size_bytes")

    def __init__(self) -> None:
        self.size_bytes = 0
        self.count = 0
        self.children: dict[Location, _Growing] = {}


def _place_key(location: Location) -> Location:
    """Two addresses of one line are one place; of code without a name, the address is all there is."""
    return location._replace(address=None) if location.function is not None else location


def tree(of: Iterable[Sample], by: By = By.BYTES) -> Node:
    """The tree of calls."""
    root = _Growing()
    for sample in of:
        node = root
        node.size_bytes += sample.size_bytes
        node.count += sample.count
        for location in sample.places:
            node = node.children.setdefault(_place_key(location), _Growing())
            node.size_bytes += sample.size_bytes
            node.count += sample.count
    return _frozen(root, by)


def _frozen(root: _Growing, by: By) -> Node:
    """Without recursion: a stack may be a thousand frames deep."""
    order: list[tuple[Location | None, _Growing]] = [(None, root)]
    for _, growing in order:
        order += growing.children.items()
    done: dict[int, Node] = {}
    for place, growing in reversed(order):
        children = [done.pop(id(child)) for child in growing.children.values()]
        children.sort(key=lambda node: -node.weight(by))
        done[id(growing)] = Node(place, growing.size_bytes, growing.count, tuple(children))
    return done[id(root)]


class PeakKeeper:
    """Keeps the buffers of the moment at which there were most bytes, of all snapshots that it was shown."""

    def __init__(self) -> None:
        self.size_bytes = -1
        self.captured_at: float | None = None
        self.buffers: Sequence[Buffer] = ()

    def look(self, snapshot: Snapshot) -> None:
        """One more snapshot."""
        size_bytes = snapshot.size_bytes
        if size_bytes > self.size_bytes:
            self.size_bytes, self.captured_at, self.buffers = size_bytes, snapshot.captured_at, snapshot.buffers


def chosen(of: Of, snapshot: Snapshot, suspects: Iterable[int], peak: PeakKeeper) -> Sequence[Buffer]:
    """The buffers that a tree is of. `suspects` are the inodes that growth does not explain."""
    if of is Of.PEAK:
        return peak.buffers
    if of is Of.LEAKED:
        wanted = frozenset(suspects)
        return tuple(buffer for buffer in snapshot.buffers if buffer.inode in wanted)
    return snapshot.buffers


def shown(location: Location) -> str:
    """`player::alloc_frame(int) (player.cc:41)`, `libfoo.so+0x41b0` where nothing better is known. As it came: show it
    through `units.printable`.
    """
    name = location.function or where(location)
    return f"{name} ({_line(location)})" if location.function is not None and location.file is not None else name


def where(location: Location) -> str:
    """A place without its function: `player.cc:41`, else the module and the address in it."""
    if location.file is not None:
        return _line(location)
    module = location.module.rpartition("/")[2] or "no file"
    return module if location.address is None else f"{module}+{location.address:#x}"


def _line(location: Location) -> str:
    name = (location.file or "").rpartition("/")[2]
    return name if location.line is None else f"{name}:{location.line}"


def grouped(totals: Iterable[SiteTotal], name: Namer) -> Mapping[CallSite | None, tuple[SiteTotal, ...]]:
    """Stacks by call site, in the order in which the sites first come; None are the buffers that nobody watched."""
    groups: dict[CallSite | None, list[SiteTotal]] = {}
    for total in totals:
        groups.setdefault(None if total.stack is None else call_site(total.stack, name), []).append(total)
    return {site: tuple(group) for site, group in groups.items()}


class SiteShare(NamedTuple):
    """A call site of some buffers: how many of them it allocated, and of how many bytes."""

    site: CallSite
    buffers: int
    size_bytes: int


def shares(buffers: Iterable[Buffer], name: Namer) -> tuple[SiteShare, ...]:
    """The call sites of buffers, by bytes; without those whose allocation nobody watched."""
    groups = grouped(by_stack(buffers), name)
    found = [
        SiteShare(site, sum(total.count for total in group), sum(total.size_bytes for total in group))
        for site, group in groups.items()
        if site is not None
    ]
    return tuple(sorted(found, key=lambda share: -share.size_bytes))


def site_text(site: CallSite) -> str:
    """`heap_alloc (heaplib.cc:9) for player::grab (player.cc:19)`."""
    return shown(site.place) + ("" if site.caller is None else f" for {shown(site.caller)}")


def abbreviated(location: Location, room: int) -> str:
    """As `shown`, in `room` characters if it can be: without the parameters, then without those of templates."""
    for name in (location.function, _without(location.function, "()"), _without(location.function, "()<>")):
        text = shown(location._replace(function=name))
        if len(text) <= room:
            break
    return text


def _without(name: str | None, brackets: str) -> str | None:
    """A name without what stands in brackets: `()`, or `<>` too. That of an operator or a lambda is left as it is."""
    if name is None or "operator" in name:
        return name
    depth, kept = 0, []
    for character in name:
        if character in brackets[::2]:
            depth += 1
            if depth == 1:
                kept.append(character)
        if depth == 0:
            kept.append(character)
        if character in brackets[1::2]:
            if depth == 1:
                kept.append(character)
            depth = max(0, depth - 1)
    return "".join(kept).replace("()", "").replace("<>", "")

"""What changed from one capture to the next, as files; and the captures that such changes are. Pure.

A process that is the very same object as in the capture before is not looked at again, on either side.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

from heaptop.capture import NOTHING, Capture, ProcessCapture, Raw
from heaptop.recording.layout import ABOUT, GONE, assembled, escape, pid_of, process_of, unescape
from heaptop.recording.members import info_members, process_members, system_members

OWN: Final = "proc/self/status"
"""heaptop's own: it differs each time, and what of it counts (namespace, rights) does not."""
Key = TypeVar("Key")
Value = TypeVar("Value")

STRIDE: Final = 32
"""Every so many moments the state is kept whole; in between it is made from the changes."""


class Differ:
    """Turns captures, one after the other, into the files that make each of them from the one before."""

    def __init__(self) -> None:
        self._system: dict[str, bytes] = {}
        self._infos: dict[str, bytes] = {}
        self._processes: dict[int, tuple[ProcessCapture, dict[str, bytes]]] = {}

    def whole(self, capture: Capture) -> dict[str, bytes]:
        """All files of this capture, from which the next changes count.

        Raises:
            RecordingError: a path that no file can have.
        """
        self._system, self._infos, self._processes = {}, {}, {}
        return self.changes(capture)

    def changes(self, capture: Capture) -> dict[str, bytes]:
        """The files that are new or differ from the capture before, with `gone.txt` where some are not there any more.

        Raises:
            RecordingError: a path that no file can have.
        """
        system = system_members(capture)
        if OWN in self._system and OWN in system:
            system[OWN] = self._system[OWN]
        changed: dict[str, bytes] = {}
        gone = _compare(self._system, system, changed)
        processes: dict[int, tuple[ProcessCapture, dict[str, bytes]]] = {}
        for process in capture.processes:
            known = self._processes.pop(process.pid, None)
            if known is None or known[0] is not process:
                members = process_members(process)
                gone += _compare({} if known is None else known[1], members, changed)
                known = process, members
            processes[process.pid] = known
        for _, members in self._processes.values():
            gone += members
        infos = info_members(capture)
        gone += _compare(self._infos, infos, changed)
        self._system, self._infos, self._processes = system, infos, processes
        if gone:
            changed[GONE] = b"".join(escape(path.encode("utf-8", "surrogateescape")) + b"\n" for path in gone)
        return changed


def _compare(before: Mapping[str, bytes], now: Mapping[str, bytes], changed: dict[str, bytes]) -> list[str]:
    """Put what is new or differs into `changed`; gives the paths that are gone."""
    changed |= {path: content for path, content in now.items() if before.get(path) != content}
    return [path for path in before if path not in now]


# The other direction


class _Group:
    """The files of one process, and the process that they are, once somebody asked."""

    __slots__ = ("_process", "members", "pid")

    def __init__(self, pid: int, members: dict[str, Raw]) -> None:
        self.pid = pid
        self.members = members
        self._process: ProcessCapture | None = None

    @property
    def process(self) -> ProcessCapture:
        if self._process is None:
            self._process = process_of(self.pid, self.members)
        return self._process


class _Change:
    """What becomes of each path and process; None: it is gone."""

    __slots__ = ("about", "groups", "system")

    def __init__(self, about: Raw) -> None:
        self.about = about
        self.system: dict[str, Raw | None] = {}
        self.groups: dict[int, _Group | None] = {}


class _State:
    __slots__ = ("groups", "system")

    def __init__(self, system: Mapping[str, Raw] = NOTHING, groups: Mapping[int, _Group] = NOTHING) -> None:
        self.system = dict(system)
        self.groups = dict(groups)

    def apply(self, change: _Change) -> None:
        _put(self.system, change.system)
        _put(self.groups, change.groups)

    def copy(self) -> "_State":
        return _State(self.system, self.groups)


class Replayed:
    """The captures of one segment, each made when it is asked for. What did not change stays the very same object."""

    def __init__(self, moments: Iterable[Mapping[str, Raw]]) -> None:
        """`moments` are the files of each: all of the first one, of the others those that changed."""
        self._changes: list[_Change] = []
        self._states: list[_State] = []
        state = _State()
        for members in moments:
            change = _change(members, state)
            state.apply(change)
            if len(self._changes) % STRIDE == 0:
                self._states.append(state.copy())
            self._changes.append(change)

    def __len__(self) -> int:
        return len(self._changes)

    def about(self, index: int) -> Raw:
        """The heaptop.json of a moment."""
        return self._changes[index].about

    def system(self, index: int) -> Mapping[str, Raw]:
        """The system-wide files of a moment."""
        return self._state(index).system

    def capture(self, index: int, source: str) -> Capture:
        """The capture of a moment."""
        state = self._state(index)
        processes = (group.process for _, group in sorted(state.groups.items()))
        return assembled(state.system | {ABOUT: self._changes[index].about}, processes, source)

    def _state(self, index: int) -> _State:
        start = index - index % STRIDE
        state = self._states[index // STRIDE].copy()
        for change in self._changes[start + 1 : index + 1]:
            state.apply(change)
        return state


def _change(members: Mapping[str, Raw], state: _State) -> _Change:
    change = _Change(members.get(ABOUT, b""))
    touched: dict[int, dict[str, Raw]] = {}
    gone = members.get(GONE, b"")
    for path in _paths(gone) if isinstance(gone, bytes) else ():
        pid = pid_of(path)
        if pid is None:
            change.system[path] = None
        else:
            _touch(touched, pid, state).pop(path, None)
    for path, raw in members.items():
        pid = pid_of(path)
        if path in (ABOUT, GONE):
            continue
        if pid is None:
            change.system[path] = raw
        else:
            _touch(touched, pid, state)[path] = raw
    change.groups = {pid: _Group(pid, group) if group else None for pid, group in touched.items()}
    return change


def _touch(touched: dict[int, dict[str, Raw]], pid: int, state: _State) -> dict[str, Raw]:
    if pid not in touched:
        before = state.groups.get(pid)
        touched[pid] = {} if before is None else dict(before.members)
    return touched[pid]


def _put(mapping: dict[Key, Value], change: Mapping[Key, Value | None]) -> None:
    for key, value in change.items():
        if value is None:
            mapping.pop(key, None)
        else:
            mapping[key] = value


def _paths(text: bytes) -> Iterator[str]:
    for line in text.split(b"\n"):
        if line:
            yield unescape(line).decode("utf-8", "surrogateescape")

r"""The call stacks of allocations, as heaptop itself writes them (`heaptop/stacks/*`, see docs/recording.md).

    heaptop-stacks/1
    module	0	93ac61ec5a8eb1396f9fbd350e3169a558528a40	/usr/lib/libc.so.6
    function	0	alloc_frame	/srv/player.py	41
    stack	0		0+f82ec 0+3fbf3 -+7f00dead0000 f0
    buffer	62	0	812	815	1732500000.25	camera

Fields have tabs between; tab, newline, return and backslash are `\ooo`. Modules, functions and stacks are numbered
from 0 on, and are only ever added to, so a text that grew need be read from where it ended before.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from heaptop.call_stack import CallStack, CodeFrame, Frame, NamedFrame, Origin
from heaptop.parse.text import error_at
from heaptop.pattern import pattern
from heaptop.units import text_of

HEADING: Final = b"heaptop-stacks/1\n"
FRAMES_MAX: Final = 1000

_MODULE: Final = pattern(rb"module\t(\d{1,9})\t((?:[0-9a-f]{2}){0,64})\t([^\t\n]*)")
_FUNCTION: Final = pattern(rb"function\t(\d{1,9})\t([^\t\n]*)\t([^\t\n]*)\t(\d{0,9})")
_STACK: Final = pattern(rb"stack\t(\d{1,9})\t([^\t\n]*)\t([-+0-9a-f ]*)")
_BUFFER: Final = pattern(
    rb"buffer\t(\d{1,20})\t(\d{1,9})\t(\d{1,10})\t(\d{1,10})\t(\d{1,12}(?:\.\d{1,9})?)\t([^\t\n]*)"
)
_CODE: Final = pattern(rb"(-|\d{1,9})\+([0-9a-f]{1,16})")
_NAMED: Final = pattern(rb"f(\d{1,9})")
_OCTAL: Final = pattern(rb"\\([0-3][0-7]{2})")
_NOT_A_LINE: Final = "not a module, function, stack or buffer"
_Item = TypeVar("_Item")


def parse(data: bytes) -> Mapping[int, Origin]:
    """Where buffers come from, by inode.

    Raises:
        ParseError: it is something else.
    """
    return Reader().read(data)


class Reader:
    """Reads a text that grows, each part of it once. Its last line may still be in the making."""

    def __init__(self) -> None:
        self._text = b""
        self._lists = _Lists()
        self._told: Mapping[int, Origin] = MappingProxyType({})

    def read(self, data: bytes) -> Mapping[int, Origin]:
        """All of it; the very same object while nothing was added.

        Raises:
            ParseError: it is something else. What was read of it before is forgotten.
        """
        if self._text and data == self._text:
            return self._told
        if not data.startswith(self._text):
            self._lists = _Lists()
        lists, self._lists, self._text = self._lists, _Lists(), b""
        lists.read_on(data)
        self._lists, self._text = lists, data
        self._told = MappingProxyType(dict(lists.origins))
        return self._told


class _Lists:
    """All that was read so far, by number, and where the first line begins that was not."""

    def __init__(self) -> None:
        self.origins: dict[int, Origin] = {}
        self._read_bytes = 0
        self._modules: list[tuple[str, str]] = []
        self._functions: list[NamedFrame] = []
        self._stacks: list[CallStack] = []

    def read_on(self, data: bytes) -> None:
        at = self._read_bytes
        if at == 0:
            if not data.startswith(HEADING):
                raise error_at("stacks", "another heading", data)
            at = len(HEADING)
        while (end := data.find(b"\n", at)) >= 0:
            try:
                self._line(data[at:end])
            except ValueError as error:
                raise error_at("stacks", str(error), data, at) from None
            at = end + 1
        self._read_bytes = at

    def _line(self, line: bytes) -> None:
        match line.partition(b"\t")[0]:
            case b"module":
                self._module(line)
            case b"function":
                self._function(line)
            case b"stack":
                self._stack(line)
            case b"buffer":
                self._buffer(line)
            case _:
                raise ValueError(_NOT_A_LINE)

    def _module(self, line: bytes) -> None:
        number, build_id, path = _groups(_MODULE, line)
        _append(self._modules, number, (build_id.decode("ascii"), _text(path)))

    def _function(self, line: bytes) -> None:
        number, name, file, at = _groups(_FUNCTION, line)
        _append(self._functions, number, NamedFrame(_text(name), _text(file) or None, int(at) if at else None))

    def _stack(self, line: bytes) -> None:
        number, cut, frames = _groups(_STACK, line)
        words = frames.split()
        if len(words) > FRAMES_MAX:
            raise ValueError("too many frames")
        _append(self._stacks, number, CallStack(tuple(map(self._frame, words)), _text(cut)))

    def _frame(self, word: bytes) -> Frame:
        code = _CODE.fullmatch(word)
        if code is not None:
            address = int(code[2], 16)
            if code[1] == b"-":
                return CodeFrame("", "", address)
            return CodeFrame(*_numbered(self._modules, code[1]), address)
        named = _NAMED.fullmatch(word)
        if named is None:
            raise ValueError("not a frame")
        return _numbered(self._functions, named[1])

    def _buffer(self, line: bytes) -> None:
        inode, stack, pid, tid, time, comm = _groups(_BUFFER, line)
        found = _numbered(self._stacks, stack)
        self.origins[int(inode)] = Origin(found, int(pid), int(tid), _text(comm), float(time))


def _groups(pattern: re.Pattern[bytes], line: bytes) -> tuple[bytes, ...]:
    match = pattern.fullmatch(line)
    if match is None:
        raise ValueError(_NOT_A_LINE)
    return match.groups()


def _append(items: list[_Item], number: bytes, item: _Item) -> None:
    if int(number) != len(items):
        raise ValueError(f"number {len(items)} is missing")
    items.append(item)


def _numbered(items: list[_Item], number: bytes) -> _Item:
    if int(number) >= len(items):
        raise ValueError(f"there is no number {int(number)} yet")
    return items[int(number)]


def _text(raw: bytes) -> str:
    return text_of(_OCTAL.sub(lambda match: bytes((int(match[1], 8),)), raw) if b"\\" in raw else raw)

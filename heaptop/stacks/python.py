"""Functions and lines of CPython, read from the memory of a thread that stands still.

An interpreter's own frames say nothing of the program it runs. CPython 3.13 says itself where its structures keep what
(_Py_DebugOffsets); 3.11 and 3.12 do not, but no release of them may change it (pycore_frame.h, pycore_interp.h and
pycore_runtime.h). 64-bit builds with the GIL.
"""

import struct
from typing import Final, NamedTuple

from heaptop.call_stack import NamedFrame
from heaptop.pattern import pattern
from heaptop.stacks.cursor import Cursor, DamageError
from heaptop.stacks.elf import Elf
from heaptop.stacks.memory import Memory
from heaptop.stacks.modules import Module
from heaptop.stacks.space import Space

FRAMES_MAX: Final = 200
THREADS_MAX: Final = 4096
CODES_KEPT_MAX: Final = 4096
_TEXT_BYTES_MAX: Final = 4096
_TABLE_BYTES_MAX: Final = 1 << 16
_SYMBOLS_BYTES_MAX: Final = 8 << 20
_PROGRAM: Final = pattern(rb"(?:.*/)?(?:libpython3\.[0-9]+[a-z]*\.so[^/]*|python3?(?:\.[0-9]+)?[a-z]*)")
_WANTED: Final = (b"_PyRuntime", b"Py_Version", b"_PyEval_EvalFrameDefault")
_COOKIE: Final = b"xdebugpy"
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_SHT_STRTAB, _SHT_DYNSYM = 3, 11
_CODE_HEAD: Final = 208
_ENTRY_OWNER: Final = 3
"""FRAME_OWNED_BY_CSTACK (3.12 on): stands between the frames of two calls of the interpreter."""


class _Layout(NamedTuple):
    """Offsets within CPython's structures. `cframe` leads to the current frame up to 3.12; `is_entry` is 3.11's."""

    interpreters: int
    next_interpreter: int
    threads: int
    next_thread: int
    native_id: int
    current: int
    cframe: int | None
    code: int
    instruction: int
    previous: int
    owner: int
    is_entry: int | None
    filename: int
    qualname: int
    linetable: int
    first_line: int
    instructions: int
    ascii_bytes: int
    compact_bytes: int


_LAYOUTS: Final = {
    0x030B: _Layout(40, 0, 16, 8, 160, 56, 8, 32, 56, 48, 69, 68, 112, 128, 136, 72, 184, 48, 72),
    0x030C: _Layout(40, 0, 72, 8, 144, 56, 0, 0, 56, 8, 70, None, 112, 128, 136, 68, 192, 40, 56),
}


class Interpreter(NamedTuple):
    """A CPython in a process: where it is, and what was read of its code objects."""

    layout: _Layout
    runtime: int
    evaluates: range
    module: Module
    codes: dict[tuple[int, ...], tuple[str, str, bytes]]

    def runs_at(self, address: int) -> bool:
        """Whether this is the function that runs Python's code."""
        return address in self.evaluates


def of(space: Space) -> Interpreter | None:
    """The interpreter of a process, looked for once; None where there is none that is known."""
    if not isinstance(space.interpreter, Interpreter | None):
        space.interpreter = _find(space)
    return space.interpreter


def _find(space: Space) -> Interpreter | None:
    for path in space.files():
        if _PROGRAM.fullmatch(path) is not None:
            loaded = space.loaded(path)
            found = None if loaded is None else _interpreter(space.memory, *loaded)
            if found is not None:
                return found
    return None


def _interpreter(memory: Memory, module: Module, bias: int) -> Interpreter | None:
    if module.elf.word_bytes != 8:
        return None
    try:
        symbols = _symbols(module.elf)
    except (DamageError, struct.error):
        return None
    if not all(name in symbols for name in _WANTED):
        return None
    runtime = symbols[b"_PyRuntime"][0] + bias
    version = memory.word(symbols[b"Py_Version"][0] + bias) or 0
    layout = _LAYOUTS.get(version >> 16) or _told(memory, runtime, version >> 16)
    begin, size = symbols[b"_PyEval_EvalFrameDefault"]
    if layout is None:
        return None
    return Interpreter(layout, runtime, range(begin + bias, begin + bias + size), module, {})


def _symbols(elf: Elf) -> dict[bytes, tuple[int, int]]:
    """Address and size of the wanted symbols."""
    table, names = elf.section(b".dynsym", _SHT_DYNSYM), elf.section(b".dynstr", _SHT_STRTAB)
    if table is None or names is None or table[1] > _SYMBOLS_BYTES_MAX or names[1] > _SYMBOLS_BYTES_MAX:
        return {}
    text = elf.at(*names).data
    places = {text.find(b"\0" + name + b"\0") + 1: name for name in _WANTED}
    data = elf.at(*table).data
    found = {}
    for name, _, _, section, value, size in _SYMBOL.iter_unpack(data[: len(data) // _SYMBOL.size * _SYMBOL.size]):
        if name in places and section:
            found[places[name]] = value, size
    return found


def _told(memory: Memory, runtime: int, version: int) -> _Layout | None:
    """As _Py_DebugOffsets at the start of the runtime says (3.13)."""
    words = memory.read(runtime, 8 * 64)
    if version != 0x030D or len(words) < 8 * 64 or not words.startswith(_COOKIE):
        return None
    told = struct.unpack("<64Q", words)
    if told[2]:  # free-threaded
        return None
    runtime_state, interpreter, thread, frame, code = 3, 6, 19, 28, 34
    return _Layout(
        interpreters=told[runtime_state + 2],
        next_interpreter=told[interpreter + 2],
        threads=told[interpreter + 3],
        next_thread=told[thread + 2],
        native_id=told[thread + 6],
        current=told[thread + 4],
        cframe=None,
        previous=told[frame + 1],
        code=told[frame + 2],
        instruction=told[frame + 3],
        owner=told[frame + 5],
        is_entry=None,
        filename=told[code + 1],
        qualname=told[code + 3],
        linetable=told[code + 4],
        first_line=told[code + 5],
        instructions=told[code + 9],
        ascii_bytes=40,
        compact_bytes=56,
    )


def frames(interpreter: Interpreter, memory: Memory, tid: int) -> tuple[tuple[NamedFrame, ...], ...]:
    """The frames of a thread that stands still, innermost first: a group for each call of the interpreter."""
    frame = _current(interpreter, memory, tid)
    layout = interpreter.layout
    groups: list[tuple[NamedFrame, ...]] = []
    group: list[NamedFrame] = []
    for _ in range(FRAMES_MAX):
        raw = memory.read(frame, 72) if frame else b""
        if len(raw) < 72:
            break
        is_shim = layout.is_entry is None and raw[layout.owner] == _ENTRY_OWNER
        if not is_shim:
            named = _named(interpreter, memory, _word(raw, layout.code), _word(raw, layout.instruction))
            if named is None:
                break
            group.append(named)
        if is_shim or (layout.is_entry is not None and raw[layout.is_entry]):
            groups.append(tuple(group))
            group = []
        frame = _word(raw, layout.previous)
    return (*groups, tuple(group)) if group else tuple(groups)


def _current(interpreter: Interpreter, memory: Memory, tid: int) -> int:
    """The innermost frame of a thread; 0 where it runs no Python."""
    layout = interpreter.layout
    state = memory.word(interpreter.runtime + layout.interpreters)
    left = THREADS_MAX
    while state and left:
        thread = memory.word(state + layout.threads)
        while thread and left:
            left -= 1
            if memory.word(thread + layout.native_id) == tid:
                current = memory.word(thread + layout.current) or 0
                return current if layout.cframe is None else memory.word(current + layout.cframe) or 0
            thread = memory.word(thread + layout.next_thread)
        state = memory.word(state + layout.next_interpreter)
    return 0


def _word(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 8], "little")


def _named(interpreter: Interpreter, memory: Memory, code: int, instruction: int) -> NamedFrame | None:
    layout = interpreter.layout
    raw = memory.read(code, _CODE_HEAD)
    if len(raw) < _CODE_HEAD:
        return None
    parts = tuple(_word(raw, at) for at in (layout.filename, layout.qualname, layout.linetable))
    first = int.from_bytes(raw[layout.first_line : layout.first_line + 4], "little", signed=True)
    key = (code, *parts, first)
    known = interpreter.codes.get(key)
    if known is None:
        file, name, table = _text(layout, memory, parts[0]), _text(layout, memory, parts[1]), _bytes(memory, parts[2])
        if file is None or name is None or table is None:
            return None
        if len(interpreter.codes) >= CODES_KEPT_MAX:
            interpreter.codes.clear()
        known = interpreter.codes[key] = name, file, table
    name, file, table = known
    return NamedFrame(name, file, line_at(table, first, (instruction - code - layout.instructions) // 2))


def _bytes(memory: Memory, address: int) -> bytes | None:
    """A bytes object."""
    head = memory.read(address, 32)
    if len(head) < 32 or not 0 <= _word(head, 16) <= _TABLE_BYTES_MAX:
        return None
    return memory.read(address + 32, _word(head, 16))


def _text(layout: _Layout, memory: Memory, address: int) -> str | None:
    """A compact string object."""
    head = memory.read(address, 40)
    if len(head) < 40:
        return None
    length, state = _word(head, 16), head[32]
    kind = state >> 2 & 7
    if not 0 < length * kind <= _TEXT_BYTES_MAX or not state & 0x20:
        return "" if length == 0 else None
    begin = address + (layout.ascii_bytes if state & 0x40 else layout.compact_bytes)
    encoding = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}.get(kind)
    return None if encoding is None else memory.read(begin, length * kind).decode(encoding, "replace")


def line_at(table: bytes, first: int, unit: int) -> int | None:
    """The line of a code unit, by a code object's table of locations (Objects/locations.md of CPython, 3.11 on)."""
    cursor = Cursor(table)
    line, at = first, 0
    try:
        while cursor.at < cursor.end:
            head = cursor.u8()
            kind, at = head >> 3 & 15, at + (head & 7) + 1
            if kind in (13, 14):
                line += _signed(cursor)
                for _ in range(3 if kind == 14 else 0):
                    _varint(cursor)
            elif kind != 15:
                line += kind - 10 if kind >= 10 else 0
                cursor.skip(2 if kind >= 10 else 1)
            if at > unit:
                return None if kind == 15 else line
    except DamageError:
        pass
    return None


def _varint(cursor: Cursor) -> int:
    """Six bits a byte, the lowest first."""
    value = shift = 0
    while shift < 48:
        byte = cursor.u8()
        value |= (byte & 63) << shift
        shift += 6
        if not byte & 64:
            break
    return value


def _signed(cursor: Cursor) -> int:
    value = _varint(cursor)
    return -(value >> 1) if value & 1 else value >> 1

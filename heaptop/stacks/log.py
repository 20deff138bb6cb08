"""The call stacks of live buffers as a text, each module, function and stack once: see docs/recording.md. Pure."""

from collections.abc import Callable, Collection
from typing import Final

from heaptop.call_stack import CallStack, Frame, NamedFrame

HEADING: Final = b"heaptop-stacks/1\n"
BUFFERS_MAX: Final = 1 << 17
"""How many live buffers are remembered."""
ROWS_MIN: Final = 4096
_SPECIAL: Final = b"\t\n\r\\"


class StackLog:
    """Grows by `add`: whatever is added is handed to `write`, in whole lines. `keep` begins the text anew, without what
    is of no use any more, and hands it to `rewrite`.
    """

    def __init__(self, write: Callable[[bytes], None], rewrite: Callable[[bytes], None]) -> None:
        self._write = write
        self._rewrite = rewrite
        self._buffers: dict[int, tuple[CallStack, bytes]] = {}
        self._rows_max = ROWS_MIN
        self._clear()
        self._rewrite(HEADING)

    def _clear(self) -> None:
        self._modules: dict[tuple[str, str], int] = {}
        self._functions: dict[NamedFrame, int] = {}
        self._stacks: dict[CallStack, int] = {}
        self._rows = 0

    def add(self, inode: int, stack: CallStack, *, pid: int, tid: int, comm: bytes, time: float) -> None:
        """A buffer was allocated, at `time` in seconds since the epoch."""
        about = b"\t%d\t%d\t%.6f\t%b" % (pid, tid, max(0.0, time), _escaped(comm))
        self._buffers.pop(inode, None)
        self._buffers[inode] = stack, about
        self._write(b"".join(self._lines(inode, stack, about)))

    @property
    def is_long(self) -> bool:
        """Whether it tells of so many buffers that it is worth asking which of them still live."""
        return self._rows > self._rows_max

    def keep(self, alive: Collection[int]) -> None:
        """All other buffers were freed. Of those that live, the oldest are forgotten where there are too many."""
        kept = [(inode, known) for inode, known in self._buffers.items() if inode in alive]
        self._buffers = dict(kept[-BUFFERS_MAX:])
        self._clear()
        lines = [HEADING]
        for inode, (stack, about) in self._buffers.items():
            lines += self._lines(inode, stack, about)
        self._rows_max = max(ROWS_MIN, 2 * self._rows)
        self._rewrite(b"".join(lines))

    def _lines(self, inode: int, stack: CallStack, about: bytes) -> list[bytes]:
        lines: list[bytes] = []
        number = self._stacks.get(stack)
        if number is None:
            frames = b" ".join([self._frame(frame, lines) for frame in stack.frames])
            number = self._stacks[stack] = len(self._stacks)
            lines.append(b"stack\t%d\t%b\t%b\n" % (number, _escaped(_bytes(stack.cut)), frames))
        self._rows += 1
        lines.append(b"buffer\t%d\t%d%b\n" % (inode, number, about))
        return lines

    def _frame(self, frame: Frame, lines: list[bytes]) -> bytes:
        if isinstance(frame, NamedFrame):
            number = self._functions.get(frame)
            if number is None:
                number = self._functions[frame] = len(self._functions)
                name, file = _escaped(_bytes(frame.function)), _escaped(_bytes(frame.file or ""))
                line = b"" if frame.line is None else b"%d" % frame.line
                lines.append(b"function\t%d\t%b\t%b\t%b\n" % (number, name, file, line))
            return b"f%d" % number
        if not frame.path:
            return b"-+%x" % frame.address
        module = frame.build_id, frame.path
        known = self._modules.get(module)
        if known is None:
            known = self._modules[module] = len(self._modules)
            path = _escaped(_bytes(frame.path))
            lines.append(b"module\t%d\t%b\t%b\n" % (known, frame.build_id.encode("ascii"), path))
        return b"%d+%x" % (known, frame.address)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _escaped(raw: bytes) -> bytes:
    if not any(byte in raw for byte in _SPECIAL):
        return raw
    return b"".join(b"\\%03o" % byte if byte in _SPECIAL else bytes((byte,)) for byte in raw)

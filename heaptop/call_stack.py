"""Call stacks, and the places in source that they lead through: a part of the model."""

from typing import NamedTuple


class CodeFrame(NamedTuple):
    """A place in a program or library: `address` as linked, which a debugger given the file understands.

    `build_id` is hexadecimal, empty where the file has none. Of code without a file, `path` is empty and `address` the
    one in memory.
    """

    build_id: str
    path: str
    address: int


class NamedFrame(NamedTuple):
    """A function whose name was read when the stack was taken: an interpreter's, which no file tells later."""

    function: str
    file: str | None
    line: int | None


Frame = CodeFrame | NamedFrame


class CallStack(NamedTuple):
    """How a program came to a call: frames, innermost first. `cut` says why the outermost are missing; else empty.

    Frames of callers are where their call ends, less one: the line of the call, not of what follows it.
    """

    frames: tuple[Frame, ...]
    cut: str = ""


class Location(NamedTuple):
    """A place in source, as far as it is known. `address` is that in the module, where nothing better tells."""

    function: str | None
    file: str | None
    line: int | None
    module: str
    address: int | None = None
    is_inlined: bool = False


class Origin(NamedTuple):
    """Where a buffer comes from: who allocated it, when (seconds since the epoch), and on what call stack."""

    stack: CallStack
    pid: int
    tid: int
    comm: str
    time: float

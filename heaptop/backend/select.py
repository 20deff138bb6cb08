"""Opens the source that the user named, or the one that fits."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from heaptop.backend.base import Attentive, Backend, ContentReader, Searching, Timeline, whole_capture
from heaptop.capture import Capture, Raw
from heaptop.errors import SourceError, UsageError
from heaptop.scan.proc import is_dmabuf, is_dmabuf_info
from heaptop.units import printable

SOURCES: Final = "auto, kernel, emulator[:SCENARIO], simulation:SCENARIO, replay:PATH, adb[:SERIAL], ssh:HOST"
_SCENARIO: Final = "steady"
_HEAP_FOLDERS: Final = ("/sys/class/dma_heap", "/dev/dma_heap")


class Opened(NamedTuple):
    """A source, and what the user should know about the choice (empty where it was theirs)."""

    backend: Backend
    note: str = ""


class ReadOnly:
    """A backend without its allocator."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def source(self) -> str:
        """The backend's."""
        return self._backend.source

    def capture(self) -> Capture:
        """The backend's."""
        return self._backend.capture()

    def capture_whole(self) -> Capture:
        """The backend's, or all that it has."""
        return whole_capture(self._backend)

    def attend(self, pids: Iterable[int] | None = None) -> None:
        """The backend's, where it has a use for it."""
        if isinstance(self._backend, Attentive):
            self._backend.attend(pids)

    def search(self, *, wanted: bool) -> None:
        """The backend's, where it can."""
        if isinstance(self._backend, Searching):
            self._backend.search(wanted=wanted)

    def close(self) -> None:
        """The backend's."""
        self._backend.close()


class ReadOnlyContent(ReadOnly):
    """The same of one whose buffers can be looked into, which writes nothing."""

    def __init__(self, backend: ContentReader) -> None:
        super().__init__(backend)
        self.open_content = backend.open_content


def _read_only(backend: Backend) -> Backend:
    if isinstance(backend, Timeline):
        return backend  # what is over cannot be written to
    return ReadOnlyContent(backend) if isinstance(backend, ContentReader) else ReadOnly(backend)


def open_backend(source: str, *, root: str = "/", readonly: bool = False, off: frozenset[str] = frozenset()) -> Opened:
    """Open a source: `auto`, `kernel`, `emulator[:SCENARIO]`, `simulation:SCENARIO` or `replay:PATH`.

    `root` is where the kernel's proc, sys and dev are; anywhere but in `/` they can only be read. `off` are the names
    (see heaptop.sources) of what is not asked.

    Raises:
        UsageError: no such source.
        SourceError, RecordingError: it cannot be opened.
    """
    opened = _opened(source, root, off)
    return Opened(_read_only(opened.backend), opened.note) if readonly else opened


def scenarios() -> tuple[str, ...]:
    """The emulator's scenarios; none where it is not built."""
    try:
        from heaptop.backend.reach import scenario_names  # noqa: PLC0415  (a source loads no other)
    except ModuleNotFoundError:
        return ()
    return scenario_names()


def _opened(source: str, root: str, off: frozenset[str]) -> Opened:
    kind, colon, what = source.partition(":")
    match kind, what:
        case "auto", "" if not colon:
            return _auto(root, off)
        case "kernel", "" if not colon:
            return Opened(_kernel(root, off))
        case "emulator", _ if what or not colon:
            return Opened(_emulator(what, off)) if what else _any_emulator(off)
        case "simulation", scenario if scenario:
            from heaptop.backend.simulated import SimulatedBackend  # noqa: PLC0415  (a source loads no other)

            return Opened(SimulatedBackend(scenario, off=off))
        case "replay", path if path:
            from heaptop.backend.replay import ReplayBackend  # noqa: PLC0415  (a source loads no other)

            return Opened(ReplayBackend(path, off=off))
        case "adb", _ if what or not colon:
            from heaptop.backend import remote  # noqa: PLC0415  (a source loads no other)

            return Opened(remote.RemoteBackend(source, remote.adb(what), off=off))
        case "ssh", host if host:
            from heaptop.backend import remote  # noqa: PLC0415  (a source loads no other)

            return Opened(remote.RemoteBackend(source, remote.ssh(host), off=off))
        case _:
            raise UsageError(f"no source {printable(source)!r}", "", f"take one of: {SOURCES}")


def _auto(root: str, off: frozenset[str]) -> Opened:
    """The kernel where it has heaps or shows any dma-buf, else the emulator."""
    kernel = _kernel(root, off)
    if not _is_root(root):
        return Opened(kernel, f"using the kernel's files in {printable(root)}")
    if any(map(_listed, _HEAP_FOLDERS)):
        return Opened(kernel, "this kernel has dma-heaps: using it")
    if _shows_buffers(kernel.capture()):
        return Opened(kernel, "this kernel has no dma-heaps, but shows dma-bufs: using it")
    kernel.close()
    emulator = _any_emulator(off)
    note = emulator.note or f"using the emulator, scenario {_SCENARIO}"
    return Opened(emulator.backend, f"this kernel has no dma-heaps and shows no dma-buf: {note}")


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _shows_buffers(capture: Capture) -> bool:
    bufinfo = _text(capture.files.get("sys/kernel/debug/dma_buf/bufinfo"))
    return (
        any(is_dmabuf(link.target) for process in capture.processes for link in process.table.links)
        or any(is_dmabuf_info(_text(raw)) for process in capture.processes for raw in process.table.fdinfo.values())
        or any(
            b" /dmabuf:" in _text(process.files.get(name))
            for process in capture.processes
            for name in ("maps.buffers", "maps")
        )
        or any(path.startswith("sys/kernel/dmabuf/buffers/") for path in capture.files)
        or (b"\nTotal " in bufinfo and b"\nTotal 0 objects" not in bufinfo)
        or _text(capture.files.get("bpf/dmabuf_iter")).count(b"\n") > 1
    )


def _text(raw: Raw | None) -> bytes:
    return raw if isinstance(raw, bytes) else b""


def _is_root(root: str) -> bool:
    return os.path.realpath(root) == "/"


def _kernel(root: str, off: frozenset[str]) -> Backend:
    from heaptop.backend.kernel import KernelAllocator, KernelBackend  # noqa: PLC0415  (a source loads no other)

    if _is_root(root):
        return KernelAllocator(off=off)
    if not any(os.path.isdir(os.path.join(root, name)) for name in ("proc", "sys", "dev")):
        remedy = "--root takes the folder that they are in"
        raise SourceError(f"no kernel's files in {printable(root)}", "no proc, sys or dev is there", remedy)
    return KernelBackend(root, off=off)


def _any_emulator(off: frozenset[str]) -> Opened:
    """The one that this user's programs share, which is started where none runs; where it cannot be, one's own."""
    with _emulators():
        from heaptop.backend.emulated import EmulatedBackend  # noqa: PLC0415  (a source loads no other)
        from heaptop.backend.reach import SharedEmulator  # noqa: PLC0415
    try:
        emulator = SharedEmulator(_SCENARIO)
    except SourceError as error:
        return Opened(_emulator(_SCENARIO, off), f"using an emulator that no other program sees: {error}")
    note = "" if emulator.was_started else f"using the emulator that runs already, process {emulator.pid}"
    return Opened(EmulatedBackend(emulator, off=off), note)


def _emulator(scenario: str, off: frozenset[str]) -> Backend:
    with _emulators():
        from heaptop.backend.emulated import EmulatedBackend  # noqa: PLC0415  (a source loads no other)
        from heaptop.backend.reach import OwnEmulator  # noqa: PLC0415
    return EmulatedBackend(OwnEmulator(scenario), off=off)


@contextmanager
def _emulators() -> Iterator[None]:
    """SourceError where they are not built."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "heaptop_emulator":
            raise
        raise SourceError("the emulator is not built", f"no module {error.name}", "install heaptop whole") from error

"""Which source is opened, and what is said about it."""

import sys
from pathlib import Path

import pytest

from heaptop.backend import select
from heaptop.backend.base import Allocator
from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.kernel import KernelAllocator, KernelBackend
from heaptop.backend.replay import ReplayBackend
from heaptop.capture import Capture, FdLink, FdTable, ProcessCapture
from heaptop.errors import RecordingError, SourceError, UsageError
from tests.support import archive

EMPTY = Capture("kernel", None, {}, {}, ())
BOOT_ID = "proc/sys/kernel/random/boot_id"
BUFINFO = "sys/kernel/debug/dma_buf/bufinfo"


@pytest.fixture
def no_emulator(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Scenarios that were asked for, in place of emulators."""
    asked: list[str] = []

    def emulator(scenario: str, off: frozenset[str]) -> KernelBackend:
        assert off == frozenset()
        asked.append(scenario)
        return KernelBackend()

    def any_emulator(off: frozenset[str]) -> select.Opened:
        return select.Opened(emulator("any", off))

    monkeypatch.setattr(select, "_emulator", emulator)
    monkeypatch.setattr(select, "_any_emulator", any_emulator)
    return asked


def test_kernel() -> None:
    opened = select.open_backend("kernel")
    assert isinstance(opened.backend, KernelAllocator)
    assert opened.note == ""


def test_readonly_has_no_allocator() -> None:
    backend = select.open_backend("kernel", readonly=True).backend
    assert not isinstance(backend, Allocator)
    assert backend.source == "kernel"
    assert backend.capture().source == "kernel"
    backend.close()


def test_another_root_has_no_allocator(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    for source in ("kernel", "auto"):
        opened = select.open_backend(source, root=str(tmp_path))
        assert isinstance(opened.backend, KernelBackend)
        assert not isinstance(opened.backend, Allocator)
    assert opened.note == f"using the kernel's files in {tmp_path}"


@pytest.mark.parametrize("source", ["kernel", "auto"])
def test_another_root_without_any_of_the_kernels_files(source: str, tmp_path: Path) -> None:
    (tmp_path / "sys").touch()
    for root in (tmp_path, tmp_path / "not\nthere"):
        with pytest.raises(SourceError, match=r"no proc, sys or dev is there; --root takes") as caught:
            select.open_backend(source, root=str(root))
        assert "\n" not in str(caught.value)


def test_replay(capture_name: str) -> None:
    opened = select.open_backend(f"replay:{archive(capture_name)}")
    assert isinstance(opened.backend, ReplayBackend)
    with pytest.raises(RecordingError):
        select.open_backend("replay:missing:with:colons")


def test_emulator() -> None:
    opened = select.open_backend("emulator:steady")
    try:
        assert isinstance(opened.backend, EmulatedBackend)
        assert opened.backend.source == "emulator:steady"
    finally:
        opened.backend.close()


@pytest.mark.parametrize(("source", "scenario"), [("emulator", "any"), ("emulator:leak-fd", "leak-fd")])
def test_scenarios(no_emulator: list[str], source: str, scenario: str) -> None:
    select.open_backend(source)
    assert no_emulator == [scenario]


def test_the_emulator_is_shared() -> None:
    opened = select.open_backend("emulator")
    again = select.open_backend("emulator")
    try:
        assert isinstance(opened.backend, EmulatedBackend)
        assert isinstance(again.backend, EmulatedBackend)
        assert (opened.backend.source, opened.note) == ("emulator", "")
        assert again.note == f"using the emulator that runs already, process {opened.backend.emulator_pid}"
        assert opened.backend.state().files[BOOT_ID] == again.backend.state().files[BOOT_ID]
    finally:
        opened.backend.close()
        again.backend.close()


def test_without_a_runtime_folder_it_is_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "heaptop").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    opened = select.open_backend("emulator")
    try:
        assert opened.backend.source == "emulator:steady"
        assert opened.note.startswith(f"using an emulator that no other program sees: the runtime folder {tmp_path}")
    finally:
        opened.backend.close()


def test_unknown_scenario() -> None:
    with pytest.raises(UsageError, match="no scenario"):
        select.open_backend("emulator:none")


def test_without_the_emulator_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout whose compiled parts are not built, or a package without them."""
    gone = ("heaptop_emulator", "heaptop.backend.emulated", "heaptop.backend.translation")
    for name in [name for name in sys.modules if name.startswith(gone)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "heaptop_emulator", None)
    monkeypatch.delattr("heaptop.backend.emulated")
    with pytest.raises(SourceError, match=r"^the emulator is not built: no module heaptop_emulator; "):
        select.open_backend("emulator")


def test_what_is_off_reaches_each_source(monkeypatch: pytest.MonkeyPatch) -> None:
    off = frozenset({"fd", "fdinfo", "maps", "bpf"})
    for source in ("kernel", f"replay:{archive('7.2.13-x86_64')}"):
        seen = select.open_backend(source, off=off).backend.capture()
        assert (seen.off, seen.processes, seen.processes_seen) == (off, (), None)
    with_emulator = select.open_backend("emulator", off=frozenset({"bufinfo"})).backend
    try:
        assert BUFINFO not in with_emulator.capture().files
        assert isinstance(with_emulator, Allocator)
    finally:
        with_emulator.close()


@pytest.mark.parametrize(
    "source", ["", "kernels", "kernel:", "kernel:x", "auto:", "auto:x", "emulator:", "replay", "replay:", "\x1b[2J"]
)
def test_unknown_sources(source: str) -> None:
    with pytest.raises(UsageError) as caught:
        select.open_backend(source)
    assert str(caught.value).endswith(
        "take one of: auto, kernel, emulator[:SCENARIO], simulation:SCENARIO, replay:PATH, adb[:SERIAL], ssh:HOST"
    )
    assert "\x1b" not in str(caught.value)


def holder(**process: object) -> Capture:
    return Capture("kernel", None, {}, {}, (ProcessCapture(7, **process),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "capture",
    [
        holder(files={}, table=FdTable((FdLink(3, b"/dmabuf:x"),))),
        holder(files={}, table=FdTable(fdinfo={3: b"pos:\t0\nino:\t9\nsize:\t4096\ncount:\t1\nexp_name:\tsystem\n"})),
        Capture("kernel", None, {"bpf/dmabuf_iter": b"ino\tsize\tcount\texp_name\tname\n9\t4096\t1\tsystem\n"}, {}, ()),
        holder(files={"maps": b"7f00-7f01 rw-s 00000000 00:0c 18    /dmabuf:\n"}),
        Capture("kernel", None, {BUFINFO: b"\nTotal 2 objects, 8192 bytes\n"}, {}, ()),
        Capture("kernel", None, {"sys/kernel/dmabuf/buffers/18/size": b"4096\n"}, {}, ()),
    ],
)
def test_auto_takes_a_kernel_that_shows_buffers(
    monkeypatch: pytest.MonkeyPatch, no_emulator: list[str], capture: Capture
) -> None:
    monkeypatch.setattr(select, "_HEAP_FOLDERS", ())
    monkeypatch.setattr(KernelBackend, "capture", lambda self: capture)
    opened = select.open_backend("auto")
    assert opened.backend.source == "kernel"
    assert opened.note == "this kernel has no dma-heaps, but shows dma-bufs: using it"
    assert no_emulator == []


@pytest.mark.parametrize(
    "capture",
    [
        EMPTY,
        holder(files={"maps": b"7f00-7f01 r--p 00000000 fe:00 9    /usr/lib/libdmabufinfo.so\n"}),
        Capture("kernel", None, {BUFINFO: b"\nDma-buf Objects:\n\nTotal 0 objects, 0 bytes\n"}, {}, ()),
    ],
)
def test_auto_takes_the_emulator_elsewhere(
    monkeypatch: pytest.MonkeyPatch, no_emulator: list[str], capture: Capture
) -> None:
    monkeypatch.setattr(select, "_HEAP_FOLDERS", ())
    monkeypatch.setattr(KernelBackend, "capture", lambda self: capture)
    opened = select.open_backend("auto")
    assert no_emulator == ["any"]
    assert opened.note == ("this kernel has no dma-heaps and shows no dma-buf: using the emulator, scenario steady")


def test_auto_takes_a_kernel_with_heaps(
    monkeypatch: pytest.MonkeyPatch, no_emulator: list[str], tmp_path: Path
) -> None:
    (tmp_path / "system").touch()
    monkeypatch.setattr(select, "_HEAP_FOLDERS", (str(tmp_path / "missing"), str(tmp_path)))
    opened = select.open_backend("auto")
    assert isinstance(opened.backend, KernelAllocator)
    assert opened.note == "this kernel has dma-heaps: using it"
    assert no_emulator == []

"""A command line that runs in-process over a hand-made source."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from heaptop.backend.base import Allocation
from heaptop.capture import Capture
from heaptop.cli.main import main
from heaptop.errors import AllocationError, SourceError
from heaptop.model import Snapshot
from tests.report.samples import SNAPSHOT

EMPTY_CAPTURE = Capture("kernel", None, {}, {}, ())


@dataclass
class FakeBackend:
    """Gives `looks` empty captures, then is gone. Verbs that assemble them get `SNAPSHOT`."""

    source: str = "fake"
    looks: int = 100
    closed: int = 0
    asked: tuple[str, str, bool] = ("", "", False)
    off: frozenset[str] = frozenset()
    capture_given: Capture = EMPTY_CAPTURE

    def capture(self) -> Capture:
        if self.looks == 0:
            raise SourceError("the device", "gone", "plug it in")
        self.looks -= 1
        return self.capture_given

    def close(self) -> None:
        self.closed += 1


@dataclass
class FakeHeaps(FakeBackend):
    """A backend whose heaps give memfds until `refusals` (errno by number of the call, from 0) says otherwise."""

    names: tuple[str, ...] = ("reserved", "system")
    refusals: dict[int, int] = field(default_factory=dict)
    given: list[Allocation] = field(default_factory=list)

    def heaps(self) -> Sequence[str]:
        return self.names

    def allocate(self, heap: str, size_bytes: int, name: bytes | None = None) -> Allocation:
        number = self.refusals.get(len(self.given))
        if number is not None:
            raise AllocationError(f"{heap} refused {size_bytes} bytes", number, "ask for less")
        size_bytes = -(-size_bytes // 4096) * 4096
        fd = os.memfd_create("test-buffer", os.MFD_CLOEXEC)
        os.ftruncate(fd, size_bytes)
        self.given.append(Allocation(fd, heap, 100 + len(self.given), size_bytes, name, 0.0000125))
        return self.given[-1]


@dataclass(frozen=True)
class Opened:
    """What `open_backend` returns."""

    backend: FakeBackend
    note: str


Use = Callable[..., FakeBackend]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """A function that puts a backend behind every verb, and a snapshot behind its captures."""

    def put(backend: FakeBackend, snapshot: Snapshot = SNAPSHOT, note: str = "") -> FakeBackend:
        def open_backend(
            source: str, *, root: str = "/", readonly: bool = False, off: frozenset[str] = frozenset()
        ) -> Opened:
            backend.asked = (source, root, readonly)
            backend.off = off
            return Opened(backend, note)

        for module in ("lists", "alloc", "bench", "capture", "doctor"):
            monkeypatch.setattr(f"heaptop.cli.{module}.assemble", lambda _: snapshot)
        monkeypatch.setattr("heaptop.cli.source.open_backend", open_backend)
        return backend

    return put


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line in this process."""

    def run_it(*arguments: str) -> Ran:
        code = main(arguments)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run_it

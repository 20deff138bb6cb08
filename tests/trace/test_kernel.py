"""The kernel's events where they cannot be had; that they can is shown in tests/vm."""

import contextlib
import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest

from heaptop.backend.kernel import KernelBackend
from heaptop.errors import SourceError
from heaptop.model import Gap
from heaptop.parse.event_record import Step, What
from heaptop.trace import kernel
from heaptop.trace.attach import at_function, load
from heaptop.trace.kernel import KernelEvents
from heaptop.trace.programs import MACHINES, Layout, Programs
from heaptop.watching import event_source


def events() -> KernelEvents:
    return KernelEvents(dict)


def descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")


def test_an_unknown_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    with pytest.raises(SourceError, match="vax"):
        events().start()


@pytest.mark.parametrize(
    ("number", "says"), [(errno.EPERM, "as root"), (errno.EACCES, "as root"), (errno.ENOSYS, "CONFIG_BPF_EVENTS")]
)
def test_what_the_kernel_refuses(number: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(kernel, "_WAYS", (refuse, refuse))
    before = descriptors()
    with pytest.raises(SourceError, match=says):
        events().start()
    assert descriptors() == before


@dataclass
class FakeWay:
    """Opens something, and tells steps."""

    held: contextlib.ExitStack
    watched: Sequence[str] = ("fake()",)
    gaps: Sequence[Gap] = ()
    lost: int = 0

    def steps(self, timeout_s: float) -> Iterable[Step]:
        assert timeout_s >= 0
        return ()

    def end(self) -> None:
        self.held.close()

    def kernel_s(self) -> float | None:
        return None


def test_the_next_way_is_taken_where_the_first_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first had opened until then is given back."""
    closed: list[str] = []

    def first(held: contextlib.ExitStack) -> FakeWay:
        held.callback(closed.append, "first")
        raise OSError(errno.EPERM, "no")

    def blind(held: contextlib.ExitStack) -> FakeWay:
        held.callback(closed.append, "blind")
        return FakeWay(held, watched=())

    def second(held: contextlib.ExitStack) -> FakeWay:
        held.callback(closed.append, "second")
        return FakeWay(held)

    monkeypatch.setattr(kernel, "_WAYS", (first, blind, second))
    source = events()
    source.start()
    assert (source.watched, closed) == (("fake()",), ["first", "blind"])
    assert source.read(0) == ()
    source.stop()
    assert closed == ["first", "blind", "second"]


def test_a_want_of_permission_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(held: contextlib.ExitStack) -> FakeWay:
        raise PermissionError(errno.EACCES, "no")

    def absent(held: contextlib.ExitStack) -> FakeWay:
        raise OSError(errno.ENOENT, "no")

    monkeypatch.setattr(kernel, "_WAYS", (absent, denied))
    with pytest.raises(SourceError, match="not permitted") as raised:
        events().start()
    assert isinstance(raised.value.__cause__, PermissionError)


def test_nothing_is_there_before_the_start() -> None:
    source = events()
    with pytest.raises(RuntimeError):
        source.read(0)
    source.stop()
    source.stop()


@pytest.mark.parametrize("machine", MACHINES)
def test_programs_are_whole(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    programs, layout = Programs(3, 4), Layout(56, 40)
    made = [
        programs.heap_call(),
        programs.heap_return(),
        programs.export_call(),
        programs.export_return(layout),
        programs.release(layout),
        programs.open_file(),
        *(programs.tracepoint(what) for what in What if what >= What.TRACE_EXPORTED),
    ]
    assert all(len(program) % 8 == 0 and program[-8] == 0x95 for program in made)
    assert len(set(made)) == len(made)


def test_a_program_that_is_refused() -> None:
    """By whichever reason comes first: no permission, no bpf(2), or the verifier, which wants an end."""
    with pytest.raises(OSError, match=r"."):
        load(bytes(8), 2)


def test_a_function_that_is_not_there() -> None:
    before = descriptors()
    with pytest.raises(OSError, match=r"."):
        at_function(Programs(0, 0).heap_return(), "no_such_function_at_all")
    assert descriptors() == before


def test_bpf_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `--no-bpf` does."""
    opened = []

    def bpf(_held: object) -> None:
        opened.append("bpf")
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def perf(_held: object) -> None:
        opened.append("perf")
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(kernel, "BpfWay", bpf)
    monkeypatch.setattr(kernel, "_WAYS", (bpf, perf))
    for off in (frozenset({"bpf"}), frozenset[str]()):
        source = event_source(KernelBackend(off=off), ask=lambda _job: {})
        with pytest.raises(SourceError):
            source.start()
    assert opened == ["perf", "bpf", "perf"]

"""`heaptop alloc`: what it takes, what it tells, and that everything is freed."""

import csv
import errno
import io
import json
import os

import pytest

from heaptop.errors import AllocationError
from heaptop.model import Memory
from tests.cli.conftest import FakeBackend, FakeHeaps, Run, Use
from tests.report.samples import SNAPSHOT


@pytest.fixture
def heaps(use: Use) -> FakeHeaps:
    backend = FakeHeaps()
    use(backend)
    return backend


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_it_tells_each_buffer_and_frees_all(heaps: FakeHeaps, run: Run) -> None:
    ran = run("alloc", "system", "5000", "--count", "2", "--name", "cam", "--hold", "0")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "inode 100 cam: 8.00 KiB of system in 12.5 us",
        "inode 101 cam: 8.00 KiB of system in 12.5 us",
    ]
    assert ran.err.splitlines() == [
        "heaptop: holding 2 buffers, 16.0 KiB, until 0 s have passed",
        "heaptop: freed 2 buffers",
    ]
    assert not any(is_open(allocation.fd) for allocation in heaps.given)
    assert heaps.closed == 1


def test_json_is_a_line_each(heaps: FakeHeaps, run: Run) -> None:
    ran = run("alloc", "system", "4K", "--count", "2", "--hold", "0", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [(line["event"], line["inode"], line["size_bytes"], line["name"]) for line in lines] == [
        ("allocated", 100, 4096, None),
        ("allocated", 101, 4096, None),
    ]


def test_csv_is_a_row_each(heaps: FakeHeaps, run: Run) -> None:
    ran = run("alloc", "system", "4K", "--name", "=1", "--hold", "0", "--csv")
    header, row = csv.reader(io.StringIO(ran.out, newline=""))
    assert dict(zip(header, row, strict=True)) == {
        "heap": "system",
        "inode": "100",
        "size_bytes": "4096",
        "name": "'=1",
        "latency_s": "1.25e-05",
    }


def test_a_failure_in_the_middle_frees_what_it_got(use: Use, run: Run) -> None:
    heaps = FakeHeaps(refusals={2: errno.ENOMEM})
    use(heaps)
    ran = run("alloc", "system", "4K", "--count", "5", "--json")
    assert ran.code == 3
    assert "ENOMEM (Cannot allocate memory)" in ran.err.splitlines()[-1]
    assert json.loads(ran.out.splitlines()[-1])["errno"] == errno.ENOMEM
    assert len(heaps.given) == 2
    assert not any(is_open(allocation.fd) for allocation in heaps.given)


def test_a_pattern_is_written(heaps: FakeHeaps, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    monkeypatch.setattr("heaptop.cli.alloc._wait", lambda _: contents.append(os.pread(heaps.given[0].fd, 8, 4092)))
    assert run("alloc", "system", "8K", "--pattern", "deadbe").code == 0
    assert contents == [b"\xde\xad\xbe\xde\xad\xbe\xde\xad"]


def test_a_buffer_that_cannot_be_filled_is_freed(heaps: FakeHeaps, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AllocationError("the buffer cannot be filled", errno.EACCES)

    monkeypatch.setattr("heaptop.cli.alloc.fill", refuse)
    ran = run("alloc", "system", "4K", "--pattern", "ff")
    assert (ran.code, ran.err) == (3, "heaptop: the buffer cannot be filled: EACCES (Permission denied)\n")
    assert not is_open(heaps.given[0].fd)


def test_without_json_a_refusal_is_one_line(use: Use, run: Run) -> None:
    use(FakeHeaps(refusals={0: errno.EMFILE}))
    ran = run("alloc", "system", "4K")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == "heaptop: system refused 4096 bytes: EMFILE (Too many open files); ask for less\n"


def test_interrupted_it_frees(heaps: FakeHeaps, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("heaptop.cli.alloc.time.sleep", interrupt)
    ran = run("alloc", "system", "4K")
    assert (ran.code, ran.err.splitlines()[-1]) == (130, "heaptop: freed 1 buffer")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sytem", "4K"], "no heap 'sytem' on fake; did you mean system?"),
        (["system", "4K", "--readonly"], "--readonly allocates nothing"),
        (["system", "4K", "--pattern", "xyz"], "pattern 'xyz': not known"),
        (["system", "2.1G"], "alloc of 2.10 GiB: more than half of the 4.00 GiB available"),
        (["system", "1.1G", "--count", "2"], "more than half of the 4.00 GiB available"),
    ],
)
def test_refusals(arguments: list[str], expected: str, heaps: FakeHeaps, run: Run) -> None:
    ran = run("alloc", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert expected in ran.err
    assert heaps.given == []


def test_a_kernel_without_heaps(use: Use, run: Run) -> None:
    use(FakeHeaps(names=()))
    ran = run("alloc", "system", "4K")
    assert (ran.code, ran.err.startswith("heaptop: fake has no dma-heap; heaptop doctor")) == (3, True)


def test_force_takes_more_than_its_share(use: Use, run: Run) -> None:
    heaps = FakeHeaps()
    use(heaps, SNAPSHOT._replace(memory=Memory(available_bytes=4096)))
    assert run("alloc", "system", "4K").code == 2
    assert run("alloc", "system", "4K", "--force", "--hold", "0").code == 0


def test_unknown_memory_is_no_leave_to_allocate(use: Use, run: Run) -> None:
    use(FakeHeaps(), SNAPSHOT._replace(memory=Memory()))
    ran = run("alloc", "system", "4K")
    assert ran.code == 2
    assert "is not known; take --force" in ran.err


def test_a_recording_cannot_allocate(use: Use, run: Run) -> None:
    use(FakeBackend("replay:x"))
    ran = run("alloc", "system", "4K")
    assert (ran.code, ran.err) == (
        2,
        "heaptop: alloc: replay:x cannot allocate; only the running kernel and the emulator can\n",
    )

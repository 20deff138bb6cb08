"""`assemble.hiding` and `assemble.serials`: of real kernels, and of heaptop's own files."""

import pytest

from heaptop.assemble import Assembler, assemble
from heaptop.capture import FdLink, FdTable
from heaptop.model import HidingKind, HidingPlace, ProcessId
from tests.assemble.captures import capture, fdinfo, link, process, real, stat_of
from tests.support import CAPTURES

SOCKET = b"pos:\t0\nflags:\t02\nmnt_id:\t10\nscm_fds: 3\n"
RING = b"pos:\t0\nflags:\t02\nmnt_id:\t10\nUserFiles:\t1\n    0: /dmabuf:cam\nUserBufs:\t0\n"


@pytest.mark.parametrize("name", CAPTURES)
def test_real_kernels(name: str) -> None:
    in_flight, ring = assemble(real(name)).hiding
    assert (in_flight.kind, in_flight.comm, in_flight.held) == (HidingKind.IN_FLIGHT, "in-flight", 1)
    assert (ring.kind, ring.comm) == (HidingKind.IO_URING, "uring-holder")
    assert ring.names == (("io_uring-only",) if name.startswith("7.2") else (None,))


def test_files_of_heaptops_own() -> None:
    files = {
        "heaptop/hiding/812/fdinfo/5": SOCKET,
        "heaptop/hiding/812/comm": b"streamd\n",
        "heaptop/hiding/900/fdinfo/7": RING,
        "heaptop/hiding/900/fdinfo/8": b"cut",
        "heaptop/hiding/x/fdinfo/8": SOCKET,
    }
    assert assemble(capture(files)).hiding == (
        HidingPlace(HidingKind.IN_FLIGHT, ProcessId(812, None), "streamd", 5, 3),
        HidingPlace(HidingKind.IO_URING, ProcessId(900, None), "", 7, 1, ("cam",)),
    )


def test_a_process_that_is_the_same_is_not_read_again() -> None:
    assembler = Assembler()
    one = process(812, "streamd", links=[FdLink(5, b"socket:[9]")], fdinfo={5: SOCKET})
    first = assembler.assemble(capture({}, [one])).hiding
    assert assembler.assemble(capture({}, [one])).hiding == first != ()
    assert assembler.assemble(capture({}, [one._replace(table=FdTable())])).hiding == ()


def counts(newest: int, *others: int, release: bytes = b"6.12.0") -> bool | None:
    links = [
        link(3, stat_of(newest, 4096)),
        *(FdLink(10 + at, b"pipe:[%d]" % other) for at, other in enumerate(others)),
    ]
    one = process(812, links=links, fdinfo={3: fdinfo(newest, 4096)})
    return assemble(capture({"proc/sys/kernel/osrelease": release + b"\n"}, [one])).inodes_count


def test_whether_inodes_count_buffers() -> None:
    assert counts(60, 1164, 1165, 1166, 9000)
    assert counts(5000, 1164, 1165, 1166, 900_000)
    assert counts(5000, 1164, 1165, 1166, 9000) is None
    assert counts(60, 1164) is None
    assert counts(60, 1164, 1165, 1166, 9000, release=b"6.12.0-heaptop-emulated") is None


@pytest.mark.parametrize("name", CAPTURES)
def test_real_kernels_count_them(name: str) -> None:
    assert assemble(real(name)).inodes_count

"""What was not looked at, cannot be seen from here, or is of an earlier look."""

import errno

import pytest

from heaptop.assemble import assemble
from heaptop.assemble.limits import UDEV_RULE
from heaptop.capture import Capture, FdLink, FdStat, FdTable, ProcessCapture, Raw, ReadError, Reading
from heaptop.model import Gap, Snapshot
from tests.assemble.captures import DENIED, by_inode, real, with_files, without_files

BUFINFO = "sys/kernel/debug/dma_buf/bufinfo"
STATUS = b"Name:\tx\nTgid:\t1\nPid:\t1\nPPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nNSpid:\t%s\nThreads:\t1\n"


def found(shot: Snapshot, start: str) -> list[Gap]:
    return [gap for gap in shot.gaps if gap.what.startswith(start)]


def test_all_that_is_off_is_one_gap() -> None:
    shot = assemble(without_files(real(), BUFINFO)._replace(off=frozenset({"vmstat", "bufinfo"})))
    assert found(shot, "bufinfo") == [Gap("bufinfo, vmstat", "switched off by --source", "")]
    (other,) = found(shot, "attachments")
    assert (other.why, other.remedy) == ("bufinfo is switched off by --source", "")


def test_what_is_off_is_not_told_as_missing_from_the_capture() -> None:
    shot = assemble(without_files(real(), "proc/vmstat")._replace(off=frozenset({"vmstat"})))
    assert not [gap for gap in shot.gaps if "/proc/vmstat" in gap.what]


def test_an_older_text_is_told_with_its_age_and_cost() -> None:
    shot = assemble(real()._replace(older={BUFINFO: Reading(12.0, 0.25)}))
    (gap,) = found(shot, f"what has changed since in /{BUFINFO}")
    assert gap.why == "read 12 s ago, as one reading takes 250 ms"


def test_counts_of_an_older_bufinfo_give_way_to_fresh_ones() -> None:
    fresh = by_inode(assemble(real()))
    inode = next(inode for inode, buffer in fresh.items() if any(holder.fds for holder in buffer.holders))
    count = fresh[inode].file_count
    assert count is not None
    text = real().files[BUFINFO]
    assert isinstance(text, bytes)
    changed = b"\n".join(_recounted(row, inode) for row in text.split(b"\n"))
    assert changed != text
    capture = with_files(real(), {BUFINFO: changed})
    assert by_inode(assemble(capture))[inode].file_count != count
    old = capture._replace(older={BUFINFO: Reading(3.0, 0.1)})
    assert by_inode(assemble(old))[inode].file_count == count


def _recounted(row: bytes, inode: int) -> bytes:
    """The row with another file count: size flags mode count exp_name ino name."""
    cells = row.split(b"\t")
    return b"\t".join([*cells[:3], b"00000099", *cells[4:]]) if cells[5:] and cells[5] == b"%08d" % inode else row


def test_rows_of_an_older_bufinfo_that_a_fresh_list_has_no_more_are_gone() -> None:
    """sysfs lists every buffer: one that only the older bufinfo has was freed meanwhile."""
    whole = by_inode(assemble(real()))
    orphan = next(inode for inode, buffer in whole.items() if buffer.is_orphan)
    capture = without_files(real(), f"sys/kernel/dmabuf/buffers/{orphan}/")
    assert orphan in by_inode(assemble(capture))
    old = capture._replace(older={BUFINFO: Reading(3.0, 0.1)})
    assert by_inode(assemble(old)).keys() == whole.keys() - {orphan}


@pytest.mark.parametrize(
    ("link", "status", "is_told"),
    [
        (b"pid:[4026531836]", STATUS % b"7", False),
        (b"pid:[4026532999]", STATUS % b"7", True),
        (b"pid:[4026532999]", STATUS % b"900\t7", False),
        (b"pid:[4026532999]", None, True),
        (b"pid:[4026532999]", b"garbage", True),
        (b"garbage", None, False),
        (None, None, False),
    ],
)
def test_a_pid_namespace(link: bytes | None, status: bytes | None, is_told: bool) -> None:
    capture = real()._replace(links={**real().links, **({"proc/self/ns/pid": link} if link else {})})
    if status is not None:
        capture = with_files(capture, {"proc/self/status": status})
    assert bool(found(assemble(capture), "processes outside")) is is_told


def test_locked_heaps_have_a_udev_rule() -> None:
    capture = with_files(real(), {f"dev/dma_heap/{name}": DENIED for name in ("system", "reserved")})
    shot = assemble(capture)
    assert found(shot, "allocating") == [
        Gap("allocating from reserved, system", "permission denied", f"add a udev rule: {UDEV_RULE}")
    ]
    assert [heap.name for heap in shot.heaps] == [heap.name for heap in assemble(real()).heaps]


def holder(pid: int, **files: Raw) -> ProcessCapture:
    link = FdLink(3, b"/dmabuf:", FdStat((0, 12), 9, 4096, 0, 1, 8))
    info = b"pos:\t0\nflags:\t02\nmnt_id:\t1\nino:\t9\nsize:\t4096\ncount:\t2\nexp_name:\tsystem\n"
    maps = b"7f00-8f00 rw-s 00000000 00:0c 9                          /dmabuf:\n"
    each = {"comm": b"x\n", "maps": maps}
    return ProcessCapture(
        pid, {**each, **{name.replace("_", "."): raw for name, raw in files.items()}}, FdTable((link,), {3: info})
    )


def hidden(*processes: ProcessCapture) -> int | None:
    (buffer,) = assemble(Capture("kernel", None, {}, {}, processes)).buffers
    assert len(buffer.holders) == len(processes)
    return buffer.hidden_refs


def test_what_two_processes_share_is_one_reference() -> None:
    """Two references: a descriptor and a mapping. As a table and a memory of two processes they are seen four times."""
    assert hidden(holder(5)) == 0
    assert hidden(holder(5), holder(6, fd_shared=b"5\n", maps_shared=b"5\n")) == 0
    alone = holder(5)._replace(files={"comm": b"x\n", "maps": b""})
    both = holder(6, fd_shared=b"5\n")._replace(files={"comm": b"x\n", "maps": b"", "fd.shared": b"5\n"})
    assert hidden(alone, both) == 1
    assert hidden(alone, both._replace(files=alone.files)) == 0


def test_a_capability_lost_while_running() -> None:
    """What was read at one look is refused at the next: gaps, and no failure."""
    lost = ReadError("read", errno.EPERM)
    capture = without_files(real(), "sys/kernel/debug/dma_buf")._replace(
        processes=tuple(
            ProcessCapture(each.pid, {"comm": b"x\n", "maps": lost}, FdTable(error=lost)) for each in real().processes
        ),
    )
    shot = assemble(with_files(capture, {"sys/kernel/debug": lost, BUFINFO: lost}))
    assert shot.processes == ()
    assert [gap.why for gap in found(shot, f"{len(real().processes)} process")] == ["permission denied"]
    assert found(shot, "attachments")[0].why == "permission denied"


def test_a_buffer_freed_between_two_reads() -> None:
    """bufinfo is read before the processes: one is freed in between, one comes."""
    whole = by_inode(assemble(real()))
    text = real().files[BUFINFO]
    assert isinstance(text, bytes)
    come = next(inode for inode, buffer in whole.items() if len(buffer.holders) == 1 and buffer.holders[0].fds)
    lines = text.split(b"\n")
    at = next(i for i, line in enumerate(lines) if line.split(b"\t")[5:6] == [b"%08d" % come])
    end = next(i for i in range(at + 1, len(lines)) if lines[i][:1].isdigit() or lines[i].startswith(b"Total"))
    shot = assemble(with_files(real(), {BUFINFO: b"\n".join(lines[:at] + lines[end:])}))
    assert by_inode(shot)[come].size_bytes == whole[come].size_bytes
    assert found(shot, "rows of bufinfo") or found(shot, "attachments")
    gone = next(inode for inode, buffer in whole.items() if len(buffer.holders) == 1)
    holder_pid = whole[gone].holders[0].process.pid
    later = real()._replace(processes=tuple(each for each in real().processes if each.pid != holder_pid))
    assert by_inode(assemble(later))[gone].is_orphan


@pytest.mark.parametrize(
    ("options", "own", "hides"),
    [
        (b"rw,hidepid=invisible", b"CapEff:\t0000000000000000\nGid:\t7\t7\t7\t7\n", True),
        (b"rw,gid=3,hidepid=4", b"CapEff:\t0000000000000000\nGroups:\t5 33 \n", True),
        (b"rw,gid=33,hidepid=2", b"CapEff:\t0000000000000000\nGroups:\t5 33 \n", False),
        (b"rw,hidepid=2", b"CapEff:\t0000000000080000\n", False),
        (b"rw,hidepid=noaccess", b"CapEff:\t0000000000000000\n", False),
        (b"rw,hidepid=off", b"CapEff:\t0000000000000000\n", False),
        (b"rw,relatime", b"", False),
    ],
)
def test_processes_that_proc_hides(options: bytes, own: bytes, hides: bool) -> None:
    mounts = b"sysfs /sys sysfs rw 0 0\nproc /proc proc " + options + b" 0 0\n"
    shot = assemble(with_files(real(), {"proc/mounts": mounts, "proc/self/status": own}))
    told = [gap for gap in shot.gaps if "hidepid" in gap.why]
    assert bool(told) == hides
    assert all("CAP_SYS_PTRACE" in gap.remedy for gap in told)

"""A device's own shell, on a real kernel: it tells what heaptop itself sees there, but for what only threads have."""

import shutil
from pathlib import Path

import pytest

from heaptop.assemble import assemble
from heaptop.backend.kernel import KernelBackend
from heaptop.backend.remote import RemoteBackend
from heaptop.model import Buffer, Holder, Snapshot
from tests.vm.guest.truth import Truth


def by_inode(shot: Snapshot) -> dict[int, Buffer]:
    return {buffer.inode: buffer for buffer in shot.buffers}


def is_in_the_shells_reach(holder: Holder) -> bool:
    """Not by a thread's own table, nor by the memory of a process whose leader has ended."""
    if any(ref.tid is None for ref in holder.fds):
        return True
    return bool(holder.maps) and Path(f"/proc/{holder.process.pid}/maps").read_bytes() != b""


@pytest.mark.skipif(shutil.which("xargs") is None, reason="no xargs here")
def test_a_shell_sees_what_heaptop_sees(truth: Truth) -> None:
    assert truth.holds
    here, there = KernelBackend(), RemoteBackend("ssh:here", ["sh"])
    try:
        own, told = by_inode(assemble(here.capture())), by_inode(assemble(there.capture()))
    finally:
        here.close()
        there.close()
    reached = 0
    for inode, mine in own.items():
        holders = [holder.comm for holder in mine.holders if is_in_the_shells_reach(holder)]
        if not holders:
            continue
        theirs = told[inode]
        assert (theirs.size_bytes, theirs.name, theirs.exporter) == (mine.size_bytes, mine.name, mine.exporter)
        assert [holder.comm for holder in theirs.holders] == holders
        reached += 1
    assert reached
    assert told.keys() <= own.keys()

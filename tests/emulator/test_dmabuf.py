"""A real dma-buf stands for a buffer: it is shown by that number, and still is after a restart."""

import errno
import os
import signal
from pathlib import Path

import pytest

from heaptop_emulator import shared
from tests.emulator.serving import wait_for, wait_until_gone

DMABUF = 1 << 40


def test_it_is_known_by_the_dma_buf(tmp_path: Path) -> None:
    path = str(tmp_path / "heaptop")
    client, _ = shared.connect_or_start(path=path)
    try:
        with client:
            given, other = client.allocate("system", 4096), client.allocate("system", 4096)
            client.replace(given.inode, DMABUF)
            for inode, number in ((other.inode, errno.EEXIST), (12345, errno.ENOTTY)):
                with pytest.raises(OSError) as refused:  # noqa: PT011
                    client.replace(inode, DMABUF)
                assert refused.value.errno == number
            client.set_name(DMABUF, b"camera")
            before = client.state()
            assert {(buffer.inode, buffer.is_dmabuf, buffer.name) for buffer in before.buffers} == {
                (DMABUF, True, b"camera"),
                (other.inode, False, None),
            }
            assert f"{DMABUF}\t".encode() in before.files["bpf/dmabuf_pages"]
            pid = client.about().pid
        os.kill(pid, signal.SIGKILL)
        wait_until_gone([pid])
        with shared.connect_or_start(path=path)[0] as again:
            assert sorted(again.state().buffers, key=lambda buffer: buffer.inode) == sorted(
                before.buffers, key=lambda buffer: buffer.inode
            )
            os.close(given.fd)
            wait_for(again.state, lambda state: [buffer.inode for buffer in state.buffers] == [other.inode])
            again.replace(other.inode, DMABUF)
            os.close(other.fd)
    finally:
        shared.stop(path)

"""The bench itself: the workload holds what it says, by the kernel's own word."""

from tests.vm.guest.kernel_text import bufinfo
from tests.vm.guest.truth import WAYS, Truth


def test_every_way_is_held_or_left_out(truth: Truth) -> None:
    assert {hold.way for hold in truth.holds} | set(truth.left_out) == set(WAYS)
    assert not {hold.way for hold in truth.holds} & set(truth.left_out)


def test_bufinfo_agrees(truth: Truth) -> None:
    rows = bufinfo()
    assert rows.keys() == truth.buffers.keys()
    for inode, buffer in truth.buffers.items():
        row = rows[inode]
        assert (row.size_bytes, row.exporter) == (buffer.size_bytes, buffer.exporter), inode
        assert (row.file_count > buffer.visible_refs) is buffer.is_hidden, inode
        assert row.file_count >= buffer.visible_refs, inode

"""An `Assembler` given capture after capture: the same snapshots, and the same objects where nothing changed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop.assemble import Assembler, assemble
from heaptop.capture import Capture, FdTable, ProcessCapture
from tests.assemble.captures import capture, fdinfo, link, process, real, stat_of, without_files
from tests.support import CAPTURES


def test_the_same_capture_gives_the_same_objects() -> None:
    assembler = Assembler()
    first, second = assembler.assemble(real()), assembler.assemble(real())
    assert all(left is right for left, right in zip(first.buffers, second.buffers, strict=True))
    assert first == second


def test_equal_text_read_anew_gives_the_same_objects() -> None:
    assembler = Assembler()
    first = assembler.assemble(real())
    again = real()._replace(processes=tuple(each._replace() for each in real().processes))
    second = assembler.assemble(again)
    assert all(left is right for left, right in zip(first.buffers, second.buffers, strict=True))


def test_only_what_changed_is_another_object() -> None:
    assembler = Assembler()
    first = assembler.assemble(real())
    gone = next(each for each in real().processes if each.files.get("comm") == b"surfaceflinger\n")
    second = assembler.assemble(real()._replace(processes=tuple(each for each in real().processes if each is not gone)))
    before = {buffer.inode: buffer for buffer in first.buffers}
    changed = {buffer.inode for buffer in second.buffers if before[buffer.inode] is not buffer}
    assert changed == {
        buffer.inode for buffer in first.buffers if any(each.process.pid == gone.pid for each in buffer.holders)
    }


def test_a_new_device_is_seen_by_those_read_before() -> None:
    maps = b"7f0000000000-7f0000002000 rw-s 00000000 00:0d 5                          /dmabuf:x\n"
    mapper = process(7, maps=maps)
    assembler = Assembler()
    assert [each.inode for each in assembler.assemble(capture(processes=[mapper])).buffers] == [5]
    # With an fd seen, the pseudo filesystem's device is known (00:0c), and 00:0d is not it.
    owner = process(8, links=[link(3, stat_of(1, 4096))], fdinfo={3: fdinfo(1, 4096)})
    assert [each.inode for each in assembler.assemble(capture(processes=[mapper, owner])).buffers] == [1]


def variants(name: str) -> list[Capture]:
    whole = real(name)

    def closed(old: ProcessCapture) -> ProcessCapture:
        return old._replace(table=FdTable(old.table.links[:14], old.table.fdinfo), tasks=())

    return [
        whole,
        whole._replace(processes=whole.processes[::2]),
        whole._replace(processes=tuple(closed(each) if each.pid % 2 else each for each in whole.processes)),
        without_files(whole, "sys/kernel/debug/dma_buf"),
        without_files(whole._replace(links={}), "dev.ls", "sys/devices/virtual/dma_heap", "sys/class/dma_heap"),
        whole._replace(files={}, processes=()),
    ]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(CAPTURES), st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_the_snapshot_depends_on_the_capture_alone(name: str, order: list[int]) -> None:
    captures = variants(name)
    assembler = Assembler()
    for index in order:
        assert assembler.assemble(captures[index]) == assemble(captures[index])

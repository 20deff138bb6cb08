"""An `Assembler` given capture after capture: the same snapshots, and the same objects where nothing changed."""

import random
from functools import cache
from pathlib import Path
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop import recording
from heaptop.assemble import Assembler, assemble
from heaptop.capture import BufferInfo, Capture, FdTable, ProcessCapture
from heaptop.model import Snapshot
from tests.assemble.captures import capture, fdinfo, link, process, real, stat_of, with_files, without_files
from tests.assemble.test_any_input import spoil_capture
from tests.assemble.test_bpf import LIST, true_list
from tests.support import CAPTURES

Item = TypeVar("Item")
DUMP = Path(__file__).parent.parent / "dumps" / "bugreport.txt"


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


@cache
def told_otherwise(name: str) -> Capture:
    """The capture with what it lacks: what BPF lists, newest fdinfos, somebody's dump."""
    whole = real(name)
    infos = {
        each.stat.inode: BufferInfo(holder.pid, None, each.fd, holder.table.fdinfo[each.fd])
        for holder in whole.processes
        for each in holder.table.links
        if each.stat is not None and each.fd in holder.table.fdinfo
    }
    return with_files(whole, {**recording.read(str(DUMP)).files, LIST: true_list()})._replace(infos=infos)


def mixed(name: str, seed: int) -> Capture:
    """A capture of which each part is as it was, or otherwise, or not there; what is as it was is the very same."""
    rng = random.Random(seed)
    share = rng.choice((0.02, 0.3, 1.0))
    ways = [real(name), told_otherwise(name), spoil_capture(told_otherwise(name), seed % 3, 0.2)]

    def chosen(items: list[Item | None]) -> Item | None:
        return rng.choice([*items[1:], None]) if rng.random() < share else items[0]

    def chosen_of(items: list[dict[str, Item]]) -> dict[str, Item]:
        keys = sorted({key for some in items for key in some})
        return {key: item for key in keys if (item := chosen([some.get(key) for some in items])) is not None}

    processes = [{str(each.pid): each for each in way.processes} for way in ways]
    infos = [{str(inode): info for inode, info in way.infos.items()} for way in ways]
    return real(name)._replace(
        files=chosen_of([dict(way.files) for way in ways]),
        links=chosen_of([dict(way.links) for way in ways]),
        processes=tuple(sorted(chosen_of(processes).values(), key=lambda each: each.pid)),
        infos={int(inode): info for inode, info in chosen_of(infos).items()},
    )


def kept(before: Snapshot, now: Snapshot) -> bool:
    """Whether what is equal is the very same object; a process that only a dump tells of need not be."""
    old = {buffer.inode: buffer for buffer in before.buffers}
    ours = {process.id: process for process in before.processes if process.id.start_time is not None}
    return (
        all(old[each.inode] is each for each in now.buffers if old.get(each.inode) == each)
        and all(ours[each.id] is each for each in now.processes if ours.get(each.id) == each)
        and (before.buffers is now.buffers or before.buffers != now.buffers)
        and (before.heaps is now.heaps or before.heaps != now.heaps)
        and (before.exporters is now.exporters or before.exporters != now.exporters)
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CAPTURES), st.lists(st.integers(0, 1 << 32), min_size=2, max_size=8))
def test_so_it_does_however_little_changes(name: str, seeds: list[int]) -> None:
    assembler = Assembler()
    before = assembler.assemble(real(name))
    for seed in (*seeds, seeds[0]):
        captured = mixed(name, seed)
        now = assembler.assemble(captured)
        assert now == assemble(captured)
        assert kept(before, now)
        before = now

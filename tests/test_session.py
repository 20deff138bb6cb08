"""`session`: what only time can tell."""

import errno
import time
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop.analysis.diff import diff
from heaptop.analysis.history import GONE_REFRESHES
from heaptop.analysis.trends import TREND_POINTS
from heaptop.backend.base import Backend
from heaptop.capture import Capture, FdTable, ProcessCapture, ReadError
from heaptop.errors import SourceError, UsageError
from heaptop.model import ProcessId
from heaptop.session import Session
from tests.assemble.captures import capture, fdinfo, link, process, stat_of

DEV_LS = b"/dev/dma_heap:\ntotal 0\ncrw------- 1 0 0 254, 0 Nov 22 22:45 system\n"


class Script:
    """A backend that plays captures; the last one again and again. An exception among them is raised."""

    source = "script"

    def __init__(self, captures: Iterable[Capture | Exception]) -> None:
        self._captures = list(captures)

    def capture(self) -> Capture:
        found = self._captures.pop(0) if len(self._captures) > 1 else self._captures[0]
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        pass


def holding(pid: int, sizes: dict[int, int], comm: str = "app") -> ProcessCapture:
    """A process with one fd for each buffer (inode: size)."""
    return process(
        pid,
        comm,
        links=[link(inode, stat_of(inode, size)) for inode, size in sizes.items()],
        fdinfo={inode: fdinfo(inode, size) for inode, size in sizes.items()},
    )


def at(moment: float, *processes: ProcessCapture, boot: str | None = None) -> Capture:
    files = {"dev.ls": DEV_LS}
    if boot is not None:
        files["proc/sys/kernel/random/boot_id"] = f"{boot * 8}-{boot * 4}-{boot * 4}-{boot * 4}-{boot * 12}\n".encode()
    return capture(files, processes)._replace(captured_at=moment)


def never() -> float:
    raise AssertionError("the capture tells its time")


def session(*captures: Capture | Exception, clock: Callable[[], float] = never) -> Session:
    return Session(Script(captures), clock)


def test_the_script_is_a_backend() -> None:
    assert isinstance(Script([capture()]), Backend)


def test_at_first_nothing_is_new() -> None:
    update = session(at(10, holding(1, {5: 4096}))).refresh()
    assert (update.number, update.delta.new, update.delta.count, update.since_mark) == (1, (), 0, None)
    assert update.history.first_seen == {5: 10}
    assert update.history.last_holders == {5: ("app",)}


def test_a_capability_lost_while_running() -> None:
    """What was refused from the start is no loss; its count may change."""
    from_start, dropped = (ReadError("open", errno.EACCES), ReadError("open", errno.EPERM))
    refused = [ProcessCapture(pid, {"comm": b"x\n", "maps": from_start}, FdTable(error=from_start)) for pid in (8, 9)]
    bufinfo = {"sys/kernel/debug/dma_buf/bufinfo": dropped}
    later = at(11, holding(7, {5: 4096}), *refused)
    looks = session(at(10, holding(7, {5: 4096}), refused[0]), later._replace(files={**later.files, **bufinfo}), later)
    assert looks.refresh().lost == ()
    lost = looks.refresh().lost
    assert {(gap.why, gap.remedy) for gap in lost} == {("permission denied", "run as root")}
    assert all("bufinfo" in gap.what for gap in lost)
    assert looks.refresh().lost == ()


def test_a_pid_that_is_used_again_is_another_process() -> None:
    """Its start time tells: it has not grown, and what it holds was not held by the one before."""

    def started(capture_of: ProcessCapture, ticks: int) -> ProcessCapture:
        rest = " ".join(["0"] * 18 + [str(ticks)] + ["0"] * 30)
        return capture_of._replace(files={**capture_of.files, "stat": f"7 (app) S {rest}\n".encode()})

    looks = session(at(10, started(holding(7, {5: 4096}), 100)), at(11, started(holding(7, {6: 8192}), 200)))
    first, second = looks.refresh(), looks.refresh()
    (before,), (after,) = first.snapshot.processes, second.snapshot.processes
    assert (before.id, after.id) == (ProcessId(7, 100), ProcessId(7, 200))
    assert second.history.growth_bytes == {ProcessId(7, 200): 0}
    assert second.history.process_trend_bytes[before.id] == (4096, 0)
    assert [buffer.inode for buffer in second.delta.gone] == [5]


def test_without_a_captures_time_the_clock_tells() -> None:
    one = at(0, holding(1, {5: 4096}))._replace(captured_at=None)
    assert session(one, clock=lambda: 77.0).refresh().history.first_seen == {5: 77.0}


def test_first_sightings_and_what_is_gone() -> None:
    whole, less = holding(1, {5: 4096, 6: 8192}), holding(1, {6: 8192, 7: 1})
    run = session(at(10, whole), at(11, less), at(12, less), at(13, less), at(14, less))
    run.refresh()
    second = run.refresh()
    assert [each.inode for each in second.delta.new] == [7]
    assert [each.inode for each in second.delta.gone] == [5]
    assert second.delta.size_bytes == 1 - 4096
    assert second.history.first_seen == {6: 10, 7: 11}
    assert second.history.gone == {5: 11}
    assert second.history.last_holders[5] == ("app",)
    later = [run.refresh().history for _ in range(GONE_REFRESHES)]
    assert [dict(each.gone) for each in later] == [{5: 11}, {5: 11}, {}]
    assert 5 not in later[-1].last_holders
    assert second.history.gone == {5: 11}  # what was handed over stays


def test_a_buffer_missed_once_keeps_its_age() -> None:
    run = session(at(10, holding(1, {5: 4096})), at(11), at(12, holding(1, {5: 4096})))
    run.refresh()
    run.refresh()
    back = run.refresh()
    assert [each.inode for each in back.delta.new] == [5]
    assert (back.history.first_seen, back.history.gone) == ({5: 10}, {})


def test_who_let_go_last() -> None:
    text = b"\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n"
    text += b"00004096\t00000002\t00080007\t00000001\tsystem\t00000005\tx\n\tAttached Devices:\n"
    text += b"Total 0 devices attached\n\n\nTotal 1 objects, 4096 bytes\n"
    held = at(10, holding(1, {5: 4096}, "camera"), holding(2, {5: 4096}, "app"))
    orphaned = at(11)._replace(files={"sys/kernel/debug/dma_buf/bufinfo": text})
    run = session(held, orphaned)
    run.refresh()
    update = run.refresh()
    assert update.snapshot.buffers[0].is_orphan
    assert update.history.last_holders == {5: ("camera", "app")}


def test_growth_and_trends() -> None:
    run = session(*(at(n, holding(1, dict.fromkeys(range(n + 1), 4096)), holding(2, {99: 1})) for n in range(4)))
    for _ in range(4):
        update = run.refresh()
    one, two = ProcessId(1, None), ProcessId(2, None)
    history = update.history
    assert history.growth_bytes == {one: 3 * 4096, two: 0}
    assert history.process_trend_bytes == {one: (4096, 8192, 12288, 16384), two: (1, 1, 1, 1)}
    assert history.total_trend_bytes == (4097, 8193, 12289, 16385)
    assert history.heap_trend_bytes == {"system": history.total_trend_bytes}
    assert history.exporter_trend_bytes == {"system": history.total_trend_bytes}


def test_trends_are_bounded_and_the_absent_forgotten() -> None:
    run = session(at(0, holding(1, {5: 7})), at(1, holding(1, {5: 7}), holding(2, {6: 1})), at(2, holding(2, {6: 1})))
    updates = [run.refresh() for _ in range(TREND_POINTS + 3)]
    one, two = ProcessId(1, None), ProcessId(2, None)
    assert updates[2].history.process_trend_bytes[one] == (7, 7, 0)
    assert one not in updates[2].history.growth_bytes
    last = updates[-1].history
    assert last.process_trend_bytes == {two: (1,) * TREND_POINTS}
    assert len(last.total_trend_bytes) == TREND_POINTS


def test_growth_goes_on_after_a_pause() -> None:
    run = session(at(0, holding(1, {5: 10})), at(1), at(2, holding(1, {6: 15})))
    for _ in range(3):
        update = run.refresh()
    assert update.history.growth_bytes == {ProcessId(1, None): 5}


def test_marks() -> None:
    run = session(at(10, holding(1, {5: 10})), at(11, holding(1, {5: 10, 6: 20})), at(12, holding(1, {6: 20})))
    with pytest.raises(UsageError, match="nothing has been captured"):
        run.set_mark()
    run.refresh()
    mark = run.set_mark()
    assert (mark.label, mark.set_at, mark.snapshot) == ("A", 10, run.snapshot)
    run.refresh()
    since = run.refresh().since_mark
    assert since is not None
    assert ([each.inode for each in since.new], [each.inode for each in since.gone]) == ([6], [5])
    assert (since.size_bytes, since.count) == (10, 0)
    assert (run.set_mark().label, run.set_mark("before the call").label, run.set_mark().label) == (
        "B",
        "before the call",
        "C",
    )
    run.clear_mark()
    assert (run.mark, run.refresh().since_mark) == (None, None)


def test_labels_go_on_after_z() -> None:
    run = session(at(10))
    run.refresh()
    labels = [run.set_mark().label for _ in range(28)]
    assert labels[25:] == ["Z", "AA", "AB"]


def test_another_boot_starts_anew() -> None:
    run = session(at(10, holding(1, {5: 10}), boot="a"), at(20, holding(1, {5: 10}), boot="b"))
    run.refresh()
    update = run.refresh()
    assert [each.inode for each in update.delta.new] == [each.inode for each in update.delta.gone] == [5]
    assert (update.history.first_seen, update.history.total_trend_bytes) == ({5: 20}, (10,))


def test_a_failed_refresh_changes_nothing() -> None:
    run = session(at(10, holding(1, {5: 10})), SourceError("gone"), at(12, holding(1, {5: 10})))
    run.refresh()
    with pytest.raises(SourceError):
        run.refresh()
    update = run.refresh()
    assert (update.number, update.history.first_seen, update.history.total_trend_bytes) == (2, {5: 10}, (10, 10))


def test_cost() -> None:
    cpu = iter([1.0, 1.25])
    wall = iter([0.0, 1.0, 1.5, 1.75, 2.5])
    run = Session(Script([at(10)]), never, cpu_clock=lambda: next(cpu), timer=lambda: next(wall))
    cost = run.refresh().cost
    assert (cost.capture_s, cost.assemble_s, cost.cpu_share) == (0.5, 0.25, 0.1)


def test_a_clock_that_stands_still_is_no_trouble() -> None:
    run = Session(Script([at(10)]), never, cpu_clock=lambda: 1.0, timer=lambda: 1.0)
    assert run.refresh().cost.cpu_share == 0


def test_an_unchanged_source_changes_nothing() -> None:
    run = session(at(10, holding(1, {5: 10})))
    first, second = run.refresh(), run.refresh()
    assert second.delta == first.delta
    assert second.snapshot.buffers[0] is first.snapshot.buffers[0]


def test_many_buffers_stay_cheap() -> None:
    sizes = [dict.fromkeys(range(1 + pid * 100, 101 + pid * 100), 4096) for pid in range(100)]
    before = [holding(pid, held) for pid, held in enumerate(sizes)]
    after = [
        holding(pid, {**held, 10**6 + pid: 1}) if pid < 5 else old
        for pid, (held, old) in enumerate(zip(sizes, before, strict=True))
    ]
    run = session(at(0, *before), at(1, *after))
    began = time.process_time()
    run.refresh()
    first = time.process_time() - began
    began = time.process_time()
    update = run.refresh()
    second = time.process_time() - began
    assert len(update.delta.new) == 5
    assert second < first


BUFINFO_OF_ONE = (
    b"\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n"
    b"00004096\t00000002\t00080007\t00000001\tsystem\t00000005\t<none>\n"
    b"\tAttached Devices:\nTotal 0 devices attached\n\n\nTotal 1 objects, 4096 bytes\n"
)


class Searcher(Script):
    """Says whether it was told to search."""

    def __init__(self, captures: Iterable[Capture | Exception]) -> None:
        super().__init__(captures)
        self.asked: list[bool] = []

    def search(self, *, wanted: bool) -> None:
        self.asked.append(wanted)


def test_hiding_places_are_searched_while_something_is_hidden_and_who_let_go_is_known() -> None:
    def seen(*holders: ProcessCapture) -> Capture:
        files = {"sys/kernel/debug/dma_buf/bufinfo": BUFINFO_OF_ONE}
        return at(10, *holders)._replace(files={**at(10).files, **files})

    backend = Searcher([seen(holding(812, {5: 4096})), seen(), at(12)])
    run = Session(backend, never)
    assert [len(run.refresh().history.let_go) for _ in range(2)] == [0, 1]
    assert [(one.pid, comm) for one, comm in run.let_go[5].holders] == [(812, "app")]
    run.refresh()
    assert backend.asked == [False, True, False]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.integers(1, 3), st.sets(st.integers(1, 9), max_size=4)), min_size=2, max_size=9))
def test_what_was_handed_over_stays_as_it_was(looks: list[dict[int, set[int]]]) -> None:
    """And says what a session says that knows only the last two looks."""
    captures = [
        at(number, *(holding(pid, dict.fromkeys(sorted(held), 4096 * pid)) for pid, held in sorted(look.items())))
        for number, look in enumerate(looks)
    ]
    run = session(*captures)
    first = run.refresh()
    mark = run.set_mark()
    given_out = [first, *(run.refresh() for _ in captures[1:])]
    then = [repr(update) for update in given_out]
    for before, update in pairwise(given_out):
        assert update.delta == diff(before.snapshot, update.snapshot)
        assert update.since_mark == diff(mark.snapshot, update.snapshot)
        assert update.history.total_trend_bytes[-1] == update.snapshot.size_bytes
        assert update.history.first_seen.keys() == {buffer.inode for buffer in update.snapshot.buffers}
        assert update.history.growth_bytes.keys() == {process.id for process in update.snapshot.processes}
        for one in update.snapshot.processes:
            assert update.history.process_trend_bytes[one.id][-1] == one.rss_bytes
    for _ in range(3):
        run.refresh()
    assert [repr(update) for update in given_out] == then

from typing import Any, cast

from heaptop.session import Session, Update
from heaptop.tui.frame import TOUCHED_SCANS, Framer, sums_of
from tests.tui.feed import EVIL, FB, IN_FLIGHT, PREVIEW, SHARED, _Plays, look
from tests.tui.stage import NOON, FakeBackend


def updates(*looks: Any) -> list[Update]:
    session = Session(FakeBackend(), lambda: NOON)
    session._assembler = cast("Any", _Plays(looks))
    return [session.refresh() for _ in looks]


def test_gone_buffers_stay_known_for_three_scans_and_new_ones_are_marked_as_long() -> None:
    framer = Framer()
    looks = [look(FB, EVIL), *(look(FB, PREVIEW, second=second) for second in range(1, 6))]
    frames = [framer.frame(update) for update in updates(*looks)]
    assert frames[0].new == frozenset()
    assert [sorted(frame.gone) for frame in frames] == [[], [EVIL.inode], [EVIL.inode], [EVIL.inode], [], []]
    assert [sorted(frame.new) for frame in frames] == [[], [39], [39], [39], [], []]
    assert frames[1].buffers[EVIL.inode] is EVIL
    assert EVIL.inode not in frames[4].buffers


def test_rate_is_per_second_and_unknown_at_first() -> None:
    framer = Framer()
    frames = [framer.frame(update) for update in updates(look(FB), look(FB, EVIL, PREVIEW, second=4))]
    assert [frame.rate_per_s for frame in frames] == [None, 0.5]


def test_what_was_touched_since_an_update_of_before() -> None:
    framer = Framer()
    first, *rest = [
        framer.frame(update)
        for update in updates(look(FB), look(FB, EVIL, second=1), look(FB, second=2), look(FB, SHARED, second=3))
    ]
    last = rest[-1]
    assert last.touched_since(last.update.number) == frozenset()
    assert last.touched_since(first.update.number) == frozenset({EVIL.inode, SHARED.inode})
    assert last.touched_since(first.update.number + 2) == frozenset({SHARED.inode})


def test_what_was_touched_is_told_once_too_long_ago() -> None:
    framer = Framer()
    looks = [look(FB, second=second) for second in range(TOUCHED_SCANS + 3)]
    frames = [framer.frame(update) for update in updates(*looks)]
    assert frames[-1].touched_since(1) is None
    assert frames[-1].touched_since(0) is None


def test_the_end_of_a_gone_row_touches_it() -> None:
    framer = Framer()
    looks = [look(FB, EVIL), *(look(FB, second=second) for second in range(1, 5))]
    frames = [framer.frame(update) for update in updates(*looks)]
    assert frames[-1].gone == {}
    assert frames[-1].touched_since(frames[-2].update.number) == frozenset({EVIL.inode})


def test_while_held_each_frame_tells_what_changed_since() -> None:
    framer = Framer()
    first, second = updates(look(FB), look(EVIL, second=1))
    assert framer.frame(first).since_held is None
    framer.held = first
    delta = framer.frame(second).since_held
    assert delta is not None
    assert ([b.inode for b in delta.new], [b.inode for b in delta.gone]) == ([104], [78])


def test_references_over_time_of_those_that_changed() -> None:
    framer = Framer()
    looks = [look(FB, PREVIEW._replace(file_count=count), second=count) for count in (3, 3, 5, 4)]
    frames = [framer.frame(update) for update in updates(*looks)]
    assert [dict(frame.references) for frame in frames] == [{}, {}, {39: (3, 5)}, {39: (3, 5, 4)}]


def test_indexes_and_sums_kept_up_are_those_made_anew() -> None:
    changed = FB._replace(size_bytes=None, holders=())
    looks = [look(FB), look(FB, EVIL, IN_FLIGHT, second=1), look(changed, IN_FLIGHT, second=2), look(PREVIEW, second=3)]
    framer = Framer()
    for one in updates(*looks):
        frame, buffers = framer.frame(one), one.snapshot.buffers
        assert {inode: frame.buffers[inode] for inode in frame.buffers if inode not in frame.gone} == {
            buffer.inode: buffer for buffer in buffers
        }
        assert frame.sums == sums_of(buffers)
        assert frame.size_bytes == one.snapshot.size_bytes
        assert frame.sums.orphans == sum(buffer.is_orphan for buffer in buffers)
        assert frame.processes == {process.id: process for process in one.snapshot.processes}


def test_frames_of_the_very_same_look_share_their_indexes() -> None:
    framer = Framer()
    same = look(FB, PREVIEW)
    first, second = (framer.frame(update) for update in updates(same, same))
    assert first.buffers is second.buffers
    assert first.processes is second.processes

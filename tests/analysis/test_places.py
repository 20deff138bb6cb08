from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.places import PLACES_MAX, Places
from heaptop.model import Buffer, Event, EventKind, PageRun, Source
from tests.analysis.builders import buffer, snapshot

PLACED = (PageRun(0x5BE00, 2),)


def alloc(inode: int, pfn: int | None = 0x5BE00, size_bytes: int | None = 8192) -> Event:
    return Event(EventKind.ALLOC, 1.0, 7, 7, "app", size_bytes, inode, "reserved", pfn=pfn)


def free(inode: int) -> Event:
    return Event(EventKind.FREE, 2.0, inode=inode)


def placed(places: Places, *buffers: Buffer) -> tuple[Buffer, ...]:
    return places.put_into(snapshot(*buffers)).buffers


def test_a_buffer_lies_where_its_allocation_said_until_it_is_freed() -> None:
    places = Places()
    places.note([alloc(1), alloc(2, pfn=None), alloc(3, size_bytes=None)])
    one, two, three, four = placed(places, buffer(1, 8192), buffer(2), buffer(3, 4097), buffer(4))
    assert (one.runs, two.runs, three.runs, four.runs) == (PLACED, None, PLACED, None)
    assert one.provenance["runs"] == (Source.EVENTS,)
    assert one.told("name")
    places.note([free(1), free(99)])
    assert placed(places, buffer(1))[0].runs is None


def test_what_a_better_source_told_stays() -> None:
    places = Places()
    places.note([alloc(1)])
    told = buffer(1)._replace(runs=(PageRun(9, 1),))
    assert placed(places, told)[0] is told


def test_a_buffer_that_did_not_change_is_the_same_object() -> None:
    places = Places()
    places.note([alloc(1)])
    one = buffer(1)
    first, second = placed(places, one)[0], placed(places, one)[0]
    assert first is second
    assert placed(places, one._replace())[0] is not first
    nothing = snapshot(one)
    assert Places().put_into(nothing) is nothing


def test_a_size_nobody_tells_leaves_the_buffer_alone() -> None:
    places = Places()
    places.note([alloc(1, size_bytes=None)])
    assert placed(places, buffer(1, None))[0].runs is None


def test_the_newest_are_remembered() -> None:
    places = Places()
    places.note(alloc(inode) for inode in range(PLACES_MAX + 1))
    assert [one.runs is None for one in placed(places, buffer(0), buffer(1), buffer(PLACES_MAX))] == [
        True,
        False,
        False,
    ]


INODES = st.integers(1, 5)
STEPS = st.lists(
    st.builds(alloc, INODES, st.integers(1, 3))
    | st.builds(free, INODES)
    | st.builds(buffer, INODES, st.sampled_from((4096, 8192)))
    | INODES
)


@given(STEPS)
def test_as_who_begins_anew_has_it(steps: list[Event | Buffer | int]) -> None:
    """Events, buffers that are other than before or new, and buffers that go."""
    places, told = Places(), list[Event]()
    alive: dict[int, Buffer] = {}
    before: dict[int, Buffer] = {}
    for step in steps:
        if isinstance(step, Event):
            told.append(step)
            places.note([step])
        elif isinstance(step, Buffer):
            alive[step.inode] = step
        else:
            alive.pop(step, None)
        shown = [alive[inode] for inode in sorted(alive)]
        fresh = Places()
        fresh.note(told)
        now = placed(places, *shown)
        assert now == placed(fresh, *shown)
        touched = step if isinstance(step, int) else step.inode
        assert all(before[each.inode] is each for each in now if each.inode != touched)
        before = {each.inode: each for each in now}

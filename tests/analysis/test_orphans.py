"""`analysis.orphans` and `analysis.serials`."""

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.orphans import Kind, LetGo, has_hidden, orphans, parts_of
from heaptop.analysis.serials import Serials, allocated_between
from heaptop.assemble import assemble
from heaptop.model import Buffer, FdRef, HidingKind, HidingPlace, Holder, ProcessId, Snapshot
from tests.analysis.builders import buffer, holder, snapshot
from tests.assemble.captures import by_inode, real

SOCKET = HidingPlace(HidingKind.IN_FLIGHT, ProcessId(7, 1), "streamd", 5, 34)
RING = HidingPlace(HidingKind.IO_URING, ProcessId(8, 1), "ring", 9, 2, ("cam", "cam"))
OLD_RING = HidingPlace(HidingKind.IO_URING, ProcessId(8, 1), "ring", 9, 1, (None,))


def kinds(one: Buffer, *places: HidingPlace, others: tuple[Buffer, ...] = ()) -> list[tuple[Kind, int, bool]]:
    seen = snapshot(one, *others)._replace(hiding=places)
    return [(part.kind, part.references, part.is_certain) for part in parts_of(one, seen)]


def test_nothing_is_known() -> None:
    assert kinds(buffer(1, hidden_refs=2)) == [(Kind.UNSEEN, 2, False)]
    assert kinds(buffer(1, hidden_refs=0)) == kinds(buffer(1)) == []


def test_a_ring_that_names_the_buffer() -> None:
    cam = buffer(1, name="cam", hidden_refs=3)
    assert kinds(cam, RING) == [(Kind.IO_URING, 2, True), (Kind.UNSEEN, 1, False)]
    assert kinds(cam, RING, others=(buffer(2, name="cam", hidden_refs=1),))[0] == (Kind.IO_URING, 2, False)
    assert kinds(buffer(1, name="x", hidden_refs=1), RING) == [(Kind.UNSEEN, 1, False)]
    assert kinds(cam, OLD_RING)[0] == (Kind.IO_URING, 1, False)


def test_attachments_then_sockets_then_the_rest() -> None:
    one = buffer(1, hidden_refs=3)._replace(attachments=("vgem",))
    assert kinds(one, SOCKET) == [(Kind.ATTACHED, 1, True), (Kind.IN_FLIGHT, 2, False)]
    assert parts_of(one, snapshot(one)._replace(hiding=(SOCKET,)))[1].who == "streamd 7 fd 5 (34)"


def test_a_threads_own_table_is_seen_and_told() -> None:
    one = buffer(1, holders=[Holder(ProcessId(8, 1), "cam", (FdRef(3), FdRef(21, 830)))], hidden_refs=0)
    (part,) = parts_of(one, snapshot(one))
    assert (part.kind, part.references, part.is_hidden, part.who) == (Kind.THREAD, 1, False, "cam thread 830 fd 21")


@given(st.integers(0, 9), st.integers(0, 3), st.integers(0, 9))
def test_no_more_parts_than_hidden_references(hidden: int, devices: int, waiting: int) -> None:
    one = buffer(1, name="cam", hidden_refs=hidden)._replace(attachments=("a",) * devices)
    places = (SOCKET._replace(held=waiting), RING) if waiting else (RING,)
    assert sum(count for _, count, _ in kinds(one, *places)) == hidden


def test_orphans_of_a_real_kernel() -> None:
    seen = assemble(real("7.2.13-x86_64"))
    found = {one.buffer.name: [part.kind for part in one.parts] for one in orphans(seen, {})}
    assert found["io_uring-only"] == [Kind.IO_URING]
    assert found["in-flight"] == [Kind.IN_FLIGHT]
    assert found["gem-handle-only"][0] == Kind.ATTACHED
    assert has_hidden(seen.buffers)
    assert parts_of(next(iter(by_inode(seen).values())), seen) is not None


def test_orphans_largest_first_with_who_let_go() -> None:
    let_go = LetGo(((ProcessId(7, 1), "camera"),), 12.0)
    held = buffer(3, 1 << 30, holders=[holder(1)])
    first, second = orphans(snapshot(buffer(1, 10), buffer(2, 20), held), {1: let_go})
    assert (first.buffer.inode, first.let_go, second.let_go) == (2, None, let_go)


def looked(*inodes: int, counts: bool | None = True) -> Snapshot:
    return snapshot(*map(buffer, inodes))._replace(inodes_count=counts)


def test_inodes_tell_how_many_were_allocated() -> None:
    assert allocated_between(looked(3, 9), looked(3, 9, 30)) == 21
    assert allocated_between(looked(3, 9), looked(3)) == 0
    assert allocated_between(looked(3, 9), looked(30, counts=None)) is None
    assert allocated_between(looked(), looked(30)) == 0
    serials = Serials(looked(5))
    for one in (looked(80), looked(5), looked(7)):
        serials.follow(one)
    assert serials.allocated == 75
    assert Serials(looked()).allocated is None

"""`analysis.diff`."""

import time

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.diff import Delta, Since, diff, other_boot, told_by_both
from heaptop.model import Buffer, Fence
from tests.analysis.builders import buffer, holder, snapshot


def test_the_same_snapshot_has_no_delta() -> None:
    same = snapshot(buffer(1), buffer(2))
    assert diff(same, same) == Delta((), (), (), 0, 0)


def test_new_gone_and_changed() -> None:
    stays, goes, comes = buffer(1, 10), buffer(2, 20), buffer(4, 40)
    before, after = buffer(3, 30), buffer(3, 35)
    delta = diff(snapshot(stays, goes, before), snapshot(stays._replace(), after, comes))
    assert delta == Delta((comes,), (goes,), ((before, after),), 40 - 20 + 5, 0)


def test_holders_and_references_and_name_are_changes() -> None:
    old = buffer(1, holders=[holder(7)])
    for new in (
        old._replace(holders=()),
        old._replace(name="x"),
        old._replace(file_count=2),
        old._replace(hidden_refs=1),
    ):
        assert diff(snapshot(old), snapshot(new)).changed == ((old, new),)


def test_a_fence_is_no_change() -> None:
    old = buffer(1)
    new = old._replace(fences=(Fence("write", "drm_sched", signalled=False),))
    assert diff(snapshot(old), snapshot(new)).changed == ()


def test_another_boot_has_nothing_in_common() -> None:
    old, new = buffer(1, 10), buffer(1, 10)
    delta = diff(snapshot(old, boot_id="a"), snapshot(new, boot_id="b"))
    assert delta == Delta((new,), (old,), (), 0, 0)
    assert diff(snapshot(old, boot_id="a"), snapshot(new)) == Delta((), (), (), 0, 0)


def test_another_kernel_is_another_boot() -> None:
    old, new = (snapshot(buffer(1, 10))._replace(kernel=kernel) for kernel in ("6.12", "7.2"))
    assert other_boot(old, new)
    assert not other_boot(old._replace(boot_id="a"), new._replace(boot_id="a"))
    assert not other_boot(old, new._replace(kernel=None))


def test_an_unknown_size_counts_as_nothing() -> None:
    assert diff(snapshot(buffer(1, None)), snapshot(buffer(1, 5))).size_bytes == 5


tables = st.dictionaries(st.integers(1, 9), st.integers(0, 3) | st.none(), max_size=9)


def rows(table: dict[int, int | None]) -> tuple[Buffer, ...]:
    return tuple(buffer(inode, table[inode]) for inode in sorted(table))


@given(tables, tables)
def test_forth_and_back_are_opposites(left: dict[int, int | None], right: dict[int, int | None]) -> None:
    before, now = snapshot(*rows(left)), snapshot(*rows(right))
    forth, back = diff(before, now), diff(now, before)
    assert (forth.new, forth.gone) == (back.gone, back.new)
    assert forth.changed == tuple((old, new) for new, old in back.changed)
    assert forth.size_bytes == -back.size_bytes == now.size_bytes - before.size_bytes
    assert forth.count == -back.count == len(right) - len(left)


@given(tables, tables)
def test_the_delta_leads_from_one_to_the_other(left: dict[int, int | None], right: dict[int, int | None]) -> None:
    before, now = snapshot(*rows(left)), snapshot(*rows(right))
    delta = diff(before, now)
    after = {row.inode: row for row in before.buffers}
    for row in delta.gone:
        del after[row.inode]
    after.update((new.inode, new) for _, new in delta.changed)
    after.update((row.inode, row) for row in delta.new)
    assert tuple(after[inode] for inode in sorted(after)) == now.buffers


def test_fifty_thousand_buffers_cost_little() -> None:
    before = tuple(buffer(inode) for inode in range(50_000))
    now = tuple(row._replace(file_count=2) if row.inode % 20 == 0 else row for row in before)
    old, new = snapshot(*before), snapshot(*now)
    costs = []
    for _ in range(5):
        began = time.process_time()
        delta = diff(old, new)
        costs.append(time.process_time() - began)
    assert len(delta.changed) == 2_500
    assert min(costs) < 0.1  # some 15 ms where nothing else runs


def test_what_only_one_side_tells_is_no_change() -> None:
    known = buffer(1, 10, name="x", file_count=2, hidden_refs=0)
    dump = known._replace(size_bytes=None, file_count=None, hidden_refs=None, name=None, provenance={})
    for pair in ((known, dump), (dump, known)):
        assert told_by_both(diff(*map(snapshot, pair))).changed == ()
    other = known._replace(file_count=3)
    assert told_by_both(diff(snapshot(known), snapshot(other))).changed == ((known, other),)
    renamed = known._replace(name="y")
    assert told_by_both(diff(snapshot(known), snapshot(renamed))).changed == ((known, renamed),)


VARIANTS = {
    inode: [buffer(inode, size, holders=held) for size in (1, 2) for held in ((), [holder(7)])] for inode in range(6)
}
BUFFERS = st.dictionaries(st.integers(0, 5), st.integers(0, 3))


@given(st.lists(st.tuples(BUFFERS, st.sampled_from(["a", "a", "a", "b"])), min_size=1))
def test_since_one_snapshot(looks: list[tuple[dict[int, int], str]]) -> None:
    shots = [
        snapshot(*(VARIANTS[inode][shown[inode]] for inode in sorted(shown)), boot_id=boot) for shown, boot in looks
    ]
    since = Since(shots[0])
    told = [since.follow(shot) for shot in shots]
    assert told == [diff(shots[0], shot) for shot in shots]
    assert since.follow(shots[-1]) == told[-1]

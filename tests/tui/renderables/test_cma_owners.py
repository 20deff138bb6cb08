import itertools

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.placement import Placement
from heaptop.model import Buffer, CmaArea, CmaRange, FdRef, Holder, PageRun, ProcessId
from heaptop.tui.renderables.cma_map import Row
from heaptop.tui.renderables.cma_owners import (
    COLOURS,
    Lies,
    Owner,
    Owners,
    legend_spans,
    lying_in,
    owned_cells,
    signs,
)
from heaptop.tui.renderables.cma_text import plain
from tests.tui.stage import area

PAGE = 4096
A, B = Owner("A", 1), Owner("B", 2)


def lying(inode: int, comm: str | None, *runs: tuple[int, int]) -> Buffer:
    holders = () if comm is None else (Holder(ProcessId(inode, 1), comm, (FdRef(3),)),)
    size = sum(count for _, count in runs) * PAGE
    return Buffer(inode, size, None, None, None, None, None, None, holders, runs=tuple(map(PageRun._make, runs)))


def lies(of: CmaArea, *buffers: Buffer, owners: Owners | None = None) -> tuple[tuple[Lies, ...], ...]:
    known = {buffer.inode: buffer for buffer in buffers}
    return lying_in(of, Placement(buffers, 0, 1 << 40), known, owners or Owners())


def test_signs_stay_whoever_comes_and_goes() -> None:
    owners = Owners()
    small, large = lying(1, "small", (0, 1)), lying(2, "large", (9, 8))
    owners.meet([small, large])
    assert (owners.of(large), owners.of(small)) == (A, B), "who has most is first"
    owners.meet([lying(3, "larger", (99, 99)), small])
    assert [owners.of(lying(9, comm)) for comm in ("large", "small", "larger")] == [A, B, Owner("C", 3)]


def test_nobody_has_a_sign_of_its_own_and_colours_come_again() -> None:
    owners = Owners()
    assert owners.of(lying(1, None)).letter == "?"
    found = [owners.of(lying(n, f"p{n}")) for n in range(30)]
    assert {one.colour for one in found} == set(range(1, COLOURS + 1))
    assert all(left.colour != right.colour for left, right in itertools.pairwise(found))


def test_runs_are_cut_to_their_range_and_rounded_up_to_bits() -> None:
    two = CmaArea("a", 96, 2, None, None, (CmaRange(0x100, 64, b"\xff" * 2), CmaRange(0x900, 32, b"\xff")))
    found = lies(two, lying(1, "a", (0xF8, 16), (0x91C, 99)), lying(2, "b", (0x109, 2)))
    assert found == ((Lies(0, 2, 1, A), Lies(2, 1, 2, B)), (Lies(7, 1, 1, A),))
    nowhere = CmaArea("a", 16, 0, None, None, (CmaRange(None, 16, b"\xff\xff"),))
    assert lies(nowhere, lying(1, "a", (0, 16))) == ((),)
    assert lying_in(two, None, {}, Owners()) == ((), ())


def test_a_cell_is_whose_most_of_it_is() -> None:
    there = (Lies(0, 5, 1, A), Lies(5, 1, 2, B), Lies(6, 10, 3, A))
    assert [one and one.inode for one in owned_cells(there, Row(0, 0, 20), 4)] == [1, 3, 3, 3, None]
    assert [one and one.inode for one in owned_cells(there, Row(0, 4, 2), 1)] == [1, 2]


def test_a_letter_where_a_buffer_or_a_line_begins() -> None:
    one, other = Lies(0, 2, 1, A), Lies(2, 2, 2, A)
    cells = [one, one, other, None, other]
    assert signs(cells, None) == [("A", "owner-1"), ("", "owner-1"), ("A", "owner-1"), ("", ""), ("A", "owner-1")]
    assert [style for _, style in signs(cells, 2)] == ["owner-1", "owner-1", "owner", "", "owner"]


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=20), st.integers(0, 60), st.integers(1, 8))
def test_every_cell_has_its_owner(sizes: list[tuple[int, bool]], start: int, bits_per_cell: int) -> None:
    """Against a twin that goes bit by bit."""
    owner: list[int | None] = []
    there = []
    for inode, (size, gap) in enumerate(sizes):
        there.append(Lies(len(owner), size, inode, A))
        owner += [inode] * size + [None] * gap
    owner += [None] * 100
    for at, found in enumerate(owned_cells(there, Row(0, start, 37), bits_per_cell)):
        inside = owner[start + at * bits_per_cell : min(start + (at + 1) * bits_per_cell, start + 37)]
        most = max((inside.count(inode) for inode in inside if inode is not None), default=0)
        assert (0 if found is None else inside.count(found.inode)) == most


def test_who_has_how_much() -> None:
    buffers = (lying(1, "cam[/x]\n", (0x5BE00, 8)), lying(2, "cam[/x]\n", (0x5BE10, 4)), lying(3, None, (0x5BE20, 1)))
    found = lies(area(), *buffers)
    told = plain(legend_spans(found, area(), {buffer.inode: buffer for buffer in buffers}, PAGE))
    assert told == "A cam[/x]\\n 48.0 KiB  ? nobody seen 4.00 KiB  █ of no known dma-buf 1.40 MiB"
    assert legend_spans(((),), area(), {}, PAGE) == ()

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.placement import Lying, Placement, runs_by_order
from heaptop.model import Buffer, PageRun


def lying(inode: int, *runs: tuple[int, int]) -> Buffer:
    return Buffer(inode, None, None, None, None, None, None, None, (), runs=tuple(map(PageRun._make, runs)))


def test_whose_a_page_is() -> None:
    placement = Placement([lying(1, (100, 4), (200, 1)), lying(2, (104, 2))], 0, 1000)
    assert [placement.at(pfn) for pfn in (99, 100, 103, 104, 105, 106, 200)] == [
        None,
        *[Lying(100, 4, 1)] * 2,
        *[Lying(104, 2, 2)] * 2,
        None,
        Lying(200, 1, 1),
    ]


def test_only_what_lies_there_is_kept() -> None:
    placement = Placement([lying(1, (10, 10), (40, 10))], 15, 40)
    assert placement.lying == [Lying(10, 10, 1)]


def test_not_told() -> None:
    unknown = Buffer(1, None, None, None, None, None, None, None, ())
    assert not Placement([unknown], 0, 10).is_told
    assert Placement([unknown, lying(2, (50, 1))], 0, 10).is_told


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(0, 200))
def test_every_page_has_its_owner(sizes: list[int], pfn: int) -> None:
    owners: list[int] = []
    buffers = []
    for inode, size in enumerate(sizes):
        buffers.append(lying(inode, (len(owners), size)))
        owners += [inode] * size
    found = Placement(reversed(buffers), 0, 1000).at(pfn)
    assert (found.inode if found else None) == (owners[pfn] if pfn < len(owners) else None)


def test_runs_by_order() -> None:
    assert runs_by_order([PageRun(0, 1), PageRun(9, 3), PageRun(20, 4), PageRun(99, 5000)]) == (
        *(1, 1, 1),
        *(0,) * 7,
        1,
    )

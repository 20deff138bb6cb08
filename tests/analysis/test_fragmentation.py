"""The kernel's indices: examples by hand, and what the emulator's debugfs says of the same blocks."""

import re

from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.fragmentation import extfrag_index, unusable_index
from heaptop.parse import pagetypeinfo
from heaptop_emulator import text_machine
from heaptop_emulator.layout import MIB_PAGES, AreaLayout, Layout
from heaptop_emulator.machine import Machine


def test_by_hand() -> None:
    blocks = (4, 2, 0, 1)  # 4 pages in single ones, 4 in pairs, 8 in one block
    assert [unusable_index(blocks, order) for order in range(5)] == [0, 250, 500, 500, 1000]
    assert [extfrag_index(blocks, order) for order in range(4)] == [-1000] * 4
    assert extfrag_index(blocks, 4) == 1000 - (1000 + 1000) // 7
    assert (unusable_index((0, 0), 1), extfrag_index((0, 0), 1)) == (1000, 0)


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=80))
def test_they_are_those_of_the_files(steps: list[tuple[int, bool]]) -> None:
    machine = Machine(Layout(ram_pages=8 * MIB_PAGES, areas=(AreaLayout("a", (512,)),), system_pages=0))
    for order, keep in steps:
        page = machine.buddy.allocate(order)
        if not keep and page >= 0:
            machine.buddy.free(page, order)
    files = text_machine.machine_files(machine, (), "")
    rows = pagetypeinfo.parse(files["proc/pagetypeinfo"]).free
    blocks = tuple(map(sum, zip(*(row.counts for row in rows), strict=True)))
    assert files["proc/buddyinfo"].split()[4:] == [str(count).encode() for count in blocks]
    for name, index in (("unusable_index", unusable_index), ("extfrag_index", extfrag_index)):
        told = re.findall(rb"-?\d+\.-?\d+", files[f"sys/kernel/debug/extfrag/{name}"])
        ours = [index(blocks, order) for order in range(11)]
        assert [int(float(one) * 1000 + (0.5 if one[:1] != b"-" else -0.5)) for one in told if b".-" not in one] == [
            one for one in ours if not -1000 < one < 0
        ]

"""Call sites: who is to blame, the tree and its sums, and the moment with most bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.sites import (
    UNWATCHED,
    By,
    CallSite,
    Of,
    PeakKeeper,
    Sample,
    abbreviated,
    by_stack,
    call_site,
    chosen,
    grouped,
    is_plumbing,
    samples,
    shown,
    tree,
    where,
)
from heaptop.call_stack import CallStack, CodeFrame, Frame, Location, NamedFrame, Origin
from heaptop.model import Buffer
from tests.analysis.builders import buffer, snapshot

LIBC = Location("ioctl", "ioctl.c", 36, "/usr/lib/libc.so.6", 1)
WRAPPER = Location("heap_alloc", "heaplib.cc", 9, "/opt/libheap.so", 2)
TEMPLATE = Location("std::function<int ()>::operator()() const", "/usr/include/c++/12/function.h", 9, "/opt/player", 3)
DECODE = Location("player::decode(int)", "player.cc", 22, "/opt/player", 4)
MAIN = Location("main", "player.cc", 40, "/opt/player", 5)
NAMES = {1: (LIBC,), 2: (WRAPPER,), 3: (TEMPLATE, DECODE), 5: (MAIN,)}


def name(frame: Frame) -> tuple[Location, ...]:
    if isinstance(frame, NamedFrame):
        return (Location(frame.function, frame.file, frame.line, ""),)
    return NAMES.get(frame.address, (Location(None, None, None, frame.path, frame.address),))


def stack(*addresses: int, cut: str = "") -> CallStack:
    return CallStack(tuple(CodeFrame("", "/x", address) for address in addresses), cut)


WHOLE = stack(1, 2, 3, 5)


def held(inode: int, of: CallStack | None, size_bytes: int = 4096) -> Buffer:
    origin = None if of is None else Origin(of, 7, 7, "player", 0.0)
    return buffer(inode)._replace(size_bytes=size_bytes, origin=origin)


def test_the_site_and_who_called_it() -> None:
    site = call_site(WHOLE, name)
    assert site is not None
    assert (site.place.function, site.caller and site.caller.function) == ("heap_alloc", "player::decode(int)")
    assert call_site(stack(1, 3, 5), name) == CallSite(DECODE._replace(address=None))
    assert call_site(stack(1), name) == CallSite(LIBC._replace(address=None))
    assert call_site(stack(), name) is None
    assert call_site(CallStack((NamedFrame("work", "a.py", 3), NamedFrame("main", "a.py", 9))), name) == CallSite(
        Location("work", "a.py", 3, "")
    )


@pytest.mark.parametrize(
    ("module", "is_one"),
    [
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", True),
        ("/lib/libc-2.31.so", True),
        ("/lib64/ld-linux-x86-64.so.2", True),
        ("/lib/ld-musl-x86_64.so.1", True),
        ("/system/lib64/libdmabufheap.so", True),
        ("/usr/lib/libstdc++.so.6.0.30", True),
        ("/system/lib64/libc++.so", True),
        ("[vdso]", True),
        ("/opt/libcamera.so", False),
        ("/opt/ld", False),
        ("/usr/lib/libcurl.so.4", False),
    ],
)
def test_plumbing(module: str, is_one: bool) -> None:
    assert is_plumbing(Location(None, None, None, module, 1)) is is_one


def test_groups() -> None:
    other = stack(1, 2, 5)
    buffers = [held(1, WHOLE), held(2, WHOLE), held(3, other, 4096 * 9), held(4, None), held(5, stack(1, 2, 3))]
    totals = by_stack(buffers)
    assert [(total.count, total.size_bytes, total.inodes) for total in totals] == [
        (1, 36864, (3,)),
        (2, 8192, (1, 2)),
        (1, 4096, (4,)),
        (1, 4096, (5,)),
    ]
    assert [total.count for total in by_stack(buffers, By.COUNT)] == [2, 1, 1, 1]
    groups = grouped(totals, name)
    assert [None if site is None else site.caller and site.caller.function for site in groups] == [
        "main",
        "player::decode(int)",
        None,
    ]
    assert [len(group) for group in groups.values()] == [1, 2, 1]


def test_the_tree() -> None:
    totals = by_stack([held(1, WHOLE), held(2, stack(1, 2, 5)), held(3, None), held(4, stack(1, cut="lost"))])
    root = tree(samples(totals, name))
    assert (root.size_bytes, root.count) == (4 * 4096, 4)
    names = [(depth, None if node.place is None else shown(node.place), node.count) for depth, node in root.walk()]
    assert names[:5] == [
        (0, None, 4),
        (1, "main (player.cc:40)", 2),
        (2, "player::decode(int) (player.cc:22)", 1),
        (3, "std::function<int ()>::operator()() const (function.h:9)", 1),
        (4, "heap_alloc (heaplib.cc:9)", 1),
    ]
    assert (1, shown(UNWATCHED), 1) in names
    assert (1, "(cut: lost)", 1) in names


PLACES = st.sampled_from([LIBC, WRAPPER, DECODE, MAIN, *(Location(None, None, None, "/x", at) for at in range(3))])
SAMPLES = st.lists(
    st.builds(Sample, st.lists(PLACES, max_size=6).map(tuple), st.integers(0, 2**40), st.integers(0, 1000)),
    max_size=30,
)


@given(SAMPLES, st.sampled_from(By))
def test_a_trees_sums(given_samples: list[Sample], by: By) -> None:
    root = tree(given_samples, by)
    assert root.weight(by) == sum(sample.weight(by) for sample in given_samples)
    for _, node in root.walk():
        inside = sum(child.weight(by) for child in node.children)
        assert inside <= node.weight(by)
        weights = [child.weight(by) for child in node.children]
        assert weights == sorted(weights, reverse=True)
        places = [child.place for child in node.children]
        assert len(set(places)) == len(places)


def test_a_deep_stack_takes_no_recursion() -> None:
    root = tree([Sample(tuple(MAIN._replace(line=line) for line in range(5000)), 1, 1)])
    assert max(depth for depth, _ in root.walk()) == 5000


def test_the_peak() -> None:
    peak = PeakKeeper()
    small, large = snapshot(held(1, WHOLE)), snapshot(held(1, WHOLE), held(2, WHOLE))
    for each in (small, large, small):
        peak.look(each)
    assert [each.inode for each in chosen(Of.PEAK, small, (), peak)] == [1, 2]
    assert [each.inode for each in chosen(Of.LIVE, small, (), peak)] == [1]
    assert [each.inode for each in chosen(Of.LEAKED, large, (2, 9), peak)] == [2]


def test_names_as_they_are_shown() -> None:
    unnamed = Location(None, None, None, "/opt/libx.so", 0x41B0)
    assert (shown(unnamed), where(unnamed)) == ("libx.so+0x41b0", "libx.so+0x41b0")
    assert shown(Location(None, None, None, "", 0x7F00)) == "no file+0x7f00"
    assert shown(Location("f", None, None, "/x")) == "f"
    long = Location("a<b(c)>::d(e<f>, g)", "h.cc", 7, "")
    assert abbreviated(long, 80) == "a<b(c)>::d(e<f>, g) (h.cc:7)"
    assert abbreviated(long, 24) == "a<b>::d (h.cc:7)"
    assert abbreviated(long, 14) == "a::d (h.cc:7)"

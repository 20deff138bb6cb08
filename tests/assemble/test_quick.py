"""The compiled part of assembly and its twin in plain Python make the same of everything."""

from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heaptop.assemble import assemble, buffers, held, processes, shares
from heaptop.assemble.heaps import HeapNames, Node
from heaptop.assemble.parts import Holding, Parts
from heaptop.capture import Capture, FdLink, FdStat
from heaptop.compiled import compiled
from heaptop.model import FdRef, Fence, Holder, ProcessId, Snapshot
from heaptop.parse.bpf_iter import IterRow
from heaptop.parse.bufinfo import Row
from heaptop.parse.fdinfo import DmabufFdinfo
from heaptop.parse.maps import Vma
from tests.assemble.captures import capture, each_table, process, real, without_fdinfo
from tests.assemble.test_any_input import spoil_capture
from tests.support import CAPTURES

pytestmark = pytest.mark.skipif(compiled("heaptop.assemble._quick") is None, reason="the compiled part was not built")

NAMES = st.none() | st.sampled_from((b"", b"preview", b"\xff\n"))
SIZES = st.sampled_from((4096, 8192))
COUNTS = st.integers(0, 3)
EXPORTERS = st.sampled_from((b"system", b"drm", b"\xff"))
STATS = st.builds(FdStat, st.just((0, 12)), st.integers(1, 3), SIZES, st.just(0o600), st.just(1), st.just(8))
INFOS = st.builds(
    DmabufFdinfo, st.just(0), st.just(2), st.just(9), st.none() | st.just(1), SIZES, COUNTS, EXPORTERS, NAMES
)
HOLDERS = st.builds(Holder, st.builds(ProcessId, st.integers(1, 3), st.none() | st.just(7)), st.just("app"))
HOLDINGS = st.builds(
    Holding, HOLDERS, st.none() | COUNTS, st.none() | STATS, st.none() | INFOS, st.none() | COUNTS, NAMES, NAMES
)
FENCES = st.none() | st.just(()) | st.just((Fence("write", "x", signalled=True),))
ROWS = st.builds(
    Row,
    SIZES,
    st.just(2),
    st.just(0),
    st.integers(-1, 3),
    st.none() | EXPORTERS,
    st.just(1),
    NAMES,
    st.none() | st.just(()) | st.just((b"gpu",)),
    st.none() | st.just(()),
    st.just(()),
)
LISTED = st.builds(IterRow, st.just(1), SIZES, st.none() | COUNTS, EXPORTERS, NAMES, st.booleans())
HEAPS = HeapNames((Node("system", None, None, ()),))
PARTS = st.builds(
    Parts,
    st.lists(HOLDINGS, max_size=3).map(tuple),
    st.none() | ROWS,
    st.none(),
    st.booleans(),
    st.just(HEAPS),
    st.none() | LISTED,
    st.none() | st.just(()),
    st.none(),
    st.none() | INFOS,
    st.none(),
)


def by_twin(told: Capture) -> Snapshot:
    with pytest.MonkeyPatch.context() as patch:
        for module in (buffers, held, processes, shares):
            patch.setattr(module, "_quick", None)
        return assemble(told)


@given(PARTS)
@settings(max_examples=400)
def test_a_buffer_of_any_parts(parts: Parts) -> None:
    built, twin = buffers.build(1, parts), buffers._build(1, parts)
    assert built == twin
    assert list(built.provenance.items()) == list(twin.provenance.items())


@pytest.mark.parametrize("name", CAPTURES)
def test_real_captures(name: str) -> None:
    assert assemble(real(name)) == by_twin(real(name))
    bare = each_table(real(name), without_fdinfo)
    assert assemble(bare) == by_twin(bare)


@given(st.integers(0, 1 << 32), st.sampled_from((0.02, 0.2)), st.booleans())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_spoilt_captures(seed: int, share: float, is_bare: bool) -> None:
    spoilt = spoil_capture(real(), seed, share)
    if is_bare:
        spoilt = each_table(spoilt, without_fdinfo)
    assert assemble(spoilt) == by_twin(spoilt)


TARGETS = st.sampled_from((b"/dmabuf:", b"/dmabuf:x\n", b"/dmabuf", b"anon_inode:dmabuf", b"/dev/null", b""))
MODES = st.sampled_from((0o600, 0o100600))
FILES = st.builds(FdStat, st.just((0, 12)), st.sampled_from((1, 2, -1, 1 << 64)), SIZES, MODES, st.just(1), st.just(8))
VMAS = st.builds(
    Vma,
    st.just(4096),
    st.just(12288),
    st.just("rw-s"),
    st.just(0),
    st.sampled_from(((0, 12), (8, 1))),
    st.integers(1, 3),
    TARGETS,
)


@given(
    st.lists(st.tuples(TARGETS, st.none() | FILES), max_size=4),
    st.lists(VMAS, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_one_process(
    files: list[tuple[bytes, FdStat | None]],
    vmas: list[Vma],
    shares_fds: bool,
    shares_maps: bool,
) -> None:
    links = [FdLink(fd, target, stat) for fd, (target, stat) in enumerate(files)]
    notes = {"fd.shared": b"1\n"} if shares_fds else {}
    notes |= {"maps.shared": b"1\n"} if shares_maps else {}
    seen = processes.view(process(7, links=links, files=notes))._replace(vmas=tuple(vmas))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_quick", None)
        twin = processes.view(process(7, links=links, files=notes))._replace(vmas=tuple(vmas))
        of_twin = processes.holdings(twin, frozenset({(0, 12)}))
    assert seen == twin
    assert processes.holdings(seen, frozenset({(0, 12)})) == of_twin


def test_one_buffer_by_hand() -> None:
    stat = FdStat((0, 12), 5, 4096, 0o600, 1, 8)
    one = process(7, links=[FdLink(3, b"/dmabuf:x", stat), FdLink(4, b"/dmabuf:x", stat)])
    (buffer,) = assemble(capture(processes=[one])).buffers
    assert (buffer.inode, buffer.size_bytes, buffer.name) == (5, 4096, "x")
    assert buffer.holders == (Holder(ProcessId(7, None), "app", (FdRef(3), FdRef(4)), ()),)
    assert isinstance(buffer.provenance, MappingProxyType)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import fdinfo
from heaptop.parse.fdinfo import Common, DmabufFdinfo
from tests.conftest import CaptureDir
from tests.parse import hostile
from tests.support import truth

U64 = st.integers(0, 2**64 - 1)
LOCKS = st.lists(st.just(b"lock:\t1: POSIX  ADVISORY  WRITE 12 00:0c:18 0 EOF\n"), max_size=2)


def render(info: DmabufFdinfo, locks: list[bytes]) -> bytes:
    """As seq_show and dma_buf_show_fdinfo print it."""
    lines = [b"pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\n" % (info.pos, info.flags, info.mnt_id)]
    if info.ino is not None:
        lines.append(b"ino:\t%d\n" % info.ino)
    lines += locks
    lines.append(b"size:\t%d\ncount:\t%d\nexp_name:\t%s\n" % (info.size, info.file_count, info.exp_name))
    if info.name is not None:
        lines.append(b"name:\t%s\n" % info.name)
    return b"".join(lines)


INFOS = st.builds(
    DmabufFdinfo,
    pos=st.integers(0, 2**63 - 1),
    flags=st.integers(0, 2**32 - 1),
    mnt_id=st.integers(0, 2**31 - 1),
    ino=st.none() | U64,
    size=U64,
    file_count=st.integers(0, 2**63 - 1),
    exp_name=st.sampled_from((b"system", b"linux,cma", b"system-uncached", b"drm")),
    name=st.none() | hostile.names(),
)


@given(INFOS, LOCKS)
def test_no_name_can_change_what_is_read(info: DmabufFdinfo, locks: list[bytes]) -> None:
    assert fdinfo.parse(render(info, locks)) == info


@given(INFOS, st.data())
def test_a_cut_dma_buf_never_passes_with_other_values(info: DmabufFdinfo, data: st.DataObject) -> None:
    whole = render(info, [])
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        parsed = fdinfo.parse(cut)
    except ParseError:
        return
    if parsed is not None:  # only the name can be cut unseen, at a newline of its own
        assert (parsed.ino, parsed.size, parsed.exp_name) == (info.ino, info.size, info.exp_name)
        assert parsed.name is None or (info.name or b"").startswith(parsed.name)


def test_each_era() -> None:
    head = b"pos:\t0\nflags:\t02000002\nmnt_id:\t9\n"
    body = b"size:\t4194304\ncount:\t3\nexp_name:\tsystem\n"
    unnamed = DmabufFdinfo(0, 0o2000002, 9, None, 4194304, 3, b"system", None)
    assert fdinfo.parse(head) is None, "5.2: nothing of the buffer"
    assert fdinfo.parse(head + body) == unnamed, "5.3 to 5.13"
    named = fdinfo.parse(head + b"ino:\t18\n" + body + b"name:\tcamera-preview\n")
    assert named == DmabufFdinfo(0, 0o2000002, 9, 18, 4194304, 3, b"system", b"camera-preview"), "5.14 on"
    empty = fdinfo.parse(head + body + b"name:\t\n")
    assert empty is not None
    assert empty.name == b""


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", 1),
        (b"noise", 1),
        (b"flags:\t02\npos:\t0\nmnt_id:\t9\n", 1),
        (b"pos:\t0\nflags:\t02\nmnt_id:\t9\nino:\t1\nsize:\tbig\ncount:\t1\nexp_name:\tx\n", 5),
        (b"pos:\t0\nflags:\t02\nmnt_id:\t9\nsize:\t1\ncount:\t1\n", 4),
        (b"pos:\t0\nflags:\t02\nmnt_id:\t9\nino:\t18\nsi", 5),
        (b"pos:\t0\nflags:\t02\nmnt_id:\t9\nsize:\t" + b"9" * 5000 + b"\ncount:\t1\nexp_name:\tx\n", 4),
    ],
)
def test_broken_is_not_another_file(data: bytes, line: int) -> None:
    with pytest.raises(ParseError) as caught:
        fdinfo.parse(data)
    assert caught.value.line == line


def test_another_file_is_not_broken() -> None:
    socket = b"pos:\t0\nflags:\t02\nmnt_id:\t10\nino:\t1164\nscm_fds: 0\n"
    assert fdinfo.parse(socket) is None
    assert fdinfo.common(socket) == Common(0, 2, 10)
    client = b"pos:\t0\nflags:\t02\nmnt_id:\t10\nino:\t1\ndrm-driver:\ti915\ndrm-client-name:\tx\nexp_name:\tsystem\n"
    assert fdinfo.parse(client) is None


def test_captured_buffers_are_those_of_the_workload(capture_dir: CaptureDir, capture_name: str) -> None:
    checked = 0
    for holder in truth(capture_name):
        path = capture_dir(capture_name) / f"proc/{holder.pid}/fdinfo/{holder.fd}"
        if holder.fd is None or holder.tid != holder.pid:
            continue
        info = fdinfo.parse(path.read_bytes())
        assert info is not None
        assert (info.ino, info.size) == (holder.inode, holder.size_bytes)
        assert (info.exp_name, info.name) == (holder.exporter.encode(), holder.name)
        checked += 1
    assert checked > 10


def test_captured_others_are_none(capture_dir: CaptureDir, capture_name: str) -> None:
    for path in capture_dir(capture_name).glob("proc/[0-9]*/fdinfo/*"):
        data = path.read_bytes()
        assert (fdinfo.parse(data) is None) == (b"\nexp_name:" not in data)
        assert fdinfo.common(data).mnt_id >= 0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.errors import ParseError
from heaptop.parse import maps
from heaptop.parse.maps import Vma
from tests.conftest import CaptureDir
from tests.parse import hostile
from tests.support import truth


def render(vma: Vma) -> bytes:
    """As show_map_vma prints it: the path padded to column 73, newline escaped."""
    fields = (vma.start, vma.end, vma.perms.encode(), vma.offset, *vma.dev, vma.inode)
    head = b"%08x-%08x %s %08x %02x:%02x %d " % fields
    return (head.ljust(72) + b" " + vma.path.replace(b"\n", rb"\012") if vma.path else head) + b"\n"


def vmas(paths: st.SearchStrategy[bytes]) -> st.SearchStrategy[Vma]:
    return st.builds(
        Vma,
        start=st.integers(0, 2**63),
        end=st.integers(2**63, 2**64 - 1),
        perms=st.sampled_from(("rw-s", "r--s", "---p", "rwxp")),
        offset=st.integers(0, 2**63),
        dev=st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1)),
        inode=st.integers(0, 2**64 - 1),
        path=paths,
    )


# A name that itself holds the escape reads as a newline: the kernel's text is the same for both.
BUFFERS = vmas(hostile.names().filter(lambda name: rb"\012" not in name).map(lambda name: b"/dmabuf:" + name))
OTHERS = vmas(
    st.sampled_from((b"", b"[heap]", b"[anon:/dmabuf:x]", b"/tmp/dmabuf:y", b"/usr/lib/libdmabufheap.so", b"[stack]"))
)


@given(st.lists(BUFFERS | OTHERS, max_size=6))
def test_what_the_kernel_prints_is_read_back(wanted: list[Vma]) -> None:
    data = b"".join(map(render, wanted))
    assert maps.parse(data) == tuple(wanted)
    assert maps.dmabufs(data) == tuple(vma for vma in wanted if vma.path.startswith(b"/dmabuf:"))


@given(st.lists(BUFFERS, min_size=1, max_size=3), st.data())
def test_a_cut_is_seen(wanted: list[Vma], data: st.DataObject) -> None:
    text = b"".join(map(render, wanted))
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    if cut and not cut.endswith(b"\n"):
        with pytest.raises(ParseError):
            maps.parse(cut)


def test_eras_and_widths() -> None:
    new = b"7f0a1c000000-7f0a1c400000 rw-s 00001000 00:0c 18                         /dmabuf:camera-preview\n"
    assert maps.dmabufs(new) == (
        Vma(0x7F0A1C000000, 0x7F0A1C400000, "rw-s", 4096, (0, 12), 18, b"/dmabuf:camera-preview"),
    )
    assert maps.dmabufs(new)[0].length == 0x400000
    old = b"b6f00000-b6f10000 rw-s 00000000 00:0b 5120       anon_inode:dmabuf\n"
    assert maps.dmabufs(old)[0].path == b"anon_inode:dmabuf", "5.2, 32 bits"


def test_error_names_the_line() -> None:
    with pytest.raises(ParseError) as caught:
        maps.dmabufs(b"00400000-00401000 r--p 00000000 00:02 5 /init\nnoise /dmabuf:x\n")
    assert (caught.value.line, caught.value.text) == (2, b"noise /dmabuf:x")


def test_captured_mappings_are_those_of_the_workload(capture_dir: CaptureDir, capture_name: str) -> None:
    holders = [holder for holder in truth(capture_name) if "mmap" in holder.how]
    assert holders
    for pid in {holder.pid for holder in holders}:
        data = (capture_dir(capture_name) / f"proc/{pid}/maps").read_bytes()
        found = maps.dmabufs(data)
        assert {vma.inode for vma in found} == {holder.inode for holder in holders if holder.pid == pid}
        assert found == tuple(vma for vma in maps.parse(data) if vma.path.startswith(b"/dmabuf:"))
        assert len(maps.parse(data)) == data.count(b"\n")


def linked(*paths: bytes) -> bytes:
    return b"".join(render(Vma(0x1000, 0x2000, "r-xp", 0, (8, 1), 7, path)) for path in paths)


def test_libraries_that_buffers_are_allocated_through() -> None:
    data = linked(
        b"/system/lib64/libion.so",
        b"/apex/com.android.vndk.v33/lib64/libdmabufheap.so",
        b"/apex/com.android.vndk.v33/lib64/libdmabufheap.so",
        b"/vendor/lib64/hw/gralloc.sm8550.so (deleted)",
        b"/vendor/lib64/hw/android.hardware.graphics.mapper@4.0-impl-qti-display.so",
        b"/usr/lib/x86_64-linux-gnu/libdrm.so.2.4.0",
        b"/usr/lib/libionic.so.1/libc.so.6",
        b"/data/libion.so.txt/notes",
        b"/lib/libc.so.6",
        b"",
    )
    assert maps.allocator_libraries(data) == (
        b"android.hardware.graphics.mapper@4.0-impl-qti-display.so",
        b"gralloc.sm8550.so",
        b"libdmabufheap.so",
        b"libdrm.so.2.4.0",
        b"libion.so",
    )


def test_a_buffers_name_is_no_library() -> None:
    data = linked(b"/dmabuf:/libion.so", b"/memfd:x/libgbm.so (deleted)", b"/dmabuf:\n/libdrm.so")
    assert maps.allocator_libraries(data) == ()


def test_a_cut_line_with_a_library() -> None:
    with pytest.raises(ParseError):
        maps.allocator_libraries(linked(b"/lib/libion.so")[:-1])


@given(st.binary())
def test_libraries_of_anything(data: bytes) -> None:
    try:
        maps.allocator_libraries(data + b"/libion.so\n" + data)
    except ParseError:
        return

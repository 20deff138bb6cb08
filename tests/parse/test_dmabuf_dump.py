"""dmabuf_dump's three outputs in both formats: rows, holders, sums, and names that imitate any of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.parse.dmabuf_dump import is_dump, parse
from heaptop.parse.dump import DumpedBuffer, DumpedHolding, DumpedUse

DUMPS = Path(__file__).parent.parent / "dumps"
KIB = 1024


def dump(name: str) -> bytes:
    return (DUMPS / name).read_bytes()


def test_by_process() -> None:
    found = parse(dump("dmabuf_dump.txt"))
    assert found.buffers == (
        DumpedBuffer(1, 4512 * KIB, None, b"FramebufferSurface"),
        DumpedBuffer(7, 1604 * KIB),
    )
    assert set(found.holdings) == {DumpedHolding(inode, pid) for inode in (1, 7) for pid in (828, 512)}
    assert found.comms == {828: b"surfaceflinger", 512: b"composer@2.4-se"}
    assert found.uses[828] == DumpedUse(6116 * KIB, 3058 * KIB)
    assert found.kernel_only == 3884 * KIB
    assert (found.unread, found.trouble) == (0, "")


def test_by_process_with_exporters_as_csv() -> None:
    found = parse(dump("dmabuf_dump.csv"))
    assert found.buffers == (DumpedBuffer(1, 4512 * KIB, b"system", b'a,"b'), DumpedBuffer(7, 1604 * KIB))
    assert found.kernel_only == 0
    assert found.unread == 0


def test_buffer_by_process() -> None:
    found = parse(dump("dmabuf_dump-a.txt"))
    assert found.holdings == (DumpedHolding(36, 642, 2, 0), DumpedHolding(41, 1240, 2, 1))
    assert found.comms == {642: b"qseecomd", 1240: b"surfaceflinger"}
    assert (found.unread, found.trouble) == (0, "")


def test_references_that_are_not_told_apart() -> None:
    """Up to Android 11 a cell has descriptors and mappings together."""
    text = (
        b"    Dmabuf Inode |            Size |      Ref Counts |           comm|x:7     |\n"
        b"              36 |           20 kB |               3 |                3 refs |\n"
    )
    found = parse(text)
    assert found.comms == {7: b"comm|x"}
    assert found.holdings == (DumpedHolding(36, 7, None, None),)


def test_by_buffer() -> None:
    found = parse(dump("dmabuf_dump-b.txt"))
    assert found.buffers == (DumpedBuffer(1976, 8192, b"qcom_hgsl"), DumpedBuffer(6265, 5652480, b"qcom,system"))
    assert (found.unread, found.trouble) == (0, "")


def test_all_as_csv() -> None:
    found = parse(dump("dmabuf_dump-ab.csv"))
    assert found.buffers == (DumpedBuffer(36, 20480, b"system"),)
    assert found.holdings == (DumpedHolding(36, 642, 2, 0),)
    assert (found.unread, found.trouble) == (0, "")


def test_one_after_the_other_is_joined() -> None:
    """-b has exact sizes and exporters, the list by process the names."""
    found = parse(dump("dmabuf_dump.txt") + dump("dmabuf_dump-b.txt").replace(b"            1976", b"               1"))
    (first, *_) = found.buffers
    assert first == DumpedBuffer(1, 8192, b"qcom_hgsl", b"FramebufferSurface")


def test_a_dump_of_one_process_says_so() -> None:
    text = dump("dmabuf_dump.txt").partition(b"----------------------")[0]
    assert "2 of the buffers are held by processes that are not in it" in parse(text).trouble


def test_sums_give_imitated_rows_away() -> None:
    row = b"    FramebufferSurface          4512 kB          2256 kB                2                1\n"
    forged = b"                evil\n                  x          8 kB          8 kB         1       99\n"
    text = dump("dmabuf_dump.txt").replace(row, row + forged, 1)
    found = parse(text)
    assert "its total says 6116 kB" in found.trouble
    assert found.unread == 1


def test_a_process_in_a_name_is_none() -> None:
    text = dump("dmabuf_dump.txt").replace(b"    FramebufferSurface ", b"x\ninit:1\n    FramebufferSurface ", 1)
    assert 1 not in parse(text).comms


NAMES = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=31).filter(
    lambda name: name == name.strip() and name != "<unknown>"
)


@given(st.lists(st.tuples(NAMES, st.integers(1, 10**6)), min_size=1, max_size=8), st.booleans())
def test_any_name_of_one_line(rows: list[tuple[str, int]], csv: bool) -> None:
    total = sum(size for _, size in rows)
    if csv:
        lines = ["\tcomm:7", '"Name","Rss(kB)","Pss(kB)","nr_procs","Inode","Exporter"']
        lines += [f'"{name}",{size},{size},1,{inode},system' for inode, (name, size) in enumerate(rows)]
        lines += ["", "PROCESS TOTAL", '"Rss total(kB)","Pss total(kB)"', f"{total},{total}"]
    else:
        lines = [f"{'comm':>16}:{7:<5}", "Name Rss Pss nr_procs Inode Exporter"]
        lines += [
            f"{name:>22} {size:>13} kB {size:>13} kB {1:>16} {inode:>16}  {'system':>22}"
            for inode, (name, size) in enumerate(rows)
        ]
        lines += [f"{'PROCESS TOTAL':>22} {total:>13} kB {total:>13} kB {'':>16}"]
    found = parse("\n".join(lines).encode() + b"\n")
    assert [(buffer.name, buffer.size) for buffer in found.buffers] == [(n.encode(), s * KIB) for n, s in rows]
    assert (found.unread, found.trouble) == (0, "")


@given(st.binary(max_size=600), st.sampled_from(["dmabuf_dump.txt", "dmabuf_dump-a.txt", "dmabuf_dump-ab.csv"]))
def test_total(noise: bytes, name: str) -> None:
    parse(noise)
    text = dump(name)
    parse(text[: len(text) // 2] + noise + text[len(text) // 2 :])


@pytest.mark.parametrize("name", ["dmabuf_dump.txt", "dmabuf_dump-a.txt", "dmabuf_dump-b.txt", "dmabuf_dump.csv"])
def test_is_dump(name: str) -> None:
    assert is_dump(dump(name))
    assert not is_dump(dump("rk.txt"))

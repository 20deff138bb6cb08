"""What BPF tells of buffers, joined with the rest."""

import errno

from heaptop.assemble import Assembler, assemble
from heaptop.capture import Raw, ReadError
from heaptop.model import PageRun, Source
from tests.assemble.captures import FULL, by_inode, capture, gap, real, with_files, without_files
from tests.support import truth

LIST, PAGES, PIN = "bpf/dmabuf_iter", "bpf/dmabuf_pages", "sys/fs/bpf/dmabuf_iter"
BUFINFO = "sys/kernel/debug/dma_buf/bufinfo"
HEADING = b"ino\tsize\tcount\texp_name\tname\n"
REFUSED = ReadError("bpf", errno.EPERM)


def listed(*lines: bytes) -> bytes:
    return HEADING + b"".join(line + b"\n" for line in lines)


def true_list() -> bytes:
    """What the iterator would have listed while the capture was made."""
    buffers = {holder.inode: holder for holder in truth(FULL)}
    return listed(
        *(
            b"%d\t%d\t7\t%s" % (inode, holder.size_bytes, holder.exporter.encode())
            + (b"" if holder.name is None else b"\t" + escaped(holder.name))
            for inode, holder in buffers.items()
        )
    )


def escaped(name: bytes) -> bytes:
    return b"".join(b"\\%03o" % byte if byte in b"\\\t\n" else bytes((byte,)) for byte in name)


def test_the_list_is_taken_first() -> None:
    snapshot = assemble(with_files(real(), {LIST: true_list()}))
    told = by_inode(snapshot)
    assert told.keys() == by_inode(assemble(real())).keys()
    for holder in truth(FULL):
        buffer = told[holder.inode]
        assert buffer.name == (None if holder.name is None else holder.name.decode("utf-8", "surrogateescape"))
        assert buffer.file_count == 7
        for field in ("size_bytes", "exporter", "name", "file_count"):
            assert buffer.provenance[field][0] == Source.BPF


def test_the_list_stands_for_bufinfo() -> None:
    alone = without_files(real(), BUFINFO, "sys/kernel/dmabuf")
    snapshot = assemble(with_files(alone, {LIST: true_list()}))
    assert by_inode(snapshot).keys() == {holder.inode for holder in truth(FULL)}
    assert gap(snapshot, "bufinfo").what == "attachments, fences and references as bufinfo has them"


def test_an_unnamed_buffer_and_an_empty_name() -> None:
    snapshot = assemble(capture({LIST: listed(b"1\t4096\t1\tsystem", b"2\t4096\t1\tsystem\t")}))
    assert [(buffer.name, buffer.told("name")) for buffer in snapshot.buffers] == [(None, True), ("", True)]


def test_where_buffers_lie() -> None:
    files: dict[str, Raw] = {LIST: listed(b"1\t12288\t1\tsystem\ta"), PAGES: b"1\t100+1 50+2\n9\t7+1\n"}
    (buffer,) = assemble(capture(files)).buffers
    assert buffer.runs == (PageRun(100, 1), PageRun(50, 2))
    assert buffer.provenance["runs"] == (Source.BPF,)


def test_runs_are_not_told_by_the_list_alone() -> None:
    (buffer,) = assemble(capture({LIST: listed(b"1\t12288\t1\tsystem")})).buffers
    assert buffer.runs is None
    assert not buffer.told("runs")


def test_a_pinned_iterator_lists_but_its_names_come_last() -> None:
    text = b"1\n4096\na b\nsystem\n2\n8192\n\nsystem\n"
    first, second = assemble(capture({PIN: text})).buffers
    assert (first.size_bytes, first.exporter, first.name, first.file_count) == (4096, "system", "a b", None)
    assert (second.name, second.told("name")) == (None, False)
    assert first.provenance["name"] == (Source.BPF,)


def test_a_pin_is_not_read_where_there_is_a_list() -> None:
    files: dict[str, Raw] = {LIST: listed(b"1\t4096\t1\tsystem"), PIN: b"noise"}
    assert [buffer.inode for buffer in assemble(capture(files)).buffers] == [1]


def test_refused() -> None:
    told = gap(assemble(with_files(real(), {LIST: REFUSED})), "BPF")
    assert told.what == "where buffers lie in memory, as BPF tells it"
    assert told.remedy == "run as root or with CAP_BPF and CAP_PERFMON"
    alone = gap(assemble(capture({LIST: REFUSED})), "BPF")
    assert alone.what == "buffers and where they lie, as BPF tells it"


def test_a_refusal_that_rights_do_not_help() -> None:
    told = gap(assemble(capture({LIST: ReadError("bpf", errno.EINVAL)})), "BPF")
    assert "EINVAL" in told.why
    assert told.remedy == ""


def test_places_refused() -> None:
    files: dict[str, Raw] = {LIST: listed(b"1\t4096\t1\tsystem"), PAGES: REFUSED}
    assert gap(assemble(capture(files)), "lie in memory").remedy == "run as root"


def test_broken_texts_are_gaps() -> None:
    snapshot = assemble(capture({LIST: b"noise\n", PAGES: b"noise\n"}))
    assert "heading" in gap(snapshot, "list of buffers by BPF").why
    assert "runs" in gap(snapshot, "lie in memory").why


def test_what_did_not_change_is_the_same_object() -> None:
    assembler = Assembler()
    files: dict[str, Raw] = {LIST: listed(b"1\t4096\t1\tsystem", b"2\t4096\t1\tsystem"), PAGES: b"1\t5+1\n2\t6+1\n"}
    before = assembler.assemble(capture(files))
    again = assembler.assemble(capture({path: bytes(bytearray(raw)) for path, raw in files.items()}))  # type: ignore[arg-type]
    assert again.buffers is before.buffers
    gone = assembler.assemble(capture({LIST: listed(b"2\t4096\t1\tsystem"), PAGES: b"2\t6+1\n"}))
    assert gone.buffers[0] is before.buffers[1]

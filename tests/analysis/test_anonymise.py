"""Captures of real kernels without their names: not one is left, and all else is as it was."""

import re

import pytest

from heaptop.analysis.anonymise import Anonymiser
from heaptop.assemble import assemble
from heaptop.capture import Capture, ProcessCapture
from heaptop.model import Snapshot
from heaptop.recording.members import members_of
from tests.assemble.captures import real
from tests.support import CAPTURES, truth

STAND_IN = re.compile(r"(buffer|proc|file|group)-[0-9a-f]{8}")


@pytest.fixture
def anonymiser() -> Anonymiser:
    return Anonymiser(b"key")


def names_in(capture: Capture) -> set[bytes]:
    """Every name that anything in the capture has."""
    shot = assemble(capture)
    told = {buffer.name for buffer in shot.buffers} | {process.comm for process in shot.processes}
    told |= {part for process in shot.processes for part in process.cmdline or ()}
    return {name.encode("utf-8", "surrogateescape") for name in told if name and len(name) > 2}


@pytest.mark.parametrize("name", CAPTURES)
def test_no_name_is_left(name: str, anonymiser: Anonymiser) -> None:
    made = members_of(anonymiser.capture(real(name)))
    names = names_in(real(name)) | {row.name for row in truth(name) if row.name} | {row.comm for row in truth(name)}
    assert len(names) > 10
    for path, text in made.items():
        for one in names:
            assert one not in text, (path, one)
        assert path != "proc/version" or b"@" not in text


def shape(shot: Snapshot) -> object:
    """All of a snapshot but its names."""
    return (
        [(b.inode, b.size_bytes, b.exporter, b.file_count, b.hidden_refs) for b in shot.buffers],
        [(b.attachments, b.fences, b.runs) for b in shot.buffers],
        [[(h.process, h.fds, h.maps) for h in b.holders] for b in shot.buffers],
        [bool(b.name) for b in shot.buffers],
        [(p.id, p.uid, p.rss_bytes, p.pss_bytes, p.inodes, p.libraries) for p in shot.processes],
        (shot.heaps, shot.exporters, shot.cma, shot.memory, shot.boot_id, shot.captured_at),
    )


@pytest.mark.parametrize("name", CAPTURES)
def test_all_else_is_as_it_was(name: str, anonymiser: Anonymiser) -> None:
    before, after = assemble(real(name)), assemble(anonymiser.capture(real(name)))
    assert shape(after) == shape(before)


@pytest.mark.parametrize("name", CAPTURES)
def test_the_same_name_has_the_same_stand_in(name: str, anonymiser: Anonymiser) -> None:
    before, after = assemble(real(name)), assemble(anonymiser.capture(real(name)))
    names = {(old.name, new.name) for old, new in zip(before.buffers, after.buffers, strict=True)}
    comms = {(old.comm, new.comm) for old, new in zip(before.processes, after.processes, strict=True)}
    for pairs in (names, comms):
        assert len({old for old, _ in pairs}) == len({new for _, new in pairs}) == len(pairs)
    assert all(new is None or not new or STAND_IN.fullmatch(new) for _, new in names | comms)


def test_the_key_decides(anonymiser: Anonymiser) -> None:
    assert Anonymiser(b"key").comm(b"camera") == anonymiser.comm(b"camera") != Anonymiser(b"other").comm(b"camera")


def test_a_process_that_did_not_change_stays_the_same_object(anonymiser: Anonymiser) -> None:
    capture = real()
    first, second = anonymiser.capture(capture), anonymiser.capture(capture._replace(captured_at=1.0))
    assert all(one is other for one, other in zip(first.processes, second.processes, strict=True))


def test_what_is_not_known_is_left_out(anonymiser: Anonymiser) -> None:
    secret = {"uname": b"Linux laptop", "dump/x": b"camera", "bpf/sites/7": b"/home", "proc/odd": b"x"}
    process = ProcessCapture(7, {"comm": b"camera\n", "environ": b"SECRET=1", "wchan": b"x"})
    made = anonymiser.capture(Capture("replay:/my/name", 1.0, secret, {"a": b"/b"}, (process,)))
    assert (made.source, dict(made.files), dict(made.links)) == ("replay", {}, {})
    assert set(made.processes[0].files) == {"comm"}
    assert anonymiser.left_out == {"uname", "dump/x", "bpf/sites/7", "proc/odd", "environ", "wchan"}


@pytest.mark.parametrize(
    ("path", "made"),
    [
        (b"/dmabuf:", b"/dmabuf:"),
        (b"/dmabuf:cam", rb"/dmabuf:buffer-[0-9a-f]{8}"),
        (b"/memfd:secret (deleted)", rb"/memfd:file-[0-9a-f]{8} \(deleted\)"),
        (b"/data/user/0/secret", rb"/file-[0-9a-f]{8}"),
        (b"/data/app/com.secret/lib/libion.so", rb"/libion\.so"),
        (b"socket:[12]", rb"socket:\[12\]"),
        (b"anon_inode:[eventfd]", rb"anon_inode:\[eventfd\]"),
        (b"[heap]", rb"\[heap\]"),
        (b"[anon:secret]", rb"/file-[0-9a-f]{8}"),
        (b"/dev/dma_heap/system", rb"/dev/dma_heap/system"),
    ],
)
def test_paths(path: bytes, made: bytes, anonymiser: Anonymiser) -> None:
    assert re.fullmatch(made, anonymiser.path(path))


def test_hostile_names(anonymiser: Anonymiser) -> None:
    assert anonymiser.stat(b"7 (a) b) (c) S 1 2\n") == b"7 (" + anonymiser.comm(b"a) b) (c") + b") S 1 2\n"
    assert anonymiser.stat(b"noise") == b""
    info = b"pos:\t0\nino:\t9\nexp_name:\tsystem\nname:\ttwo\nlines: x\n"
    assert b"lines" not in anonymiser.fdinfo(info)
    assert anonymiser.bufinfo(b"noise with a name") == b""
    text = b"0:: /a\n3:cpu,io:/uid_1000/pi\rd_7\n"
    assert b"uid_1000" not in anonymiser.cgroup(text)
    assert anonymiser.cgroup(text).count(b"\n") == 2

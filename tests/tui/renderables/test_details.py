from heaptop.analysis.orphans import Kind, Part
from heaptop.model import FdRef, Gap, Holder
from heaptop.tui.renderables.details import (
    BufferStory,
    Line,
    ProcessStory,
    buffer_details,
    explain_unknown,
    fd_flags,
    gap_lines,
    how_held,
    name_cell,
    process_details,
)
from heaptop.tui.widgets.detail import content_of
from tests.tui.feed import CAMERA, DENIED, EVIL, FB, HOSTILE, IN_FLIGHT, PREVIEW, SHARED, SIGNALLED, UNKNOWN, processes


def text(lines: list[Line]) -> str:
    return content_of(lines).plain


def test_identity_and_numbers_with_their_sources() -> None:
    shown = text(buffer_details(PREVIEW, BufferStory(), ()))
    assert "cam-preview  inode 39" in shown
    assert "8,388,608 bytes, 8.00 MiB  fd stat, fdinfo" in shown
    assert "name       cam-preview  fd link, fdinfo" in shown


def test_holders_are_a_tree_of_fds_and_mappings() -> None:
    own = PREVIEW._replace(holders=(PREVIEW.holders[0]._replace(fds=(FdRef(14, None, 0o2), FdRef(7, 815, None))),))
    shown = text(buffer_details(own, BufferStory(), ()))
    assert "Held by 1 process\n 812 cameraserver\n   fd 14  rw\n   fd 7  ~  own table of thread 815\n" in shown
    assert "map 0x7f0000000000  1.00 MiB  at offset 0x0  rw-s" in shown


def test_an_orphan_says_that_nobody_is_seen_and_what_hidden_references_may_be() -> None:
    waiting = Part(Kind.IN_FLIGHT, 1, is_certain=False, who="streamd 7 fd 5 (34)")
    story = BufferStory(last_holders=("camera", "gone"), let_go="14:02:11", parts=(waiting,))
    shown = text(buffer_details(IN_FLIGHT, story, ()))
    assert "? nobody seen" in shown
    assert "1 = file count 1 - 0 fds - 0 mappings" in shown
    assert "1 maybe in flight streamd 7 fd 5 (34)" in shown
    assert "last held by camera, gone, until 14:02:11" in shown
    unseen = BufferStory(parts=(Part(Kind.UNSEEN, 1, is_certain=False, who="the kernel"),))
    assert "1 kernel or unseen the kernel\n   such as a GEM handle" in text(buffer_details(IN_FLIGHT, unseen, ()))


def test_unknown_values_are_explained_with_the_remedy() -> None:
    shown = text(buffer_details(UNKNOWN, BufferStory(), (DENIED,)))
    assert "size       ~ " in shown
    assert "name       ~ " in shown
    assert shown.count(DENIED.remedy) >= 2
    assert "Attachments\n ~ only bufinfo (debugfs) tells attachments. Here: bufinfo: open: EACCES" in shown


def test_attachments_and_fences() -> None:
    shown = text(buffer_details(SIGNALLED, BufferStory(), ()))
    assert "Attachments\n vgem\n [/x]evil\\nname\\x1b[31m\\u202e\n" in shown
    assert "Fences\n write [/x]evil\\nname\\x1b[31m\\u202e signalled\n" in shown
    assert "Fences\n none\n" in text(buffer_details(PREVIEW, BufferStory(), ()))


def test_history_gone_and_own() -> None:
    story = BufferStory("12:00:00", 131, gone_at="12:02:11", last_holders=("cam",), own=True, references=(3, 5))
    shown = text(buffer_details(IN_FLIGHT, story, ()))
    assert "first seen 12:00:00, 2:11 ago" in shown
    assert "gone since 12:02:11" in shown
    assert "references 3 → 5" in shown
    assert "* held by heaptop's own test allocation" in shown


def test_hostile_text_is_plain_everywhere() -> None:
    shown = text(buffer_details(EVIL, BufferStory(last_holders=(HOSTILE,)), (Gap(HOSTILE, HOSTILE, HOSTILE),)))
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.startswith("[/x]evil\\nname\\x1b[31m\\u202e  inode 104")
    process = processes((EVIL,))[0]
    shown = text(process_details(process, (EVIL,), ProcessStory(HOSTILE)))
    assert all(line.isprintable() for line in shown.split("\n"))


def test_a_process() -> None:
    process = next(one for one in processes((PREVIEW, SHARED)) if one.id == CAMERA)
    shown = text(process_details(process, (SHARED, PREVIEW), ProcessStory("camera", 4 << 20)))
    for part in (
        "cameraserver  pid 812",
        "user        camera (0)",
        "command     /vendor/bin/cameraserver --fast",
        "own tables  815",
        "oom adjust  -900",
        "10,485,760 bytes, 10.0 MiB: each buffer whole",
        "growth      +4.00 MiB since first seen",
        "2 buffers",
    ):
        assert part in shown
    assert shown.index("cam-preview") < shown.index("shared-frame")


def test_a_process_of_which_little_may_be_read() -> None:
    process = processes((FB,))[0]._replace(uid=None, cmdline=None, cgroup=None, oom_score_adj=None)
    shown = text(process_details(process, (), ProcessStory()))
    assert shown.count("~ not readable here") == 5
    linked = text(process_details(process._replace(libraries=("libdmabufheap.so", "libion.so")), (), ProcessStory()))
    assert "links       libdmabufheap.so, libion.so" in linked
    assert "(empty: a kernel thread)" in text(process_details(process._replace(cmdline=()), (), ProcessStory()))


def test_how_a_process_holds_a_buffer_and_who_does_besides() -> None:
    assert how_held(PREVIEW, CAMERA) == "fd 14 17 · map rw"
    assert how_held(SHARED, CAMERA) == "fd 21 · map rw · also surfaceflinger, app-gallery"
    many = Holder(CAMERA, "x", (*map(FdRef, range(9)), FdRef(3, 815)))
    assert how_held(FB._replace(holders=(many,)), CAMERA) == "fd 0 1 2 3 4 5 +3 · fd 3 (thread 815)"
    crowd = tuple(Holder(CAMERA._replace(pid=n), f"p{n}") for n in range(6))
    assert how_held(FB._replace(holders=crowd), CAMERA) == "also p0, p1, p2, p3 +2"


def test_flags_and_names() -> None:
    assert [fd_flags(flags) for flags in (0, 1, 2, 0o2000002, None)] == ["ro", "wo", "rw", "rw cloexec", "~"]
    assert [name_cell(b) for b in (FB, FB._replace(name=None), UNKNOWN)] == ["fb0", "(unnamed)", "~"]


def test_explanations_name_the_gap_that_matters() -> None:
    other = Gap("vmstat", "absent", "build the kernel with CMA")
    assert DENIED.remedy in explain_unknown("attachments", (other, DENIED))
    assert explain_unknown("attachments", (other,)).endswith("; not here")


def test_gaps_as_a_list() -> None:
    assert text(gap_lines((DENIED,))).startswith("bufinfo\n  open: EACCES (Permission denied)\n  → run as root")
    assert "all that this kernel has was read" in text(gap_lines(()))

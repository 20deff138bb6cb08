"""The stacks of real programs that wait: every frame up to the outermost, however the program was built."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heaptop.stacks.catch import Copy, Spaces, of_parked
from heaptop.stacks.unwind import End, Walk
from tests.stacks.programs import build, compiler, copy_of, deep, thread_in_read, waiting

BUILDS = [
    ("-O2", "-fomit-frame-pointer", "-g"),
    ("-O2", "-fno-omit-frame-pointer"),
    ("-O0",),
    ("-O2", "-s"),
]


@pytest.fixture
def spaces() -> Iterator[Spaces]:
    found = Spaces()
    yield found
    found.close()


def without_frame_pointers(programs: Path) -> Path:
    return build(programs, "signal", ["signal.c"], "-O2", "-fomit-frame-pointer")


def copied(spaces: Spaces, tid: int) -> Copy:
    copy = copy_of(spaces, tid)
    assert copy is not None
    return copy


def modules(copy: Copy, walk: Walk) -> list[str]:
    """File names of the frames, innermost first, each run of one file once."""
    names: list[str] = []
    for address in walk.addresses:
        place = copy.space.place(address)
        name = "?" if place is None else os.path.basename(place[0].path.decode()).split(".so")[0]
        if names[-1:] != [name]:
            names.append(name)
    return names


@pytest.mark.parametrize("options", BUILDS, ids=" ".join)
def test_a_stack_is_whole(options: tuple[str, ...], programs: Path, spaces: Spaces) -> None:
    with waiting([deep(programs, *options)]) as tid:
        copy = copied(spaces, tid)
        walk = copy.walk()
    assert walk.end is End.WHOLE
    assert modules(copy, walk) == ["libc", "libshared", "deep", "libc", "deep", "libc", "deep", "libstdc++", "libc"]
    assert len(walk.addresses) >= 17


@pytest.mark.parametrize("options", [("-m32", "-O2"), ("-m32", "-O0")], ids=" ".join)
def test_a_32_bit_program(options: tuple[str, ...], programs: Path, spaces: Spaces) -> None:
    try:
        program = build(programs, f"signal{''.join(options)}", ["signal.c"], *options)
    except subprocess.CalledProcessError:
        pytest.skip("no 32-bit C library here")
    with waiting([program]) as tid:
        copy = copied(spaces, tid)
        walk = copy.walk()
    assert copy.machine.word_bytes == 4
    assert walk.end is End.WHOLE, modules(copy, walk)


def test_a_signals_frame_leads_to_what_it_interrupted(programs: Path, spaces: Spaces) -> None:
    with waiting([without_frame_pointers(programs)]) as tid:
        copy = copied(spaces, tid)
        walk = copy.walk()
    assert walk.end is End.WHOLE
    assert modules(copy, walk) == ["libc", "signal", "libc", "signal", "libc", "signal"]


def test_the_thread_runs_on_and_can_be_caught_again(programs: Path, spaces: Spaces) -> None:
    with waiting([deep(programs, *BUILDS[0])]) as tid:
        first = copied(spaces, tid).walk()
        again = [copied(spaces, tid).walk() for _ in range(20)]
    # It may be caught on its way into the call it restarts: the callers are the same.
    assert {walk.addresses[1:] for walk in again} == {first.addresses[1:]}


def test_what_another_tracer_has_is_parked(programs: Path, spaces: Spaces) -> None:
    strace = compiler("strace")
    with waiting([without_frame_pointers(programs)]) as tid:
        tracer = subprocess.Popen([strace, "-qq", "-p", str(tid)], stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        tracer.stderr.read(1)  # it has attached, and says what it sees
        try:
            assert copy_of(spaces, tid) is None
            while (copy := of_parked(spaces, tid)) is None:  # it is stopped for a moment, and not in the call
                assert tracer.poll() is None
            assert copy.walk().end is End.WHOLE
        finally:
            tracer.terminate()
            tracer.wait()
            tracer.stderr.close()


def test_a_deleted_program_is_still_understood(programs: Path, tmp_path: Path, spaces: Spaces) -> None:
    """By /proc/PID/map_files where that may be opened, else by the memory of the process."""
    built = deep(programs, *BUILDS[0])
    for name in ("deep", "libshared.so"):
        shutil.copy(built.parent / name, tmp_path)
    with waiting([tmp_path / "deep"]) as tid:
        for name in ("deep", "libshared.so"):
            (tmp_path / name).unlink()
        copy = copied(spaces, tid)
        walk = copy.walk()
    assert walk.end is End.WHOLE
    assert "?" not in modules(copy, walk)


def test_a_file_cut_meanwhile_ends_the_walk_and_nothing_else(programs: Path, tmp_path: Path, spaces: Spaces) -> None:
    built = deep(programs, *BUILDS[0])
    for name in ("deep", "libshared.so"):
        shutil.copy(built.parent / name, tmp_path)
    with waiting([tmp_path / "deep"], to_the_end=False) as tid:
        copy = copied(spaces, tid)
        os.truncate(tmp_path / "libshared.so", 100)
        walk = copy.walk()
    assert walk.end in (End.WHOLE, End.NO_RULE)
    assert walk.addresses


def test_after_exec_nothing_of_the_old_program_is_taken_for_the_new(programs: Path, spaces: Spaces) -> None:
    program = deep(programs, *BUILDS[0])
    script = "import os,sys; fd = sys.argv[2]; os.read(int(fd), 1); os.execv(sys.argv[1], [sys.argv[1], fd])"
    ours, theirs = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", script, str(program), str(ours)], pass_fds=[ours])
    try:
        before = copied(spaces, thread_in_read(process, ours))
        os.write(theirs, b"x")
        while os.readlink(f"/proc/{process.pid}/exe") != str(program):
            pass
        tid = thread_in_read(process, ours)
        after = copied(spaces, tid)
        assert after.space is not before.space
        assert after.walk().end is End.WHOLE
        old = before.walk()  # of a program that is no more, by what was taken of it
        assert old.addresses
        assert "deep" not in modules(before, old)
        os.write(theirs, b"x")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_a_walk_after_the_process_has_ended(programs: Path, spaces: Spaces) -> None:
    with waiting([deep(programs, *BUILDS[0])]) as tid:
        copy = copied(spaces, tid)
    assert copy.walk().end is End.WHOLE


def test_a_process_that_is_gone(spaces: Spaces) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert copy_of(spaces, process.pid) is None
    assert of_parked(spaces, process.pid) is None
    assert spaces.of(process.pid) is None

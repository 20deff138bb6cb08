"""Small programs, built by this machine's compilers, that wait for a byte where a test wants to look at them."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from heaptop.stacks.catch import Copy, Spaces, of_stopped
from heaptop.trace.supervise.stops import Stopped, Stops

_WALL = 0x40000000
SOURCES = Path(__file__).parent / "sources"


def line_of(source: str, mark: str) -> int:
    """The number of the line that has this mark as a comment."""
    lines = (SOURCES / source).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"// {mark}"))


def compiler(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def build(folder: Path, output: str, sources: Sequence[str], *options: str) -> Path:
    """Build a C or C++ program or library, once."""
    path = folder / output
    if not path.exists():
        command = compiler("g++" if any(source.endswith(".cc") for source in sources) else "gcc")
        places = [str(SOURCES / source) for source in sources]
        subprocess.run([command, *options, *places, "-o", str(path), *_libraries(options)], check=True, cwd=folder)
    return path


def _libraries(options: Sequence[str]) -> list[str]:
    """`-DLINKED=name` links a library that was built before."""
    names = [option.partition("=")[2] for option in options if option.startswith("-DLINKED=")]
    return [word for name in names for word in ("-L.", f"-l{name}", "-Wl,-rpath,$ORIGIN")]


def deep(folder: Path, *options: str) -> Path:
    """The C++ program and its library, in a folder for these options."""
    place = folder / "".join(options)
    place.mkdir(exist_ok=True)
    build(place, "libshared.so", ["shared.cc"], "-fPIC", "-shared", *options)
    return build(place, "deep", ["deep.cc"], "-pthread", "-DLINKED=shared", *options)


@contextmanager
def waiting(command: Sequence[str | Path], *, to_the_end: bool = True) -> Iterator[int]:
    """Run a program with a pipe's fd as its last argument; gives the thread of it that waits for a byte from there."""
    ours, theirs = os.pipe()
    process = subprocess.Popen([*map(str, command), str(ours)], pass_fds=[ours])
    try:
        yield thread_in_read(process, ours)
        if to_the_end:
            os.write(theirs, b"x")
            assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def thread_in_read(process: "subprocess.Popen[bytes]", fd: int) -> int:
    """Wait until a thread of it reads from that descriptor."""
    while process.poll() is None:
        for tid in os.listdir(f"/proc/{process.pid}/task"):
            try:
                words = Path(f"/proc/{process.pid}/task/{tid}/syscall").read_text().split()
            except OSError:
                continue
            # read is 0 on x86-64, 3 as a 32-bit program, 63 on arm64
            if words[0] in {"0", "3", "63"} and len(words) > 2 and int(words[1], 16) == fd:
                return int(tid)
    raise AssertionError(f"ended with {process.returncode}")


def copy_of(spaces: Spaces, tid: int) -> Copy | None:
    """Stop a thread where it stands, and copy its stack."""
    copies: list[Copy | None] = []

    def copy(stopped: Stopped | None) -> None:
        copies.append(None if stopped is None else of_stopped(spaces, tid, stopped.registers()))

    stops = Stops()
    if not stops.expect(tid, copy):
        return None
    stops.heard(*os.waitpid(tid, _WALL))
    return copies[0]

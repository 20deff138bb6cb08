"""Python callers: their functions and lines, in the place of the interpreter's own frames."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import CodeType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptop.analysis.sites import call_site
from heaptop.call_stack import CallStack, CodeFrame, Location, NamedFrame
from heaptop.stacks.catch import Spaces
from heaptop.stacks.python import line_at
from heaptop.stacks.recorder import stack_of
from tests.stacks.programs import SOURCES, build, copy_of, waiting

VERSIONS = ("3.11", "3.12", "3.13")


def interpreter(version: str) -> str:
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    found = shutil.which(f"python{version}")
    question = "import sys; print(sys.executable)"
    asked = found and subprocess.run([found, "-c", question], capture_output=True, text=True, check=False)
    if not asked or asked.returncode:
        pytest.skip(f"no Python {version} here")
    return asked.stdout.strip()


def line_of(mark: str) -> int:
    lines = (SOURCES / "caller.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


def name(frame: CodeFrame | NamedFrame) -> tuple[Location, ...]:
    if isinstance(frame, NamedFrame):
        return (Location(frame.function, frame.file, frame.line, ""),)
    return (Location(None, None, None, frame.path, frame.address),)


@pytest.mark.parametrize("version", VERSIONS)
def test_functions_and_lines(version: str) -> None:
    spaces = Spaces()
    with waiting([interpreter(version), SOURCES / "caller.py"]) as tid:
        copies = [copy_of(spaces, tid) for _ in range(2)]
    stacks = {stack_of(copy) for copy in copies if copy is not None}
    spaces.close()
    assert len({stack.frames[1:] for stack in stacks}) == 1
    stack = stacks.pop()
    assert stack.cut == ""
    named = [frame for frame in stack.frames if isinstance(frame, NamedFrame)]
    assert [(frame.function, frame.line) for frame in named[:3]] == [
        ("Camera.grab", line_of("GRAB")),
        ("müller", line_of("KEY")),
        ("main", line_of("MAIN")),
    ]
    assert {frame.file for frame in named} == {str(SOURCES / "caller.py")}
    # The interpreter's own frames are gone; those of the C library, below and above, are there.
    assert isinstance(stack.frames[0], CodeFrame)
    assert "libc" in stack.frames[0].path
    assert not any("libpython" in frame.path for frame in stack.frames if isinstance(frame, CodeFrame))
    site = call_site(stack, name)
    assert site is not None
    assert (site.place.function, site.place.line) == ("Camera.grab", line_of("GRAB"))


def test_a_program_that_is_no_python(programs: Path) -> None:
    spaces = Spaces()
    with waiting([build(programs, "signal", ["signal.c"], "-O2", "-fomit-frame-pointer")]) as tid:
        copy = copy_of(spaces, tid)
    spaces.close()
    assert copy is not None
    assert (copy.interpreter, copy.calls) == (None, ())


def codes(code: CodeType) -> list[CodeType]:
    inner = [each for constant in code.co_consts if isinstance(constant, CodeType) for each in codes(constant)]
    return [code, *inner]


@pytest.mark.parametrize("module", ["argparse", "dataclasses", "enum", "json.decoder", "tarfile"])
def test_lines_are_those_that_python_has(module: str) -> None:
    __import__(module)
    path = sys.modules[module].__file__
    assert path is not None
    compared = 0
    for code in codes(compile(Path(path).read_text(), path, "exec")):
        for unit, (line, *_) in enumerate(code.co_positions()):
            assert line_at(code.co_linetable, code.co_firstlineno, unit) == line
            compared += 1
    assert compared > 1000


@given(st.binary(max_size=60), st.integers(0, 100))
def test_any_table_ends(table: bytes, unit: int) -> None:
    line_at(table, 1, unit)


def test_a_stack_that_is_cut_still_has_its_python() -> None:
    """What the walk did not reach comes at its end."""
    spaces = Spaces()
    with waiting([sys.executable, SOURCES / "caller.py"]) as tid:
        copy = copy_of(spaces, tid)
    assert copy is not None
    short = stack_of(copy._replace(stack=copy.stack[:64]))
    spaces.close()
    assert short.cut
    assert "main" in [frame.function for frame in short.frames if isinstance(frame, NamedFrame)]
    assert isinstance(short, CallStack)

"""The kernel's own selftest of dma-heaps, unmodified: it passes, and under `v4` fails just where the series differs."""

import re
from pathlib import Path

import pytest

from tests.trace.supervise import kselftest
from tests.trace.supervise.conftest import Build, Runner

LINE = re.compile(r"^(not ok|ok) (\d+) (.*)$", re.MULTILINE)
TESTS_PER_HEAP = 11
HEAPS = 3


@pytest.fixture(scope="session")
def selftest(build: Build) -> "type[Compiled]":
    try:
        tree = kselftest.source()
    except kselftest.MissingError as missing:
        pytest.skip(str(missing))
    Compiled.tree, Compiled.build = tree, staticmethod(build)
    return Compiled


class Compiled:
    """The selftest's program, by the compiler's flags."""

    tree: Path
    build: Build

    @classmethod
    def program(cls, *flags: str) -> str:
        headers = ("-D__user=", "-idirafter", str(cls.tree / "include/uapi"))
        return cls.build(cls.tree / "tools/testing/selftests/dmabuf-heaps/dmabuf-heap.c", "-O2", "-w", *headers, *flags)


@pytest.mark.parametrize("flags", [(), ("-static",), ("-m32", "-static")], ids=["dynamic", "static", "32-bit"])
def test_it_passes(selftest: type[Compiled], any_runner: Runner, flags: tuple[str, ...]) -> None:
    done = any_runner.run("--emulate", "--", selftest.program(*flags))
    results = LINE.findall(done.stdout)
    assert [line for line in results if line[0] != "ok"] == []
    assert len(results) == HEAPS * TESTS_PER_HEAP
    assert done.returncode == 0
    assert "emulating the dma-heaps" in done.stderr


def test_v4_fails_where_the_series_differs(selftest: type[Compiled], runner: Runner) -> None:
    """Its one command has another number, so what allocates fails; what is to be refused is."""
    done = runner.run("-q", "--emulate", "--profile", "v4", "--", selftest.program())
    verdicts = [
        (verdict, re.sub(r"[^a-z ]", "", text.lower()).strip()) for verdict, _, text in LINE.findall(done.stdout)
    ]
    of_one_heap = [
        ("not ok", "fail allocation failed"),
        ("not ok", "fail allocation  failed"),
        ("not ok", "fail allocation  failed"),
        ("not ok", "dmabufheapallocolder"),
        ("not ok", "dmabufheapallocnewer"),
        ("ok", "error expected on invalid fd"),
        ("ok", "error expected on invalid heap flags"),
        ("ok", "error expected on invalid heap flags"),
    ]
    assert verdicts == HEAPS * of_one_heap
    assert done.returncode == 1

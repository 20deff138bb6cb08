"""What each verb loads: what it does not use, it does not load, for a start takes as long as that. Real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heaptop.cli.verbs import VERBS
from tests.support import CAPTURES, archive

SCREEN = frozenset({"asyncio", "rich", "textual"})
HEAVY = SCREEN | {
    *("ast", "bz2", "concurrent.futures", "csv", "ctypes", "dataclasses", "datetime", "decimal", "demangle", "difflib"),
    *("elftools", "email", "gzip", "hashlib", "heaptop_emulator", "html", "importlib.metadata", "inspect", "json"),
    *("logging", "lzma", "multiprocessing", "pathlib", "platform", "random", "shutil", "socket", "ssl", "statistics"),
    *("subprocess", "tarfile", "tempfile", "textwrap", "tomllib", "traceback", "urllib.request", "xml", "zipfile"),
}
"""What takes about a millisecond or more, by itself or by what it loads in turn."""

LOADED = """
import sys
before = set(sys.modules)
from heaptop.__main__ import main
code = main()
sys.stderr.write(f"\\n{code} {' '.join(sys.modules.keys() - before)}")
"""
KERNEL = "-b kernel --root ROOT"
REPLAY = "-b replay:RECORDING"
CLASSES = frozenset({"ast", "dataclasses", "inspect"})
JSON = frozenset({"json", "datetime"})
RECORDING = frozenset({"json", "bz2", "gzip", "lzma", "shutil", "tarfile"})
HISTORY = JSON | CLASSES
EMULATOR = HISTORY | {"ctypes", "heaptop_emulator", "random", "socket", "subprocess", "tomllib"}
MAY: dict[str, frozenset[str]] = {
    f"heaps {KERNEL}": frozenset(),
    f"heaps {KERNEL} --json": JSON,
    f"heaps {KERNEL} --csv": frozenset({"datetime"}),
    f"heaps {REPLAY} --json": JSON | RECORDING,
    f"buffers {KERNEL}": frozenset(),
    f"buffers {KERNEL} --json": JSON,
    f"buffers {KERNEL} --filter size>1M --sort -size": frozenset(),
    f"processes {KERNEL}": frozenset(),
    f"processes {KERNEL} --json": JSON,
    f"cma {KERNEL}": frozenset(),
    f"cma {KERNEL} --json": JSON,
    f"doctor {KERNEL}": JSON,
    "diff RECORDING RECORDING": HISTORY | RECORDING,
    f"capture {KERNEL} ROOT/folder": RECORDING,
    f"record {KERNEL} ROOT/record --for 100ms": HISTORY | RECORDING,
    f"leaks {KERNEL} --for 100ms": HISTORY,
    f"cycle {KERNEL} --count 2 -- true": HISTORY | {"socket", "subprocess"},
    f"check {KERNEL} --count 2 -- true": HISTORY | {"socket", "subprocess"},
    f"sites {KERNEL}": HISTORY | {"elftools", "lzma", "traceback", "textwrap"},
    f"export {KERNEL} --html ROOT/page.html": HISTORY | RECORDING | {"html"},
    "content -b replay:RECORDING 1": RECORDING | CLASSES,
    "alloc -b emulator:idle system 4K --hold 0": EMULATOR,
    "bench -b emulator:idle system --size 4K --count 2": EMULATOR,
    "selftest -b emulator:idle": EMULATOR,
    "events -b emulator:idle --for 100ms": EMULATOR,
    "run -- true": EMULATOR | {"bz2", "lzma", "platform", "shutil", "traceback", "textwrap"},
    "emulator status": EMULATOR,
    "completion bash": EMULATOR | RECORDING,
}


def test_each_verb_is_here() -> None:
    assert {line.split()[0] for line in MAY} == {verb.name for verb in VERBS}


@pytest.mark.parametrize("line", MAY)
def test_it_loads_what_it_uses(line: str, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    recording = str(archive(CAPTURES[0]))
    words = [word.replace("ROOT", str(tmp_path)).replace("RECORDING", recording) for word in line.split()]
    # Whoever measures coverage loads more than heaptop does.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        env=env | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    _, *loaded = ran.stderr.splitlines()[-1].split()
    assert "heaptop.cli.main" in loaded
    assert HEAVY & set(loaded) <= MAY[line]

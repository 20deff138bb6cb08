"""`ProcClocks`: who has run, of all processes, as each of them is seen by itself."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("heaptop.scan._clocks")

from heaptop.scan._clocks import ProcClocks
from heaptop.scan.proc import ProcScan

SLEEPER = "import sys; print(flush=True); sys.stdin.readline(); print(flush=True); sys.stdin.read()"


def test_who_runs_starts_and_ends() -> None:
    clocks = ProcClocks("/proc")
    ran, ended, count = clocks.look()
    assert (ran, ended) == (sorted(ran), [])
    assert count == len(ran)
    assert os.getpid() in ran
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        assert process.pid in clocks.look()[0]
        while process.pid in clocks.look()[0]:
            pass  # on its way to sleep
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert process.pid in clocks.look()[0]
        process.stdin.close()
        process.wait()
        assert process.pid in clocks.look()[1]
        ran, ended, _ = clocks.look()
        assert process.pid not in {*ran, *ended}


def test_all_are_listed() -> None:
    before = ProcScan().pids()
    ran, _, _ = ProcClocks("/proc").look()
    assert set(before) & set(ProcScan().pids()) <= set(ran)


def test_a_folder_of_any_order(tmp_path: os.PathLike[str]) -> None:
    for name in ("30", "4", "self", "1x", "200", "0", "1"):
        os.mkdir(os.path.join(tmp_path, name))
    assert ProcClocks(str(tmp_path)).look()[0] == [1, 4, 30, 200]


def test_where_there_is_none() -> None:
    with pytest.raises(OSError, match="cannot be listed"):
        ProcClocks("/missing").look()

"""Definitions in a folder that stands for tracefs; the real one is in tests/vm/guest/test_events_without_bpf.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heaptop.trace import definitions
from heaptop.trace.definitions import Definitions

FORMAT = 'name: exported\nID: 77\nformat:\n\tfield:u64 inode;\toffset:8;\tsize:8;\tsigned:0;\n\nprint fmt: ""\n'
KILLED = """
import os, sys
from heaptop.trace import definitions
definitions.TRACEFS = (sys.argv[1],)
definitions.Definitions().add("p", "one", "do_exit")
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def tracefs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kprobe_events").write_text("")
    monkeypatch.setattr(definitions, "TRACEFS", (str(tmp_path / "nowhere"), str(tmp_path)))
    return tmp_path


def lines(tracefs: Path) -> list[str]:
    return (tracefs / "kprobe_events").read_text().splitlines()


def closed(made: Definitions, tracefs: Path) -> list[str]:
    """What its end wrote. A file forgets nothing, and the shell would wait for it: so it is emptied."""
    text = (tracefs / "kprobe_events").read_text()
    made._clean(lambda pid: pid == os.getpid())
    written = (tracefs / "kprobe_events").read_text().removeprefix(text)
    (tracefs / "kprobe_events").write_text("")
    made.close()
    return written.splitlines()


def test_a_probe_is_defined_told_and_taken_away(tracefs: Path) -> None:
    group = f"heaptop_{os.getpid()}"
    (tracefs / "events" / group / "exported").mkdir(parents=True)
    (tracefs / "events" / group / "exported" / "format").write_text(FORMAT)
    made = Definitions()
    found = made.add("r", "exported", "dma_buf_export", "inode=$retval:u64")
    assert found is not None
    assert (found.id, list(found.fields)) == (77, ["inode"])
    assert lines(tracefs) == [f"r:{group}/exported dma_buf_export inode=$retval:u64"]
    assert made.add("p", "unknown", "no_such_function") is None
    made.remove("unknown")
    assert lines(tracefs)[-1] == f"-:{group}/unknown"
    assert f"-:{group}/exported" in closed(made, tracefs)


def test_what_the_dead_left_is_taken_away_and_nothing_else(tracefs: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    others = "p:heaptop_1/theirs do_exit\np:kprobes/mine do_exit\np:heaptop_x/odd do_exit\n"
    (tracefs / "kprobe_events").write_text(f"{others}r8:heaptop_{dead.pid}/left do_exit result=$retval\n")
    made = Definitions()
    assert lines(tracefs)[4:] == [f"-:heaptop_{dead.pid}/left"]
    closed(made, tracefs)


def test_no_tracefs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "TRACEFS", (str(tmp_path),))
    with pytest.raises(FileNotFoundError):
        Definitions()


def test_a_process_that_is_killed_is_cleaned_up_after(tracefs: Path) -> None:
    """By the shell that stands by: it writes what takes each away, until none is there or it has tried for long."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tracefs)], check=False)
    assert done.returncode == -9
    while not any(line.startswith("-:heaptop_") for line in lines(tracefs)):  # pytest's time-out ends it
        os.sched_yield()
    assert any(line.endswith("/one") for line in lines(tracefs))
    (tracefs / "kprobe_events").write_text("")

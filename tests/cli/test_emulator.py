"""The command line over the emulator: real processes, real buffers, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HEAPTOP = (sys.executable, "-m", "heaptop", "-b", "emulator:steady")


def heaptop(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*HEAPTOP, *arguments], capture_output=True, text=True, check=False, timeout=60)


def looks(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


@pytest.fixture
def stream() -> "Iterator[subprocess.Popen[str]]":
    command = [*HEAPTOP, "processes", "--json", "--interval", "100ms"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.terminate()
        process.communicate(timeout=60)


def test_processes_are_real_and_ending_one_frees_its_buffers(stream: "subprocess.Popen[str]") -> None:
    documents = looks(stream)
    first = next(documents)
    for process in first["processes"]:
        assert Path(f"/proc/{process['pid']}/comm").read_text().rstrip("\n") == process["comm"]
    victim = first["processes"][0]
    os.kill(victim["pid"], signal.SIGKILL)
    after = next(document for document in documents if victim["pid"] not in {p["pid"] for p in document["processes"]})
    kept = {inode for process in after["processes"] for inode in process["inodes"]}
    lost = set(victim["inodes"]) - kept
    assert lost
    assert after["totals"]["kernel_rss_bytes"] == 0


def test_a_recording_replays_to_the_same_document(tmp_path: Path) -> None:
    path = tmp_path / "steady.tar.gz"
    captured = heaptop("capture", str(path), "--json")
    assert captured.returncode == 0
    whole = json.loads(captured.stdout)
    assert whole["source"] == "emulator:steady"
    again = tmp_path / "again"
    command = [*HEAPTOP[:3], "-b", f"replay:{path}", "capture", str(again), "--json"]
    replayed = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs, ours = (text.splitlines() for text in (replayed.stdout, captured.stdout))
    assert [line for line in theirs if not line.startswith('"source"')] == [
        line for line in ours if not line.startswith('"source"')
    ]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_alloc_holds_until_a_signal_and_leaves_nothing(number: signal.Signals, code: int) -> None:
    command = [*HEAPTOP, "alloc", "system", "64K", "--count", "2", "--name", "probe", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = looks(process)
        buffers = [next(lines), next(lines)]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert [(buffer["size_bytes"], buffer["name"]) for buffer in buffers] == [(65536, "probe")] * 2
    assert err.splitlines()[-1] == "heaptop: freed 2 buffers"
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_alloc_says_why_a_heap_refuses() -> None:
    ran = heaptop("alloc", "reserved", "90M", "--count", "1", "--force", "--json")
    assert ran.returncode == 3
    line = json.loads(ran.stdout)
    assert (line["event"], line["heap"], line["error"]) == ("failed", "reserved", "ENOMEM (Cannot allocate memory)")
    assert "ENOMEM" in ran.stderr


@pytest.mark.parametrize("pattern", ["zero", "ff", "count", "0xdeadbeef"])
def test_alloc_fills(pattern: str) -> None:
    ran = heaptop("alloc", "system", "12K", "--pattern", pattern, "--hold", "0")
    assert (ran.returncode, len(ran.stdout.splitlines())) == (0, 1)

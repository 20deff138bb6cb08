"""Real kernels' captures through the command line, held against what the workload itself says."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.support import archive, truth

Buffers = dict[int, dict[str, Any]]

HIDDEN = {"in-flight", "io_uring", "gem-handle"}
"""Ways to hold a buffer that neither an fd nor a mapping shows."""


@pytest.fixture
def buffers(capture_name: str, run: Run) -> Buffers:
    ran = run("-b", f"replay:{archive(capture_name)}", "buffers", "--json")
    assert ran.code == 0
    return {buffer["inode"]: buffer for buffer in json.loads(ran.out)["buffers"]}


def test_every_buffer_once_with_size_exporter_and_name(capture_name: str, buffers: Buffers) -> None:
    true = {holder.inode: holder for holder in truth(capture_name)}
    assert buffers.keys() == true.keys()
    for inode, holder in true.items():
        found = buffers[inode]
        name = None if found["name"] is None else found["name"].encode("utf-8", "surrogateescape")
        assert (found["size_bytes"], found["exporter"]) == (holder.size_bytes, holder.exporter)
        assert name == (holder.name or None) or (name, holder.name) == (b"", b"")


def test_every_holder_with_its_fds_and_mappings(capture_name: str, buffers: Buffers) -> None:
    fds: dict[tuple[int, int], set[int]] = defaultdict(set)
    mapped: set[tuple[int, int]] = set()
    for holder in truth(capture_name):
        if holder.fd is not None:
            fds[holder.inode, holder.pid].add(holder.fd)
        if "mmap" in holder.how:
            mapped.add((holder.inode, holder.pid))
    seen = {(inode, holder["pid"]): holder for inode, buffer in buffers.items() for holder in buffer["holders"]}
    assert seen.keys() == fds.keys() | mapped
    assert {place: set(holder["fds"]) for place, holder in seen.items() if holder["fds"]} == dict(fds)
    inherited = {place for place, holder in seen.items() if holder["comm"] == "app-gallery:kid"}  # by fork, untold
    assert {place for place, holder in seen.items() if holder["maps"]} - inherited == mapped


def test_a_thread_with_its_own_table_is_told(capture_name: str, buffers: Buffers) -> None:
    own = [holder for holder in truth(capture_name) if holder.tid != holder.pid]
    assert own
    for true in own:
        (holder,) = buffers[true.inode]["holders"]
        assert [(ref["fd"], ref["tid"]) for ref in holder["fd_refs"]] == [(true.fd, true.tid)]


def test_each_hidden_holder_is_a_hidden_reference(capture_name: str, buffers: Buffers) -> None:
    for true in truth(capture_name):
        if true.how in HIDDEN:
            assert buffers[true.inode]["hidden_refs"] >= 1
            assert buffers[true.inode]["holders"] == []


def test_a_capture_of_a_recording_is_that_recording(capture_name: str, run: Run, tmp_path: Path) -> None:
    source = f"replay:{archive(capture_name)}"
    again = tmp_path / "again.tar.gz"
    written = run("-b", source, "capture", str(again), "--json")
    assert written.code == 0
    everything = written.out.splitlines()
    for verb in ("heaps", "buffers", "processes", "cma"):
        replayed = run("-b", f"replay:{again}", verb, "--json").out.splitlines()
        assert [line.rstrip(",") for line in replayed if '"source"' not in line] == [
            line.rstrip(",") for line in run("-b", source, verb, "--json").out.splitlines() if '"source"' not in line
        ]
        wanted = {line.rstrip(",") for line in everything}
        assert all(line.rstrip(",") in wanted for line in replayed if not line.startswith('"source"'))


def test_text_and_csv_of_real_kernels(capture_name: str, run: Run) -> None:
    for verb in ("heaps", "buffers", "processes", "cma"):
        for extra in ((), ("--csv",)):
            ran = run("-b", f"replay:{archive(capture_name)}", verb, *extra)
            assert ran.code == 0
            assert all(char.isprintable() or char in "\r\n" for char in ran.out)

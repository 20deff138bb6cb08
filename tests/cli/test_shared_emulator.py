"""`heaptop emulator`: one for all of a user's programs, seen from every heaptop."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import heaptop.report
from heaptop.backend.emulated import EmulatedBackend
from heaptop.backend.reach import SharedEmulator
from heaptop.errors import SourceError
from heaptop_emulator import shared

SCHEMA = json.loads((Path(heaptop.report.__file__).parent / "heaptop-1.schema.json").read_text())
HEAPTOP = (sys.executable, "-m", "heaptop")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield
    shared.stop()


def ran(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*HEAPTOP, *arguments], capture_output=True, text=True, check=False, timeout=60)


def told(*arguments: str) -> dict[str, Any]:
    done = ran("emulator", *arguments, "--json")
    assert done.returncode in (0, 1), done.stderr  # 1: none runs
    document = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(document)
    fields: dict[str, Any] = document["emulator"]
    return fields


def test_start_status_and_stop() -> None:
    assert ran("emulator", "status").returncode == 1
    first = told("start", "steady")
    assert (first["scenario"], first["lasting"], first["buffers"], len(first["processes"])) == ("steady", True, 30, 4)
    assert told("start")["pid"] == told("status")["pid"] == first["pid"]
    assert ran("emulator", "start").stdout.startswith("was running already: process ")
    status = ran("emulator", "status")
    assert status.returncode == 0
    assert "30 buffers, 88.0 MiB; 0 clients" in status.stdout
    assert not told("stop")["running"]
    assert ran("emulator", "stop").stdout == "none was running\n"
    assert not told("status")["running"]


def test_another_one_is_not_put_up_with() -> None:
    told("start", "steady", "--seed", "7")
    for demanded in (["storm"], ["steady", "--seed", "8"], ["--layout", "android"]):
        refused = ran("emulator", "start", *demanded)
        assert refused.returncode == 2
        assert "another emulator runs: scenario steady, seed 7" in refused.stderr
    assert told("start", "steady", "--seed", "7")["seed"] == 7


def test_a_layout_is_taken() -> None:
    assert told("start", "--layout", "android")["heaps"] == [
        "system",
        "reserved",
        "camera",
        "system-uncached",
        "secure",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start", "none"], "no scenario 'none'"),
        (["start", "\x1b[2J"], "no scenario"),
        (["start", "--seed", "x"], "--seed x"),
        (["start", "--layout", "frob"], "frob"),
        (["start", "--layout", "/nowhere.toml"], "/nowhere.toml"),
        (["stop", "steady"], "scenario says nothing to stop"),
        (["status", "--seed", "1"], "seed says nothing to status"),
        (["frob"], "no action 'frob'"),
        ([], "ACTION"),
    ],
)
def test_wrong_words_are_told(arguments: list[str], said: str) -> None:
    refused = ran("emulator", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert said in refused.stderr
    assert "\x1b" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_buffers_of_one_heaptop_are_seen_in_another_and_survive_a_kill() -> None:
    pid = told("start")["pid"]
    command = [*HEAPTOP, "-b", "emulator", "alloc", "system", "64K", "--name", "seen", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        allocated = json.loads(holder.stdout.readline())
        before = json.loads(ran("-b", "emulator", "buffers", "--json").stdout)
        (buffer,) = before["buffers"]
        assert (buffer["inode"], buffer["name"]) == (allocated["inode"], "seen")
        assert [holding["pid"] for holding in buffer["holders"]] == [holder.pid]
        assert buffer["holders"][0]["fds"]
        os.kill(pid, signal.SIGKILL)
        again = told("start")
        assert (again["recovered"], again["boot_id"]) == (1, before["boot_id"])
        after = json.loads(ran("-b", "emulator", "buffers", "--json").stdout)
        assert after["buffers"] == before["buffers"]
        holder.send_signal(signal.SIGINT)
        holder.communicate(timeout=60)
    assert told("status")["buffers"] == 0


def test_who_looks_finds_it_again_after_a_restart() -> None:
    pid = told("start", "steady")["pid"]
    backend = EmulatedBackend(SharedEmulator("idle"))
    try:
        assert backend.capture().processes
        os.kill(pid, signal.SIGKILL)
        again = told("start", "steady")
        assert {process.pid for process in backend.capture().processes} == {one["pid"] for one in again["processes"]}
        assert backend.emulator_pid == again["pid"]
        told("stop")
        with pytest.raises(SourceError, match="the shared emulator has ended; heaptop emulator start"):
            backend.capture()
    finally:
        backend.close()


def test_who_looks_starts_it_again_where_buffers_live() -> None:
    pid = told("start", "--seed", "3")["pid"]
    backend = EmulatedBackend(SharedEmulator("idle"))
    try:
        held = backend.allocate("system", 4096, b"kept")
        os.kill(pid, signal.SIGKILL)
        assert [buffer.name for buffer in backend.state().buffers] == [b"kept"]
        status = told("status")
        assert (status["lasting"], status["seed"], status["recovered"]) == (True, 3, 1)
        os.close(held.fd)
    finally:
        backend.close()

"""`heaptop alloc` allocates from the kernel, and nothing is left whatever ends it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.vm.guest.conftest import TIMEOUT_S, run_heaptop
from tests.vm.guest.kernel_text import bufinfo

COUNT, SIZE_BYTES = 4, 16 << 20


@pytest.fixture
def before() -> frozenset[int]:
    """The buffers that were there without it."""
    return frozenset(bufinfo())


@pytest.fixture
def holding(before: frozenset[int]) -> Iterator[subprocess.Popen[str]]:
    """`heaptop alloc` once it holds its buffers."""
    command = [
        sys.executable,
        "-m",
        "heaptop",
        "alloc",
        "system",
        "16M",
        "--count",
        str(COUNT),
        "--name",
        "trial",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield process
        process.kill()


def allocated(process: subprocess.Popen[str]) -> dict[int, int]:
    """Sizes by inode, as it tells them."""
    assert process.stdout is not None
    told = [json.loads(process.stdout.readline()) for _ in range(COUNT)]
    assert {line["event"] for line in told} == {"allocated"}
    return {line["inode"]: line["size_bytes"] for line in told}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
def test_bufinfo_shows_them_until_it_ends(
    end: signal.Signals, before: frozenset[int], holding: subprocess.Popen[str]
) -> None:
    told = allocated(holding)
    shown = {inode: row for inode, row in bufinfo().items() if inode not in before}
    assert {inode: row.size_bytes for inode, row in shown.items()} == told == dict.fromkeys(told, SIZE_BYTES)
    assert {(row.exporter, row.file_count) for row in shown.values()} == {("system", 1)}
    holding.send_signal(end)
    holding.wait(TIMEOUT_S)
    assert frozenset(bufinfo()) == before


def test_more_than_there_is(before: frozenset[int]) -> None:
    done = run_heaptop("alloc", "system", "1T")
    assert done.returncode == 2
    assert "available" in done.stderr
    assert frozenset(bufinfo()) == before


def test_the_heap_refuses(before: frozenset[int]) -> None:
    done = run_heaptop("alloc", "system", "1T", "--force", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["errno"] == 12
    assert frozenset(bufinfo()) == before


def test_a_plain_user_is_refused(before: frozenset[int], plain_user: int) -> None:
    done = run_heaptop("-b", "kernel", "alloc", "system", "4K", uid=plain_user)
    assert done.returncode == 3
    assert "Permission denied" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert frozenset(bufinfo()) == before


def test_bench_measures_every_step() -> None:
    done = run_heaptop("-b", "kernel", "bench", "system", "--size", "4K,1M", "--count", "10", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["latencies"]
    assert [row["count"] for row in rows] == [10] * 10
    assert {row["step"] for row in rows} == {"allocate", "map", "touch", "sync", "free"}
    assert all(0 < row["p50_s"] <= row["p99_s"] <= row["max_s"] for row in rows)

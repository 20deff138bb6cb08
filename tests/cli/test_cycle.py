"""`heaptop cycle`: growth by run and by mark, and commands that fail, hang and are interrupted."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import heaptop.report
from heaptop.cli.marks import Marks
from tests.cli.conftest import Run, Use
from tests.cli.growing import Daemon
from tests.timelines import Held, leaking

VALIDATOR = Draft202012Validator(
    json.loads((Path(heaptop.report.__file__).parent / "heaptop-1.schema.json").read_text())
)
QUICK = ("--settle", "0.1")


@pytest.fixture
def daemon(tmp_path: Path, use: Use) -> Daemon:
    made = Daemon(tmp_path / "ledger")
    use(made)
    return made


def test_what_every_cycle_leaves(daemon: Daemon, run: Run) -> None:
    ran = run("cycle", "--count", "3", *QUICK, "--", *daemon.leaks_every(1))
    assert ran.out == (
        "+1 x 16.0 KiB of system codec-out, held by mediaserver, every cycle\n"
        "3 cycles: 3 buffers, 48.0 KiB; 16.0 KiB a cycle\n"
    )
    assert (ran.code, daemon.closed) == (0, 1)


def test_what_some_cycles_leave(daemon: Daemon, run: Run) -> None:
    ran = run("cycle", "--count", "4", *QUICK, "--warmup", "0", "--json", "--", *daemon.leaks_every(3))
    document = json.loads(ran.out)
    VALIDATOR.validate(document)
    (grown,) = document["growth"]
    assert (grown["kept"], grown["buffers"], grown["bytes_per_cycle"], grown["holder"]) == (
        [0, 0, 1, 0],
        1,
        4096,
        "mediaserver",
    )
    assert (grown["inodes"], grown["holders"][0]["comm"]) == ([1], "mediaserver")
    assert [mark["label"] for mark in document["marks"]] == ["0", "1", "2", "3", "4"]


def test_nothing_is_left(daemon: Daemon, run: Run) -> None:
    assert run("cycle", "--count", "2", *QUICK, "--", "true").out == "2 cycles left nothing behind\n"


def test_the_warm_up_does_not_count(daemon: Daemon, run: Run) -> None:
    script = f"[ $(cat {daemon.ledger} 2>/dev/null | wc -c) -ge 2 ] || printf + >> {daemon.ledger}"
    ran = run("cycle", "--count", "2", "--warmup", "2", *QUICK, "--", "sh", "-c", script)
    assert ran.out == "2 cycles left nothing behind\n"
    assert daemon.ledger.read_bytes() == b"++"


def test_what_goes_late_is_waited_for(daemon: Daemon, run: Run) -> None:
    """The daemon lets go a moment after the command has ended."""
    daemon.ledger.write_bytes(b"")
    script = f"printf + >> {daemon.ledger}; (sleep 0.3; printf - > {daemon.ledger}) >/dev/null 2>&1 &"
    ran = run("cycle", "--count", "2", "--settle", "3", "--", "sh", "-c", script)
    assert ran.out == "2 cycles left nothing behind\n"


def test_a_filter_says_what_counts(daemon: Daemon, run: Run) -> None:
    ran = run("cycle", "--count", "2", *QUICK, "--filter", "holder:camera", "--", *daemon.leaks_every(1))
    assert ran.out == "2 cycles left nothing behind\n"


def test_a_busy_source_takes_no_longer_than_settling(daemon: Daemon, run: Run) -> None:
    daemon.others = lambda look: {"storm": [Held(1000 + look * 10 + each, name="s") for each in range(1 + look % 3)]}
    ran = run("cycle", "--count", "2", "--settle", "0.2", "--", *daemon.leaks_every(1))
    assert "+1 x 16.0 KiB of system codec-out, held by mediaserver, every cycle" in ran.out
    assert "storm" not in ran.out


@pytest.mark.parametrize(
    ("command", "code", "why"),
    [
        (("sh", "-c", "exit 7"), 1, "sh (warm-up 1 of 1): failed with exit status 7"),
        (("sh", "-c", "kill -9 $$"), 1, "was ended by SIGKILL"),
        (("/nowhere/\x1b[31m",), 2, "cannot run /nowhere/\\x1b[31m: ENOENT"),
        (("/",), 2, "EACCES"),
        (("sh\0",), 2, "null byte"),
    ],
)
def test_a_command_that_fails(daemon: Daemon, run: Run, command: tuple[str, ...], code: int, why: str) -> None:
    ran = run("cycle", *QUICK, "--", *command)
    assert (ran.code, ran.out, why in ran.err) == (code, "", True)
    assert daemon.closed == 1


def test_what_was_measured_before_a_failure_is_told(daemon: Daemon, run: Run) -> None:
    script = f"printf + >> {daemon.ledger}; [ $(wc -c < {daemon.ledger}) -lt 4 ]"
    ran = run("cycle", *QUICK, "--json", "--", "sh", "-c", script)
    document = json.loads(ran.out)
    VALIDATOR.validate(document)
    assert (ran.code, document["cycles"], document["is_whole"]) == (1, 2, False)
    assert document["failure"] == "sh (cycle 3 of 10): failed with exit status 1"


def test_a_command_that_hangs_is_ended_with_its_children(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 1000 & echo $$ $! > {pids}; wait; wait"
    ran = run("cycle", *QUICK, "--timeout", "0.3", "--", "sh", "-c", script)
    assert (ran.code, "did not end in time" in ran.err) == (1, True)
    for pid in map(int, pids.read_text().split()):
        assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_a_source_that_goes_while_a_command_runs(daemon: Daemon, run: Run) -> None:
    daemon.gone_after = 8
    ran = run("cycle", *QUICK, "--", "true")
    assert (ran.code, "plug it in" in ran.err) == (3, True)


def test_a_recording_has_no_cycles(use: Use, run: Run) -> None:
    use(leaking(3))
    ran = run("cycle", "--", "true")
    assert (ran.code, "is over: no command changes it" in ran.err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--count", "0", "--", "true"),
        ("--settle", "2h", "--", "true"),
        ("--timeout", "0", "--", "true"),
        ("--timeout", "1s"),
        ("--warmup", "-1", "--", "true"),
        ("--marks", "pigeon"),
        ("--marks", "fifo"),
        ("--marks", "signal:x"),
        ("--marks", "socket:/nowhere/at/all"),
    ],
)
def test_bad_usage(daemon: Daemon, run: Run, arguments: tuple[str, ...]) -> None:
    assert run("cycle", *arguments).code == 2


def heaptop_process(*arguments: str, stdin: int | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "heaptop", "-b", "emulator:idle", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_interrupt_ends_the_command_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    os.mkfifo(pid_file)
    with heaptop_process(
        "cycle", "--settle", "0.1", "--", "sh", "-c", f"echo $$ > {pid_file}; exec sleep 1000"
    ) as process:
        pid = int(pid_file.read_text())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, "no cycle was whole" in err) == (130, "", True)
    assert not is_running(pid)


def test_marks_by_lines_on_a_pipe(daemon: Daemon, tmp_path: Path) -> None:
    with heaptop_process("cycle", "--settle", "0.1", "--warmup", "0", "--json", stdin=subprocess.PIPE) as process:
        out, err = process.communicate("mark one\n\nmark three\n", timeout=60)
    document = json.loads(out)
    VALIDATOR.validate(document)
    assert [mark["label"] for mark in document["marks"]] == ["one", "1", "three"]
    assert (process.returncode, "waiting for marks by stdin" in err) == (0, True)


def test_marks_on_a_socket_are_answered(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    """A test drives it: each answer says that the look is done."""
    path = tmp_path / "marks"
    script = f"""
import os, socket
s = socket.socket(socket.AF_UNIX); s.connect(os.environ["HEAPTOP_MARKS"]); f = s.makefile("rw")
def mark(words):
    f.write(words + "\\n"); f.flush(); return f.readline()
for number in range(4):
    answer = mark(f"mark m{{number}}")
    assert answer == f"ok m{{number}} {{number}} buffers\\n", answer
    open({str(daemon.ledger)!r}, "a").write("+")
assert mark("nonsense").startswith("error"), 1
assert mark("end") == "ok end\\n"
"""
    ran = run("cycle", *QUICK, "--warmup", "1", "--marks", f"socket:{path}", "--", sys.executable, "-c", script)
    assert (ran.code, "Error" in ran.err) == (0, False)
    assert "+1 x 16.0 KiB of system codec-out, held by mediaserver, every cycle\n2 cycles" in ran.out
    assert not path.exists()


def test_marks_on_a_fifo_end_with_the_command(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "marks"
    ran = run(
        "cycle", *QUICK, "--warmup", "0", "--marks", f"fifo:{path}", "--", "sh", "-c", "echo mark > $HEAPTOP_MARKS"
    )
    assert (ran.code, ran.out, "no cycle was whole" in ran.err) == (0, "", True)
    assert not path.exists()


def test_so_many_cycles_are_enough(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "marks"
    os.mkfifo(path)
    script = "for i in 1 2 3 4 5 6; do echo; done > $HEAPTOP_MARKS"
    ran = run("cycle", "--count", "2", *QUICK, "--marks", f"fifo:{path}", "--", "sh", "-c", script)
    assert ran.out == "2 cycles left nothing behind\n"
    assert path.exists()


def test_a_command_that_sets_its_marks_and_hangs(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    ran = run("cycle", *QUICK, "--timeout", "0.3", "--marks", f"fifo:{tmp_path}/marks", "--", "sleep", "1000")
    assert (ran.code, "did not end in time" in ran.err) == (1, True)


@pytest.fixture
def signal_marks() -> Iterator[Marks]:
    before = signal.getsignal(signal.SIGUSR1)
    with Marks("signal") as marks:
        yield marks
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_signal_is_a_mark(signal_marks: Marks) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)
    asked = signal_marks.wait(60)
    assert asked is not None
    assert (asked.is_end, asked.label, signal_marks.wait(0)) == (False, "", None)


def test_hostile_clients_of_the_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "marks")
    with Marks(f"socket:{path}") as marks:
        assert os.stat(path).st_mode & 0o777 == 0o600
        endless, gone, good = (socket.socket(socket.AF_UNIX) for _ in range(3))
        for client in (endless, gone, good):
            client.connect(path)
        endless.settimeout(0)
        writer = threading.Thread(target=_send_endlessly, args=(endless,))
        writer.start()
        gone.sendall(b"mark x\nma")
        gone.close()
        good.sendall(b"mark \xff\n")
        labels: set[str] = set()
        while len(labels) < 2:
            asked = marks.wait(10)
            if asked is not None:
                asked.answer("ok")
                labels.add(asked.label)
        writer.join()
        assert labels == {"x", "\udcff"}
        assert good.recv(100) == b"ok\n"
        endless.close()
        good.close()
    assert not os.path.exists(path)


def _send_endlessly(client: socket.socket) -> None:
    try:
        for _ in range(8):
            client.send(b"a" * 4096)
    except OSError:
        return

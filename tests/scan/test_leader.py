"""A process whose main thread has ended, on this machine's real /proc."""

import ctypes
import os
import subprocess
import sys

import pytest

from heaptop.capture import ProcessCapture
from heaptop.scan.proc import ProcScan

NEEDLE = b"/memfd:heaptop-scan-test:"
SCAN = ProcScan("/proc", lambda target: target.startswith(NEEDLE), NEEDLE)


def test_the_leader_has_ended_but_a_thread_holds() -> None:
    """After pthread_exit in main, /proc/PID/fd and maps are empty: table and memory are the threads'."""
    code = (
        "import ctypes, mmap, os, threading\n"
        "def hold():\n"
        "  os.dup2(os.memfd_create('heaptop-scan-test:left'), 60)\n"
        "  os.ftruncate(60, 4096); held = mmap.mmap(60, 4096)\n"
        "  while open(f'/proc/{os.getpid()}/stat').read().rsplit(') ')[-1][0] != 'Z': os.sched_yield()\n"
        "  print(flush=True); threading.Event().wait()\n"
        "threading.Thread(target=hold).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)\n"
    )
    if ctypes.sizeof(ctypes.c_void_p) != 8 or os.uname().machine != "x86_64":
        pytest.skip("exit(2) has another number here")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() != b""
        found: ProcessCapture | None = SCAN.process(process.pid)
        process.kill()
    assert found is not None
    targets = {link.fd: link.target for table in (found.table, *(t.table for t in found.tasks)) for link in table.links}
    assert b"heaptop-scan-test:left" in targets[60]
    assert found.files["maps"] == b""
    (maps,) = [task.files["maps"] for task in found.tasks]
    assert isinstance(maps, bytes)
    assert b"heaptop-scan-test:left" in maps

"""`python -m heaptop_emulator.daemon FOLDER SETUP FD [--lasting]`: the shared emulator of this user; see shared.py.

The process leaves the one that started it and says by a line of JSON on FD what became of it: `{"state": "ready"}`,
`{"state": "busy"}` where another one runs, or `what`, `why` and `remedy`.
"""

import argparse
import fcntl
import json
import os
import resource
import signal
import socket
import sys
from typing import Final

from heaptop_emulator import linux
from heaptop_emulator.actor import launch
from heaptop_emulator.door import Door
from heaptop_emulator.errors import EmulatorError
from heaptop_emulator.folder import RuntimeFolder
from heaptop_emulator.framework import Framework
from heaptop_emulator.layout import MIB_PAGES, AreaLayout, Layout
from heaptop_emulator.layout_text import parse_layout_file
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of
from heaptop_emulator.scenarios import SCENARIOS
from heaptop_emulator.server import Server, World
from heaptop_emulator.shared import Setup

_LAYOUT: Final = Layout(areas=(AreaLayout("reserved", (64 * MIB_PAGES,)), AreaLayout("camera", (64 * MIB_PAGES,))))
"""Roomy: the kernel's selftest takes 33 MiB of each heap."""


def main() -> None:
    """Become a process of its own, and serve."""
    parser = argparse.ArgumentParser(prog="heaptop_emulator.daemon", description="The shared emulator of this user.")
    parser.add_argument("folder", help="its runtime folder")
    parser.add_argument("setup", help="what is emulated, as JSON")
    parser.add_argument("report", type=int, help="number of an inherited pipe: here it says when it is ready")
    parser.add_argument("--lasting", action="store_true", help="go on when nobody uses it any more")
    options = parser.parse_args()
    if os.fork():
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    report = _Report(options.report)
    try:
        folder = RuntimeFolder.make(options.folder)
        lock = folder.lock()
        if lock is None:
            report.say(state="busy")
            return
        _run(folder, Setup.from_json(options.setup), report, is_lasting=options.lasting)
    except EmulatorError as error:
        report.say(what=error.what, why=error.why, remedy=error.remedy)


class _Report:
    """The pipe to who started this process."""

    def __init__(self, fd: int) -> None:
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        self._fd = fd

    def say(self, **fields: str) -> None:
        """The one thing there is to say. Whether anybody listens is no matter."""
        if self._fd >= 0:
            try:
                os.write(self._fd, json.dumps(fields).encode() + b"\n")
            except OSError:
                pass
            finally:
                os.close(self._fd)
                self._fd = -1


def _run(folder: RuntimeFolder, setup: Setup, report: _Report, *, is_lasting: bool) -> None:
    """Serve until told to stop. Only who holds the lock gets here."""
    actors = launch(SCENARIOS[setup.scenario].roles, setup.seed)
    linux.name_process("heaptop-emu")
    _keep_log(folder)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    machine = Machine(parse_layout_file(setup.layout) if setup.layout else _LAYOUT)
    framework = Framework(heaps_of(machine))
    stop, stop_end = socket.socketpair()
    stop_end.settimeout(0)
    signal.set_wakeup_fd(stop_end.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    door = Door(folder.listen("emulator"))
    world = World(machine, framework, setup.scenario, setup.seed)
    try:
        Server(world, actors, lambda: report.say(state="ready")).listen(door, stop, is_lasting=is_lasting)
    finally:
        folder.remove("emulator")


def _keep_log(folder: RuntimeFolder) -> None:
    """From here on what goes to stderr goes to the log; nowhere where there is no room for one."""
    try:
        log = folder.log_fd()
    except OSError:
        log = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(log, sys.stderr.fileno(), inheritable=False)
    os.close(log)


if __name__ == "__main__":
    main()

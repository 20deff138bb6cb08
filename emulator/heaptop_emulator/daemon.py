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
import time
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from heaptop_emulator import journal, keeper, linux, recovery
from heaptop_emulator.actor import launch
from heaptop_emulator.door import Door
from heaptop_emulator.errors import EmulatorError
from heaptop_emulator.folder import RuntimeFolder
from heaptop_emulator.framework import Framework
from heaptop_emulator.journal import Header, Journal
from heaptop_emulator.keeper import Keeper
from heaptop_emulator.layout import MIB_PAGES, AreaLayout, Layout
from heaptop_emulator.layout_text import parse_layout_file
from heaptop_emulator.machine import Machine
from heaptop_emulator.others import heaps_of
from heaptop_emulator.scenarios import SCENARIOS, layout_of
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
        _keep_log(folder)
        kept_by = keeper.fork(folder, lock, report.fd)
        os.setsid()
        _run(folder, kept_by, Wanted(Setup.from_json(options.setup), is_lasting=options.lasting), report)
    except EmulatorError as error:
        report.say(what=error.what, why=error.why, remedy=error.remedy)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for."""

    setup: Setup
    is_lasting: bool


class _Report:
    """The pipe to who started this process."""

    def __init__(self, fd: int) -> None:
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        self.fd = fd

    def say(self, **fields: str) -> None:
        """The one thing there is to say. Whether anybody listens is no matter."""
        if self.fd >= 0:
            try:
                os.write(self.fd, json.dumps(fields).encode() + b"\n")
            except OSError:
                pass
            finally:
                os.close(self.fd)
                self.fd = -1


def _run(folder: RuntimeFolder, kept_by: Keeper, wanted: Wanted, report: _Report) -> None:
    """Serve until told to stop. Only who holds the lock gets here.

    Where an emulator was killed and buffers of it live, this one is its continuation, whatever was asked for.
    """
    linux.name_process("heaptop-emu")
    found = recovery.find(folder)
    kept_by.entrust(found.releases)
    if found.header is not None:
        wanted = Wanted(Setup.from_json(found.header.setup), is_lasting=found.header.is_lasting or wanted.is_lasting)
    setup = wanted.setup
    actors = launch(SCENARIOS[setup.scenario].roles, setup.seed)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    layout = parse_layout_file(setup.layout) if setup.layout else layout_of(setup.scenario)
    machine = Machine(layout or _LAYOUT)
    framework = Framework(heaps_of(machine), found.releases)
    recovered = recovery.adopt(framework, found)
    header = Header(
        host_boot_id=journal.host_boot_id(),
        boot_id=str(uuid4()) if found.header is None else found.header.boot_id,
        setup=setup.to_json(),
        is_lasting=wanted.is_lasting,
        started_at=time.time(),
        actors=tuple(actor.pid for actor in actors),
    )
    books = Journal(folder, header)
    books.begin(recovered, found.serial)
    world = World(machine, framework, setup.scenario, setup.seed, setup.layout, header.boot_id, books, tuple(recovered))
    server = Server(world, actors, lambda: report.say(state="ready"))
    try:
        server.listen(Door(folder.listen("emulator")), _signals(), is_lasting=wanted.is_lasting)
    except BaseException:
        folder.remove("emulator")
        raise
    folder.remove(*keeper.LEFT_BEHIND)
    kept_by.release()


def _signals() -> socket.socket:
    """A socket that is readable once a signal asked for the end."""
    stop, stop_end = socket.socketpair()
    stop_end.settimeout(0)
    signal.set_wakeup_fd(stop_end.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return stop


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

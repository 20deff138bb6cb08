"""The app in a terminal of its own: to its first content, next to a bare Textual app, and at work on a load."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from tools.bench import workload
from tools.bench.rows import Row, at_most, plain, ratio_at_most
from tools.bench.workload import PHONE, STRESS, Load

TITLE = "The app"
ROUNDS: Final = 9
WARM_UP_S: Final = 10.0
WATCHED_S: Final = 15.0
TIMEOUT_S: Final = 60.0
HEAPTOP: Final = (sys.executable, "-m", "heaptop", "-b", "kernel")
APP: Final = (sys.executable, "-m", "tools.bench.looking", "-b", "kernel")
"""To it the workload's files are buffers."""

TABS: Final = b"Buffers"
TABLE: Final = b"Share"
BARE_APP: Final = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("here it is")
Bare().run()
"""
BARE: Final = (sys.executable, "-c", BARE_APP)


@dataclass
class Terminal:
    """A program with a terminal of 120 columns and 40 lines."""

    pid: int
    fd: int
    output: bytes = b""

    def read(self, until: float) -> None:
        """What it writes, until then or until it has written something."""
        ready, _, _ = select.select([self.fd], [], [], max(0.0, until - time.monotonic()))
        if ready:
            self.output += os.read(self.fd, 1 << 16)

    def wait_for(self, text: bytes) -> None:
        """Until `text` is on the screen.

        Raises:
            TimeoutError: it did not come.
        """
        end = time.monotonic() + TIMEOUT_S
        while text not in self.output:
            if time.monotonic() > end:
                raise TimeoutError(f"{text!r} did not come")
            self.read(end)

    def watch(self, seconds: float) -> None:
        """Let it work, reading what it writes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(end)

    def cpu_s(self) -> float:
        """CPU time that it has taken, from its clock (see clock_getcpuclockid(3))."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def peak_bytes(self) -> int:
        """The most memory that it had."""
        with open(f"/proc/{self.pid}/status", "rb") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(b"VmHWM:")) * 1024


@contextlib.contextmanager
def terminal(words: tuple[str, ...]) -> Iterator[Terminal]:
    """A program in a terminal, until the end of the block."""
    pid, fd = pty.fork()
    if pid == 0:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        os.execvpe(words[0], words, environment | {"TERM": "xterm-256color", "COLORTERM": "truecolor"})
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    try:
        yield Terminal(pid, fd)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


def rows() -> Iterator[Row]:
    """To the first content (two programs in turn), then CPU and memory at one look a second."""
    yield from to_first_content()
    yield from at_work("phone, quiet", PHONE, 2.5, 120)
    yield from at_work("phone, 10 % active", PHONE._replace(active_percent=10), 10, None)
    yield from at_work("stress, quiet", STRESS, None, 300)


def to_first_content() -> Iterator[Row]:
    """The header with the tabs, then the table with what the first look found, next to a bare app's only line."""
    found: dict[str, list[tuple[float, float]]] = {"bare": [], "tabs": [], "table": []}
    for _ in range(ROUNDS):
        for words, contents in ((BARE, {"bare": b"here it is"}), (HEAPTOP, {"tabs": TABS, "table": TABLE})):
            began = time.monotonic()
            with terminal(words) as shown:
                for name, text in contents.items():
                    shown.wait_for(text)
                    found[name].append(((time.monotonic() - began) * 1000, shown.cpu_s() * 1000))
    (bare, bare_cpu), (tabs, tabs_cpu), (table, table_cpu) = (
        (median(wall for wall, _ in times), median(cpu for _, cpu in times)) for times in found.values()
    )
    yield plain("a bare Textual app to its first content, by the clock", bare, "ms")
    yield plain("a bare Textual app to its first content, CPU", bare_cpu, "ms")
    yield ratio_at_most("heaptop to its first content, by the clock", tabs, bare, 1.2, of="bare")
    yield ratio_at_most("heaptop to its first content, CPU", tabs_cpu, bare_cpu, 1.2, of="bare")
    yield plain("heaptop to its table, by the clock", table, "ms", ratio=f"{table / bare:.3f} bare")
    yield plain("heaptop to its table, CPU", table_cpu, "ms", ratio=f"{table_cpu / bare_cpu:.3f} bare")


def at_work(what: str, load: Load, percent_max: float | None, mb_max: float | None) -> Iterator[Row]:
    """CPU of a core and memory of the app on a load. All that runs on this machine besides is looked at, too."""
    with workload.running(load), terminal(APP) as shown:
        shown.wait_for(TABLE)
        shown.watch(WARM_UP_S)
        before = shown.cpu_s()
        shown.watch(WATCHED_S)
        percent = (shown.cpu_s() - before) / WATCHED_S * 100
        mb = shown.peak_bytes() / 1e6
    if percent_max is not None:
        yield at_most(f"the app at one look a second, {what}", percent, percent_max, "% of a core")
    if mb_max is not None:
        yield at_most(f"memory of the app, {what.partition(',')[0]}", mb, mb_max, "MB")

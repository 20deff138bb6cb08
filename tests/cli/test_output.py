"""Text on a real terminal (a pty): its width, its colours, and neither where they are not wanted."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from tests.support import CAPTURES, archive

HEAPTOP = (sys.executable, "-m", "heaptop", "-b", f"replay:{archive(CAPTURES[0])}")


@pytest.fixture
def on_a_terminal() -> Callable[..., list[str]]:
    """A function that runs heaptop on a terminal of that many columns and gives the lines that it shows."""

    def run(*arguments: str, columns: int = 60, **environment: str) -> list[str]:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        clean = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "COLUMNS"}}
        with subprocess.Popen(
            [*HEAPTOP, *arguments],
            stdout=slave,
            stderr=subprocess.DEVNULL,
            env={**clean, "TERM": "xterm", "PYTHONUTF8": "1", **environment},
        ) as process:
            os.close(slave)
            shown = b""
            while chunk := read(master):
                shown += chunk
        os.close(master)
        assert process.returncode == 0
        return shown.decode().splitlines()

    return run


def read(fd: int) -> bytes:
    """What the terminal shows next; nothing once its last user has closed it (EIO)."""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""


def test_lines_fit_and_the_title_is_bold(on_a_terminal: Callable[..., list[str]]) -> None:
    lines = on_a_terminal("buffers")
    assert any(line.startswith("\x1b[1m") and "Size" in line for line in lines)
    plain = on_a_terminal("buffers", "--no-color")
    assert max(len(line) for line in plain) <= 60
    assert any("cameraserver +" in line or "…" in line for line in plain)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_it_is_not_wanted(environment: dict[str, str], on_a_terminal: Callable[..., list[str]]) -> None:
    assert "\x1b" not in "".join(on_a_terminal("heaps", **environment))


def test_a_terminal_that_tells_no_width_has_80_columns(on_a_terminal: Callable[..., list[str]]) -> None:
    assert 60 < max(len(line) for line in on_a_terminal("buffers", "--no-color", columns=0)) <= 80


def test_a_very_narrow_terminal(on_a_terminal: Callable[..., list[str]]) -> None:
    assert max(len(line) for line in on_a_terminal("buffers", "--no-color", columns=20)) <= 20

"""kprobes with arguments, defined in tracefs (Documentation/trace/kprobetrace.rst; `$argN` from 4.20 on).

Such a definition belongs to nobody and would outlive this process. So a shell stands by that has the other end of a
pipe: when this process ends, however that may be, it takes the definitions away; and whoever comes next takes away what
is left of processes that are gone.
"""

import contextlib
import errno
import os
import re
import subprocess
from collections.abc import Callable
from typing import Final

from heaptop.errors import ParseError
from heaptop.parse import trace_format
from heaptop.parse.trace_format import Format
from heaptop.pattern import pattern
from heaptop.scan.files import read_file

TRACEFS: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_LIST: Final = "kprobe_events"
_GROUP: Final = "heaptop_"
_OURS: Final = pattern(rb"^[pr]\d*:(heaptop_(\d+)/\w+) ", re.MULTILINE)
_CLEANING: Final = """
trap '' INT TERM HUP QUIT
cat >/dev/null
tries=0
while grep -q ":$2/" "$1" && [ $tries -lt 50 ]; do
    sed -n "s|^[pr][0-9]*:\\($2/[^ ]*\\) .*|-:\\1|p" "$1" | while read -r line; do echo "$line" >>"$1"; done
    sleep 0.1
    tries=$((tries + 1))
done
"""
"""A probe cannot be taken away before the last descriptor of it is closed, so it tries for a while."""


class Definitions:
    """The probes of this process. Raises OSError where tracefs cannot be had, or not be written."""

    def __init__(self) -> None:
        self._folder = next((folder for folder in TRACEFS if os.path.exists(f"{folder}/{_LIST}")), "")
        if not self._folder:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), f"{TRACEFS[0]}/{_LIST}")
        self._list = f"{self._folder}/{_LIST}"
        self._group = f"{_GROUP}{os.getpid()}"
        self._clean(lambda pid: not os.path.exists(f"/proc/{pid}"))
        os.close(os.open(self._list, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))  # before a shell is started for nothing
        self._cleaner = subprocess.Popen(
            ["sh", "-c", _CLEANING, "heaptop-cleaner", self._list, self._group],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, kind: str, name: str, function: str, *arguments: str) -> Format | None:
        """Define a probe (`p` at the entry, `r` at the return) and tell its format; None where it cannot be.

        Raises:
            PermissionError: nothing may be defined here.
        """
        definition = f"{kind}:{self._group}/{name} {function} {' '.join(arguments)}"
        try:
            self._write(definition)
        except PermissionError:
            raise
        except OSError:
            return None
        text = read_file(f"{self._folder}/events/{self._group}/{name}/format")
        with contextlib.suppress(ParseError):
            return trace_format.parse(text) if isinstance(text, bytes) else None
        return None

    def remove(self, name: str) -> None:
        """Take one away that is watched no more."""
        with contextlib.suppress(OSError):
            self._write(f"-:{self._group}/{name}")

    def close(self) -> None:
        """Take them away, and let the shell go. May be called twice."""
        self._clean(lambda pid: pid == os.getpid())
        if self._cleaner.stdin is not None:
            self._cleaner.stdin.close()
        self._cleaner.wait()

    def _write(self, text: str) -> None:
        fd = os.open(self._list, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(fd, f"{text}\n".encode())
        finally:
            os.close(fd)

    def _clean(self, whose: Callable[[int], bool]) -> None:
        text = read_file(self._list)
        for match in _OURS.finditer(text if isinstance(text, bytes) else b""):
            if whose(int(match[2])):
                with contextlib.suppress(OSError):  # in use: that process lives in another pid namespace
                    self._write(f"-:{match[1].decode('ascii')}")

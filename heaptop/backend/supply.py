"""The shared emulator's heaps, for a command under supervision: buffers on behalf of the command's threads."""

import errno
import os
from collections.abc import Callable
from typing import Protocol, TypeVar

from heaptop.errors import SourceError
from heaptop_emulator import shared
from heaptop_emulator.abi import PROFILES, Profile
from heaptop_emulator.errors import EmulatorError
from heaptop_emulator.folder import locate
from heaptop_emulator.wire import Client, Given, ProtocolError

_Answer = TypeVar("_Answer")


def runtime_folder() -> str:
    """The folder of this user's alone, where the emulator's socket is."""
    return locate()


def abi(name: str) -> Profile:
    """How heaps of this profile take ioctls: `mainline` or `v4`."""
    return PROFILES[name]


class Wanted(Protocol):
    """Size and flags that passed the ABI's checks."""

    @property
    def size_bytes(self) -> int:
        """Whole pages."""

    @property
    def fd_flags(self) -> int:
        """Access mode and O_CLOEXEC."""


class SharedHeaps:
    """The heaps of this user's emulator, which is started where none runs, and found again where it was restarted."""

    def __init__(self) -> None:
        """Connect.

        Raises:
            SourceError: there is no emulator, and none can be started.
        """
        try:
            self._client, self.was_started = shared.connect_or_start()
            self.names = self._client.about().heaps
        except EmulatorError as error:
            raise SourceError(str(error)) from error

    def allocate(self, heap: str, wanted: Wanted, tid: int) -> Given:
        """A buffer for thread `tid`.

        Raises:
            OSError: the heap's errno; ENODEV where there is no emulator any more.
        """
        return self._asked(
            lambda client: client.allocate(heap, wanted.size_bytes, fd_flags=wanted.fd_flags, on_behalf_of=tid)
        )

    def set_name(self, inode: int, name: bytes) -> None:
        """Name a buffer.

        Raises:
            OSError: ENOTTY where this is no buffer of the emulator's; ENODEV where there is none any more.
        """
        self._asked(lambda client: client.set_name(inode, name))

    def replace(self, inode: int, dmabuf: int) -> None:
        """Let the dma-buf of that inode stand for a buffer.

        Raises:
            OSError: EEXIST where the number is taken; ENODEV where there is no emulator any more.
        """
        self._asked(lambda client: client.replace(inode, dmabuf))

    def alive(self) -> frozenset[int] | None:
        """Inodes of all live buffers; None where there is no emulator any more."""
        try:
            return frozenset(buffer.inode for buffer in self._asked(lambda client: client.state()).buffers)
        except OSError:
            return None

    def _asked(self, ask: Callable[[Client], _Answer]) -> _Answer:
        """An answer; if need be from a restarted emulator, which knows the buffers that live."""
        try:
            return ask(self._client)
        except (ConnectionError, TimeoutError, ProtocolError):
            self._client.close()
        try:
            self._client, _ = shared.connect_or_start()
            return ask(self._client)
        except (EmulatorError, ConnectionError, TimeoutError, ProtocolError) as error:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error

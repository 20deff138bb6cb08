"""The keeper: a process that does nothing but hold the watches on the buffers, so that they outlive the emulator.

Watches live as long as the inotify instance is open anywhere. While the emulator lives the keeper waits for its end; if
it was killed, the keeper sees the buffers go, hands the watches to the next emulator that asks on the socket `keeper`,
and ends with the last buffer. It is the emulator's parent, so that nothing is left of that where init reaps nobody.
"""

import os
import select
import signal
import socket
from contextlib import suppress
from typing import Final

from heaptop_emulator import linux, wire
from heaptop_emulator.folder import RuntimeFolder
from heaptop_emulator.inotify import ReleaseWatcher

_END: Final = b"end"
_TAKEN: Final = b"taken"
_MESSAGE_BYTES_MAX: Final = 16
_HANDOVER_TIMEOUT_S: Final = 5.0
LEFT_BEHIND: Final = ("emulator", "journal", "keeper", "keeper.next")
"""What is of no more use once the last buffer is gone."""


class Keeper:
    """The emulator's end of the connection to its keeper."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def entrust(self, watcher: ReleaseWatcher) -> None:
        """Let the watches outlive this process, however it ends."""
        with suppress(OSError):  # a keeper that was killed: then they do not
            wire.send(self._connection, b"watch", watcher.fileno())

    def release(self) -> None:
        """This process ends in order: nothing needs to be kept."""
        with suppress(OSError):
            wire.send(self._connection, _END)


def fork(folder: RuntimeFolder, *closed: int) -> Keeper:
    """Return in a child of this process, which becomes the keeper: it closes `closed` and never returns.

    Raises:
        EmulatorError: the folder has no room for the socket.
    """
    listener = folder.listen("keeper.next")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        listener.close()
        theirs.close()
        return Keeper(ours)
    try:
        ours.close()
        for fd in closed:
            os.close(fd)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        linux.name_process("heaptop-keep")
        _keep(folder, child, theirs, listener)
    finally:
        os._exit(0)


def take_over(folder: RuntimeFolder) -> ReleaseWatcher | None:
    """The watches of an emulator that was killed, from its keeper, which then ends; None where there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(_HANDOVER_TIMEOUT_S)
        try:
            connection.connect(folder.entry("keeper"))
            if linux.peer_credentials(connection)[1] != os.geteuid():
                return None
            _, fd = wire.receive(connection, _MESSAGE_BYTES_MAX)
            if fd is None:
                return None
            wire.send(connection, _TAKEN)
        except OSError:
            return None
    return ReleaseWatcher(fd)


def _keep(folder: RuntimeFolder, emulator: int, control: socket.socket, listener: socket.socket) -> None:
    """Wait for the emulator's end, and where it came unawares, for that of the buffers."""
    watches: int | None = None
    while True:
        raw, fd = wire.receive(control, _MESSAGE_BYTES_MAX)
        if fd is not None:
            watches = fd
            os.rename("keeper.next", "keeper", src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
        if raw in (b"", _END):
            break
    is_over = raw == _END or watches is None
    if not is_over:
        is_over = _outlive(ReleaseWatcher(watches), listener)
    os.waitpid(emulator, 0)
    if not is_over:
        return
    lock = folder.lock()
    if lock is not None and raw != _END:  # nobody has started one since
        folder.remove(*LEFT_BEHIND)


def _outlive(watcher: ReleaseWatcher, listener: socket.socket) -> bool:
    """See the buffers go; True once all have, False once another emulator has taken the watches over."""
    while watcher.alive():
        readable, _, _ = select.select([watcher.fileno(), listener.fileno()], [], [])
        if watcher.fileno() in readable:
            watcher.drain()
        if listener.fileno() in readable and _hand_over(watcher, listener):
            return False
    return True


def _hand_over(watcher: ReleaseWatcher, listener: socket.socket) -> bool:
    """Give the watches to who asks, if that is a process of this user; whether it has them."""
    with listener.accept()[0] as connection:
        connection.settimeout(_HANDOVER_TIMEOUT_S)
        if linux.peer_credentials(connection)[1] != os.geteuid():
            return False
        with suppress(OSError):
            wire.send(connection, b"watch", watcher.fileno())
            return wire.receive(connection, _MESSAGE_BYTES_MAX)[0] == _TAKEN
    return False

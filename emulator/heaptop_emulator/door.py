"""The way into the shared emulator: a listening socket that lets in processes of this user only."""

import errno
import os
import socket

from heaptop_emulator import linux

_FULL = frozenset({errno.EMFILE, errno.ENFILE})


class Door:
    """Accepts connections. A descriptor is kept in reserve, so that even with a full table nobody waits in vain."""

    def __init__(self, listener: socket.socket) -> None:
        listener.settimeout(0)
        self.listener = listener
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def accept(self) -> tuple[socket.socket, int] | None:
        """The next connection and the pid of its process; None where there is none, or it may not come in."""
        try:
            connection, _ = self.listener.accept()
        except OSError as error:
            if error.errno in _FULL:
                self._turn_away()
            return None
        pid, uid = linux.peer_credentials(connection)
        if uid == os.geteuid():
            return connection, pid
        connection.close()
        return None

    def _turn_away(self) -> None:
        os.close(self._reserve)
        try:
            self.listener.accept()[0].close()
        except OSError:
            pass
        finally:
            self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let nobody in any more."""
        self.listener.close()
        os.close(self._reserve)

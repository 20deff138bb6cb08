"""Who is connected to the server, and how much each process may have there.

All bounds are per process, not per connection: who connects anew gains nothing by it.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from heaptop_emulator import wire

CONNECTIONS_MAX: Final = 512
CONNECTIONS_PER_PROCESS_MAX: Final = 32
BUFFERS_PER_PROCESS_MAX: Final = 1 << 15
"""Live buffers that one process may have asked for; further requests get ENFILE."""


class Account:
    """What one process has: connections, and the buffers alive that it asked for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.connections = 0
        self.inodes: set[int] = set()


class Connection:
    """A client's end here, and the account of the process at the other."""

    def __init__(self, connection: socket.socket, account: Account) -> None:
        connection.settimeout(0)
        self.socket = connection
        self.account = account


class Clients:
    """The connections by descriptor, the accounts by pid."""

    def __init__(self) -> None:
        self._connections: dict[int, Connection] = {}
        self._accounts: dict[int, Account] = {}
        self._asked_by: dict[int, Account] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._connections.values()))

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, client: Connection) -> bool:
        return self._connections.get(client.socket.fileno()) is client

    def admit(self, connection: socket.socket, pid: int) -> Connection | None:
        """A new client; None where there are too many: it is told so (EUSERS), and its connection closed."""
        account = self._account(pid)
        if account.connections >= CONNECTIONS_PER_PROCESS_MAX or len(self._connections) >= CONNECTIONS_MAX:
            with suppress(OSError):
                connection.settimeout(0)
                wire.send(connection, wire.encode({"errno": errno.EUSERS}))
            connection.close()
            return None
        account.connections += 1
        client = Connection(connection, account)
        self._connections[connection.fileno()] = client
        return client

    def part(self, client: Connection) -> None:
        """Forget a connection. The buffers that it asked for live on as long as somebody holds them."""
        del self._connections[client.socket.fileno()]
        client.account.connections -= 1
        self._tidy(client.account)

    def have_buffers(self, but: frozenset[int]) -> bool:
        """Whether a buffer lives that a process other than these asked for."""
        return any(account.inodes for account in self._accounts.values() if account.pid not in but)

    def check_room(self, account: Account) -> None:
        """OSError (ENFILE) where this process has as many buffers as it may."""
        if len(account.inodes) >= BUFFERS_PER_PROCESS_MAX:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    def charge(self, inode: int, pid: int) -> None:
        """Note who asked for a buffer."""
        account = self._account(pid)
        account.inodes.add(inode)
        self._asked_by[inode] = account

    def who_asked(self, inode: int) -> int:
        """The pid that asked for a buffer."""
        return self._asked_by[inode].pid

    def discharge(self, inode: int) -> None:
        """The buffer is gone."""
        account = self._asked_by.pop(inode)
        account.inodes.discard(inode)
        self._tidy(account)

    def _account(self, pid: int) -> Account:
        return self._accounts.setdefault(pid, Account(pid))

    def _tidy(self, account: Account) -> None:
        if not account.connections and not account.inodes:
            self._accounts.pop(account.pid, None)
